"""A POST that carries an Idempotency-Key takes effect once, however often it arrives.

The answer is recorded in the transaction of the effect itself, so one is never without the other, also when the
process is killed between any two lines. Who comes second is given the first one's answer. Only success is recorded:
what was refused had no effect, and may be tried again.

See draft-ietf-httpapi-idempotency-key-header. Records are kept for KEPT and then deleted by sync.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta

from flask import Response, current_app, request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.models import IdempotencyRecord, utcnow

KEPT = timedelta(hours=24)
FORM = re.compile(r"[\x21-\x7e]{1,255}")
HEADER = "Idempotency-Key"


def once(user_id: int, act: Callable[[], Response]) -> Response:
    """Do what a request asks for and commit, unless it was done before.

    Args:
        user_id: who asks; keys of different users have nothing to do with each other.
        act: answers the request in the session's transaction.

    Returns:
        The answer, or that to the first request with this key, marked with ``Idempotency-Replayed``.

    Raises:
        Problem: 400 for a key that is none, 422 for one that came with another request before.
    """
    key = request.headers.get(HEADER) if request.method == "POST" else None
    if key is None:
        response = act()
        db.session.commit()
        return response
    if not FORM.fullmatch(key):
        raise Problem(400, "The Idempotency-Key must be 1 to 255 visible ASCII characters.")
    fingerprint = _fingerprint()
    earlier = _find(user_id, key, fingerprint)
    if earlier is not None:
        return earlier
    try:
        response = act()
        db.session.add(
            IdempotencyRecord(
                user_id=user_id,
                key=key,
                fingerprint=fingerprint,
                status=response.status_code,
                body=_kept(response),
                etag=response.headers.get("ETag"),
            )
        )
        db.session.commit()
    except (Problem, IntegrityError, StaleDataError):
        # Perhaps because the same request has just taken effect in another greenlet or on another host.
        db.session.rollback()
        earlier = _find(user_id, key, fingerprint)
        if earlier is None:
            raise
        return earlier
    return response


def _find(user_id: int, key: str, fingerprint: str) -> Response | None:
    record = db.session.get(IdempotencyRecord, (user_id, key), populate_existing=True)
    if record is None:
        return None
    if record.created_at <= utcnow() - KEPT:
        db.session.delete(record)
        db.session.flush()
        return None
    if record.fingerprint != fingerprint:
        raise Problem(422, "This Idempotency-Key was used for another request.")
    response = current_app.response_class(record.body, status=record.status, mimetype="application/json")
    response.headers["Idempotency-Replayed"] = "true"
    response.headers["Cache-Control"] = "private, no-cache"
    if record.etag:
        response.headers["ETag"] = record.etag
    return response


def _kept(response: Response) -> str:
    """Return what is recorded of an answer: all of it but a secret, which is shown once and kept nowhere."""
    answer = response.get_json()
    if "secret" not in (answer.get("data") or {}):
        return response.get_data(as_text=True)
    answer["data"]["secret"] = None
    return json.dumps(answer)


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for part in (request.method.encode(), request.full_path.encode(), request.get_data()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
