"""Each request has an id: it comes back to the client and stands in every line logged meanwhile."""

from __future__ import annotations

import logging
import re
import time
import uuid

from flask import Flask, Response, g, has_request_context, request

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

log = logging.getLogger("cloudeye.request")


def context() -> dict[str, object]:
    """Return what a log line says of the request under way."""
    if not has_request_context():
        return {}
    return {"request_id": g.get("request_id"), "user_id": g.get("user_id")}


def register(app: Flask) -> None:
    """Give each request an id, and log one line at its end."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.started = time.perf_counter()
    # nginx sets the header; what a client could have written into it is checked all the same.
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _end(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    log.info(
        "request",
        extra={
            "method": request.method,
            "route": request.url_rule.rule if request.url_rule else None,
            "path": request.path,
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - g.started) * 1000, 2),
        },
    )
    return response
