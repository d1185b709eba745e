"""Each request has an id: it comes back to the client and stands in every line logged meanwhile.

The line about the request itself is the access log's, which ``gunicorn_logs.py`` writes when the answer is sent.
"""

from __future__ import annotations

import re
import uuid

from flask import Flask, Response, g, has_request_context, request

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
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _end(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    request.environ[DETAILS] = {**context(), "route": request.url_rule.rule if request.url_rule else None}
    return response
