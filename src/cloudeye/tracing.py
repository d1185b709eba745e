"""Each request has an id: it comes back to the client and stands in every line logged meanwhile.

The line about the request itself is the access log's, which ``gunicorn_logs.py`` writes when the answer is sent.
"""

from __future__ import annotations

import re
import uuid

from flask import Flask, Response, g, has_request_context, request
from flask.globals import app_ctx, request_ctx

from cloudeye.logs import DETAILS

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def context() -> dict[str, object]:
    """Return what a log line says of the request under way."""
    if not has_request_context():
        return {}
    return {"request_id": g.get("request_id"), "user_id": g.get("user_id")}


def register(app: Flask) -> None:
    """Give each request an id, and tell the access log at its end what it was."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    # nginx sets the header; what a client could have written into it is checked all the same.
    given = request.environ.get("HTTP_X_REQUEST_ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _end(response: Response) -> Response:
    asked, known = request_ctx.request, app_ctx.g  # at hand, instead of being looked for at each use
    response.headers["X-Request-ID"] = known.request_id
    rule = asked.url_rule
    asked.environ[DETAILS] = {
        "request_id": known.request_id,
        "user_id": known.get("user_id"),
        "route": rule.rule if rule else None,
    }
    return response
