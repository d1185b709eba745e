"""What follows for the API's description from who may call an operation and how: said here once, for all of them."""

from __future__ import annotations

import re
from typing import Any

from apispec import APISpec
from werkzeug.routing import Map

from cloudeye.idempotency import HEADER

VERSIONED = frozenset({"users", "sites"})  # blueprints whose rows carry a version
CONVERTER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
ETAG = {"ETag": {"description": "of this representation", "schema": {"type": "string"}}}


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


def _conditions(spec: APISpec, method: str, operation: dict[str, Any]) -> None:
    parameters: list[Any] = operation.setdefault("parameters", [])
    responses: dict[str, Any] = operation["responses"]
    versioned = VERSIONED & set(operation.get("tags", ()))
    if method == "get":
        parameters.append(_header("If-None-Match", "a tag that one has: answered with 304 while it still holds"))
        responses["200"]["headers"] = ETAG
        responses["304"] = {"description": "Not modified", "headers": ETAG}
    elif method == "post":
        parameters.append(_header(HEADER, "the request takes effect once, however often it arrives within 24 hours"))
        responses["422"] = _error(spec, "UNPROCESSABLE_ENTITY")
        responses["400"] = _error(spec, "BAD_REQUEST")
    elif versioned:
        parameters.append(_header("If-Match", "the tag that the change is made to: refused with 412 if it changed"))
        responses["412"] = _error(spec, "PRECONDITION_FAILED")
        responses["409"] = _error(spec, "CONFLICT")


def _header(name: str, description: str) -> dict[str, Any]:
    return {"in": "header", "name": name, "description": description, "required": False, "schema": {"type": "string"}}


def _error(spec: APISpec, name: str) -> Any:
    return spec.components.get_ref("response", name)


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
