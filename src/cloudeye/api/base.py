"""What the resources share: flask-smorest with our errors, ids in paths, and lists in pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

import flask_smorest
import marshmallow as ma
from flask import Request, Response, current_app, request
from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, or_
from sqlalchemy.orm import InstrumentedAttribute
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.routing import BaseConverter

from cloudeye.config import Config
from cloudeye.errors import INVALID, ErrorSchema, Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, language, time_zone
from cloudeye.preconditions import PUBLIC
from cloudeye.ready import Ready
from cloudeye.schemas.common import CURSOR, LARGEST_ID
from cloudeye.services import accounts
from cloudeye.tokens import revocation_lifetime
from cloudeye.turns import Turns

# More than any body that fits; reading and refusing a megabyte of small things would hold up the others for seconds.
MAXIMUM_BODY = 65_536
MAXIMUM_FIELDS = 100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_View = TypeVar("_View", bound=Callable[..., Any])


class Parser(FlaskParser):
    """Arguments that do not fit are answered with 400, and so are those that nobody asked for."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION = FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION | {"query": ma.RAISE}

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        """Read the body; what Python will not read is no JSON either: it is nested too deeply, or a number too long."""
        raw = req.get_data(cache=True)
        if len(raw) > MAXIMUM_BODY:
            raise RequestEntityTooLarge
        if raw and not req.is_json:
            raise ma.ValidationError([N_("The body must be JSON, sent with Content-Type: application/json.")])
        try:
            body = super().load_json(req, schema)
        except (RecursionError, ValueError) as error:
            return self._handle_invalid_json_error(error, req)  # type: ignore[arg-type]
        if isinstance(body, dict) and len(body) > MAXIMUM_FIELDS:
            raise ma.ValidationError([N_("Too many fields.")])
        return body


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A blueprint of the API, with types for what the views use of it."""

    ARGUMENTS_PARSER = Parser()

    def route(self, rule: str, **options: Any) -> Callable[[_View], _View]:
        """Register a view."""
        decorate: Callable[[_View], _View] = super().route(rule, **options)
        return decorate

    def arguments(self, schema: type[ma.Schema], *, location: str = "json", **options: Any) -> Callable[[_View], _View]:
        """Check the body or the query against a schema and pass it to the view."""
        # An instance: a class would be made one for each request, with a copy of each of its fields.
        decorate: Callable[[_View], _View] = super().arguments(schema(), location=location, **options)
        return decorate

    def response(self, status_code: int, schema: Any = None, **options: Any) -> Callable[[_View], _View]:
        """Describe the view's answer and write it through its schema."""
        decorate: Callable[[_View], _View] = super().response(status_code, schema, **options)
        return decorate

    def doc(self, **described: Any) -> Callable[[_View], _View]:
        """Add to the description of a view what nothing else says."""
        decorate: Callable[[_View], _View] = super().doc(**described)
        return decorate

    def others(self, *statuses: str) -> Callable[[_View], _View]:
        """Describe the other answers a view may give, by their names in ``http.HTTPStatus``."""

        def decorate(view: _View) -> _View:
            for status in statuses:
                view = self.alt_response(HTTPStatus[status].value, status)(view)
            return view

        return decorate


class Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest's Api, whose errors are answered by ``cloudeye.errors`` instead."""

    ERROR_SCHEMA = ErrorSchema
    DEFAULT_ERROR_RESPONSE_NAME = None  # every answer is described by its status

    description = ""

    def write_description(self) -> None:
        """Write the description down once, with everything in it: for each reader anew it would hold up the others."""
        self.description = json.dumps(self.spec.to_dict())

    def _openapi_json(self) -> Response:
        """Serve the description (flask-smorest's hook)."""
        response = Response(self.description, mimetype="application/json")
        response.add_etag()
        response.headers.update(PUBLIC)
        return response.make_conditional(request)  # type: ignore[return-value]

    def _register_error_handlers(self) -> None:
        pass


class IdProblem(BadRequest):
    """The answer to an id that is no integer."""

    description = N_("Param id error")


class IdConverter(BaseConverter):
    """A row's number in a path; what is no integer is the caller's mistake, not an unknown page."""

    part_isolating = True
    # These words stand where a number could, with methods of their own; others must be told so (405).
    regex = "(?!(?:confirm|export|import)$)[^/]+"

    def to_python(self, value: str) -> int:
        """Return the number; one that no row can have becomes 0, which no row has."""
        if not re.fullmatch(r"[+-]?[0-9]{1,40}", value):
            raise IdProblem
        number = int(value)
        return number if 0 < number <= LARGEST_ID else 0


def desk() -> accounts.Desk:
    """Return what writing to people takes, for the request at hand."""
    config: Config = current_app.config["CLOUDEYE"]
    return accounts.Desk(
        url=config.public_url, language=language(), time_zone=time_zone(), access=revocation_lifetime()
    )


def sorted_by(query: Select[Any], entity: Any, sort: str) -> Select[Any]:
    """Sort a query by the name of a column, with - in front for the other way; equal rows by their number."""
    column = getattr(entity, sort.removeprefix("-"))
    downwards = sort.startswith("-")
    order = [column.desc() if downwards else column]
    if column is not entity.id:
        order.append(entity.id.desc() if downwards else entity.id)
    return query.order_by(*order)


def page_of(
    query: Select[Any], columns: Iterable[ColumnElement[Any]], page: int, per_page: int
) -> tuple[list[Any], dict[str, Any]]:
    """Run a query for one page of a list.

    Args:
        query: of one entity, sorted.
        columns: what to read of each row; objects of the model are not made of them.
        page: from 1 on.
        per_page: rows on a page.

    Returns:
        The rows, and the paging block that goes with them; its links keep the request's other arguments.
    """
    return Listed(query, columns, often=False).page(page, per_page, {})


class Listed:
    """A list whose statements are ready.

    Args:
        query: of one entity, sorted; what differs from time to time are its ``bindparam``s.
        columns: what to read of each row; objects of the model are not made of them.
        often: as for ``Ready``.
    """

    def __init__(self, query: Select[Any], columns: Iterable[ColumnElement[Any]], *, often: bool = True) -> None:
        part = query.with_only_columns(*columns, maintain_column_froms=True)
        count = query.with_only_columns(func.count().label("number"), maintain_column_froms=True).order_by(None)
        limit, offset = (bindparam(name, type_=Integer) for name in ("_limit", "_offset"))
        self._part = Ready(part.limit(limit).offset(offset), often=often)
        self._count = Ready(count, often=often)

    def page(self, page: int, per_page: int, values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the rows of a page, from 1 on, and its paging block; ``page_of`` says more."""
        offset = (page - 1) * per_page
        rows = self._part.rows(**values, _limit=per_page, _offset=offset)
        total = offset + len(rows)
        if not 0 < len(rows) < per_page:  # else this is the last page, and so many there are
            total = self._count.rows(**values)[0].number
        return rows, {
            "page": page,
            "per_page": per_page,
            "total": total,
            "next": _link(page + 1, per_page) if page * per_page < total else None,
            "prev": _link(page - 1, per_page) if page > 1 else None,
        }


def _link(page: int, per_page: int) -> str:
    arguments = {**request.args.to_dict(), "page": str(page), "per_page": str(per_page)}
    return f"{request.path}?{urlencode(arguments)}"


def written(schema: ma.Schema, rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Write rows by their schema, letting others go on in between: a hundred at once would hold them up."""
    done, turns = [], Turns()
    for row in rows:
        done.append(schema.dump(row))
        turns.rest()
    return done


def history_of(
    query: Select[Any], time: InstrumentedAttribute[datetime], cursor: str | None, limit: int
) -> tuple[list[Any], dict[str, Any]]:
    """Run a query for one part of a history, newest first.

    A cursor names the last row that was given, so rows that arrive meanwhile move nothing.

    Args:
        query: of one entity.
        time: the column by which it is a history.
        cursor: from the paging block before; None for the newest.
        limit: rows in a part.

    Returns:
        The rows, and the paging block that goes with them.

    Raises:
        Problem: 400, the cursor is none of ours.
    """
    number = time.class_.id
    if cursor is not None:
        form = re.fullmatch(CURSOR, cursor)
        if form is None:
            raise Problem(400, INVALID, {"cursor": [N_("Not a cursor of this history.")]})
        last = EPOCH + timedelta(microseconds=int(form[1]))
        query = query.where(time <= last, or_(time < last, number < int(form[2])))
    rows = list(db.session.scalars(query.order_by(time.desc(), number.desc()).limit(limit + 1)).all())
    if len(rows) <= limit:
        return rows, {"limit": limit, "next": None}
    end = rows[limit - 1]
    at = (getattr(end, time.key) - EPOCH) // timedelta(microseconds=1)
    arguments = {**request.args.to_dict(), "cursor": f"{at}.{end.id}", "limit": str(limit)}
    return rows[:limit], {"limit": limit, "next": f"{request.path}?{urlencode(arguments)}"}
