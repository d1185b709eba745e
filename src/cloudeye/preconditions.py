"""Entity tags: what was read need not be sent again, and nobody's change is overwritten unseen (RFC 9110, section 13).

The tag of one resource is its version, a dot, and a hash of the answer. ``If-None-Match`` compares all of it.
``If-Match`` compares the version, which counts the changes that people make: a probe that wrote a result in between
has taken nothing away. It also takes a weak tag, since nginx makes a tag weak when it compresses the answer.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

from flask import Response, g, request
from sqlalchemy import Row

from cloudeye.errors import Problem
from cloudeye.i18n import N_
from cloudeye.models import AlertTarget, Site, StatusPage, User

_Row = TypeVar("_Row", User, Site, AlertTarget, StatusPage, Row[Any])

NEVER_CACHED = {"Cache-Control": "no-store"}  # for answers that hold a token or a key (RFC 6749, section 5.1)
# For answers that are public and the same for everybody (RFC 9111, RFC 5861): nginx keeps them for so many seconds, and
# shows them for so many more while it asks for a new one.
PUBLIC = {"Cache-Control": "public, max-age=5, stale-while-revalidate=30"}
CONDITIONS = frozenset({"HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE"})
LOST_UPDATE = N_("This was changed by somebody else since you read it.")


def current(row: _Row) -> _Row:
    """Name the row that an answer is about; of a change, check first that it was made to the present version.

    Raises:
        Problem: 412, the request's If-Match names another version.
    """
    g.row = row
    tags = request.if_match
    if request.method in ("PUT", "PATCH", "DELETE") and "If-Match" in request.headers and not tags.star_tag:
        versions = {tag.partition(".")[0] for tag in tags.as_set(include_weak=True) if tag}
        if str(row.version) not in versions:
            raise Problem(412, LOST_UPDATE)
    return row


def tag(response: Response) -> Response:
    """Give an answer its tag; where the client has it already, leave out the body (304).

    A file that is written while it is sent has none.
    """
    if response.status_code not in (200, 201) or response.mimetype != "application/json" or response.is_streamed:
        return response
    digest = hashlib.sha256(response.get_data()).hexdigest()[:20]
    row = g.get("row")
    response.set_etag(digest if row is None else f"{row.version}.{digest}")
    response.headers.setdefault("Cache-Control", "private, no-cache")
    if request.method in ("GET", "HEAD") and request.environ.keys() & CONDITIONS:
        response.make_conditional(request)
    return response
