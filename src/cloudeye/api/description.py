"""What follows for the API's description from who may call an operation and how: said here once, for all of them."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from apispec import APISpec
from werkzeug.routing import Map

from cloudeye.idempotency import FORM, HEADER
from cloudeye.schemas.people import TIME_ZONES
from cloudeye.tracing import REQUEST_ID

BODY = "application/json"
FILE = "text/csv"
VERSIONED = frozenset({"users", "sites", "targets", "status"})  # blueprints whose rows carry a version
CONVERTER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


def _answered(name: str, description: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    return {name: {"description": description, "required": required, "schema": schema or {"type": "string"}}}


ETAG = _answered("ETag", "of this representation", required=True, type="string", pattern='^(W/)?"[^"]+"$')
TRACED = _answered(
    "X-Request-ID", "under which the log knows this request", type="string", pattern=f"^{REQUEST_ID.pattern}$"
)
REPLAYED = _answered("Idempotency-Replayed", "this answer was given before", type="string", enum=["true"])
RETRY = _answered("Retry-After", "seconds to wait", type="integer", minimum=1)
HEADERS = {
    "UNAUTHORIZED": _answered("WWW-Authenticate", "how to log in", required=True, type="string", enum=["Bearer"]),
    "TOO_MANY_REQUESTS": RETRY,
    "SERVICE_UNAVAILABLE": RETRY,
}


def complete(spec: APISpec, routes: Map) -> None:
    """Add to the description the names, headers, statuses and links that the decorators bring about.

    Args:
        spec: with every blueprint registered; it is changed.
        routes: of the application; an operation is called by its view's name.
    """
    for rule in routes.iter_rules():
        operations = spec._paths.get(CONVERTER.sub(r"{\1}", rule.rule), {})
        for method in {name.lower() for name in rule.methods or ()} & operations.keys():
            operations[method]["operationId"] = rule.endpoint.rpartition(".")[2]
    for path, operations in spec._paths.items():
        for method, operation in operations.items():
            if method in ("get", "post", "put", "patch", "delete") and "security" in operation:
                _conditions(spec, method, operation)
            if method == "post" and "201" in operation["responses"]:
                _links(spec, path, operation)
            if method != "parameters":
                _anywhere(spec, path, method, operation)
    for name, response in spec.components.responses.items():
        response["headers"] = TRACED | HEADERS.get(name, {})
    spec.components.schemas.pop("PaginationMetadata", None)  # flask-smorest's own, which nothing here uses
    spec.components.schema("TimeZone", {"type": "string", "enum": sorted(TIME_ZONES)})
    for schema in spec.components.schemas.values():
        if "time_zone" in schema.get("properties", {}):
            zone = {"$ref": "#/components/schemas/TimeZone"}
            schema["properties"]["time_zone"] = {"anyOf": [zone, {"type": "null"}], "example": "Asia/Shanghai"}


def _conditions(spec: APISpec, method: str, operation: dict[str, Any]) -> None:
    parameters: list[Any] = operation.setdefault("parameters", [])
    responses: dict[str, Any] = operation["responses"]
    versioned = VERSIONED & set(operation.get("tags", ()))
    if method == "get":
        if not _is_file(operation):
            parameters.append(_header("If-None-Match", "a tag that one has: answered with 304 while it still holds"))
            responses["304"] = {"description": "Not modified", "headers": ETAG | TRACED}
    elif method == "post":
        once = "the request takes effect once, however often it arrives within 24 hours"
        parameters.append(_header(HEADER, once, pattern=f"^{FORM.pattern}$"))
        responses["422"] = _error(spec, 422)
        responses["400"] = _error(spec, 400)
    elif versioned:
        parameters.append(_header("If-Match", "the tag that the change is made to: refused with 412 if it changed"))
        responses["412"] = _error(spec, 412)
        responses["409"] = _error(spec, 409)


def _anywhere(spec: APISpec, path: str, method: str, operation: dict[str, Any]) -> None:
    """Describe what any operation may answer, and the headers of success."""
    responses: dict[str, Any] = operation["responses"]
    responses["500"] = _error(spec, 500)
    if path.startswith("/api/"):
        responses["503"] = _error(spec, 503)
    if "requestBody" in operation:
        responses["413"] = _error(spec, 413)
        if method == "patch":
            name = operation["requestBody"]["content"][BODY]["schema"]["$ref"].rpartition("/")[2]
            spec.components.schemas[name]["minProperties"] = 1
    for status, response in responses.items():
        if status in ("200", "201", "202"):
            tagged = ETAG if "security" in operation and status != "202" and not _is_file(operation) else {}
            replayed = REPLAYED if "security" in operation and method == "post" else {}
            response["headers"] = TRACED | tagged | replayed | response.get("headers", {})


def _is_file(operation: dict[str, Any]) -> bool:
    """Is the answer written while it is sent, so that nobody knows its tag."""
    return FILE in operation["responses"].get("200", {}).get("content", {})


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    schema = {"type": "string"} | schema
    return {"in": "header", "name": name, "description": description, "required": False, "schema": schema}


def _error(spec: APISpec, status: int) -> Any:
    return spec.components.get_ref("response", HTTPStatus(status).name)


def _links(spec: APISpec, path: str, operation: dict[str, Any]) -> None:
    """Say which operations take the number of what was made."""
    links = {}
    for other, operations in spec._paths.items():
        below = other.removeprefix(f"{path}/")
        if below == other or below.count("{") != 1 or not below.startswith("{"):
            continue
        parameter = below[1 : below.index("}")]
        name = parameter.removesuffix("_id")
        for method, there in operations.items():
            if method in ("get", "patch", "delete", "post"):
                links[f"{method}_{name}{below.partition('}')[2].replace('/', '_')}"] = {
                    "operationId": there["operationId"],
                    "parameters": {parameter: f"$response.body#/data/{name}/id"},
                }
    if links:
        operation["responses"]["201"]["links"] = links
