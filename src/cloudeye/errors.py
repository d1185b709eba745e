"""The one shape of every answer that is not what was asked for, and who turns what into it.

Answers follow JSend (https://github.com/omniti-labs/jsend): ``fail`` is the caller's, ``error`` is ours.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from flask import Flask, Response, current_app, g, jsonify, render_template, request
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from cloudeye.extensions import db
from cloudeye.i18n import N_, translated

log = logging.getLogger(__name__)

RETRY_SECONDS = 1
# Asked again a moment later, these may well succeed: MySQL's too many connections, lock wait, deadlock,
# shutdown, and the client's cannot connect (2002, 2003), server gone, lost connection.
PASSING_MYSQL_ERRORS = frozenset({1040, 1053, 1205, 1213, 2002, 2003, 2006, 2013})
INVALID = N_("Invalid payload.")


class Problem(Exception):
    """An answer other than success that a service or a view has decided on."""

    def __init__(self, status: int, message: str, data: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.data, self.headers = status, message, data, dict(headers or {})


class ErrorSchema(ma.Schema):
    """What every answer with a status of 400 or more looks like."""

    status = ma.fields.String(required=True, validate=ma.validate.OneOf(["fail", "error"]))
    message = ma.fields.String(required=True)
    data = ma.fields.Raw(allow_none=True, metadata={"description": "messages by field, or null"})


def register(app: Flask) -> None:
    """Let the application answer its errors in the envelope."""
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(StaleDataError, _lost_update)
    app.register_error_handler(PoolTimeout, _busy)
    app.register_error_handler(DBAPIError, _database)
    app.register_error_handler(Exception, _unexpected)


def _problem(problem: Problem) -> Response:
    db.session.rollback()
    return _answer(problem.status, problem.message, problem.data, problem.headers)


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    headers = {
        name: value for name, value in error.get_headers() if name.lower() not in ("content-type", "content-length")
    }
    given = getattr(error, "data", None) or {}
    if "messages" in given:
        # webargs: {"json": {field: [...]}}; where the field lay is not the caller's concern.
        messages = {
            field: texts
            for place in given["messages"].values()
            for field, texts in (place.items() if isinstance(place, dict) else [("_schema", place)])
        }
        return _answer(status, INVALID, messages, headers)
    return _answer(status, error.description or error.name, None, headers)


def _lost_update(_: StaleDataError) -> Response:
    """Somebody changed the row between our reading and our writing it."""
    return _problem(Problem(412 if request.if_match else 409, "This was changed by somebody else at the same moment."))


def _busy(error: PoolTimeout) -> Response:
    log.warning("every database connection is taken")
    return _later("The server is busy. Please try again in a moment.")


def _database(error: DBAPIError) -> Response:
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    locked = isinstance(error, OperationalError) and "database is locked" in str(error.orig)
    if error.connection_invalidated or code in PASSING_MYSQL_ERRORS or locked:
        log.error("the database did not answer: %s", error.orig)
        return _later("The database is not available. Please try again in a moment.")
    return _unexpected(error)


def _later(message: str) -> Response:
    db.session.rollback()
    return _answer(503, message, None, {"Retry-After": str(RETRY_SECONDS)})


def _unexpected(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    try:
        db.session.rollback()
    except Exception:
        log.exception("the transaction could not be rolled back")
    return _answer(500, N_("Something went wrong on our side."), None, {})


def _answer(status: int, message: str, data: Any, headers: Mapping[str, str]) -> Response:
    message, data = translated(message), translated(data)
    if _wants_page():
        response = current_app.make_response(
            render_template("error.html", status=status, message=message, request_id=g.get("request_id"))
        )
    else:
        kind = "fail" if status < 500 else "error"
        response = jsonify({"status": kind, "message": message, "data": data})
    response.status_code = status
    response.headers.update(headers)
    return response


def _wants_page() -> bool:
    if request.blueprint != "pages":
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
