"""Status pages as their owners make them; what they show to everybody else stands in pages/public.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from marshmallow import fields
from sqlalchemy import select

from cloudeye.access import caller, signed_in
from cloudeye.api.base import Blueprint, page_of
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import gettext, language
from cloudeye.models import StatusPage
from cloudeye.preconditions import current
from cloudeye.schemas.common import PagingSchema, envelope, success
from cloudeye.schemas.status_pages import (
    NewStatusPageSchema,
    StatusPageChangeSchema,
    StatusPageSchema,
    StatusPagesQuerySchema,
)
from cloudeye.services import status_pages

blueprint = Blueprint("status", __name__, url_prefix="/status-pages", description="Public pages of how sites are")

StatusPageAnswer = envelope("StatusPageAnswer", page=fields.Nested(StatusPageSchema, required=True))
StatusPagesAnswer = envelope(
    "StatusPagesAnswer",
    pages=fields.List(fields.Nested(StatusPageSchema), required=True),
    paging=fields.Nested(PagingSchema, required=True),
)
RemovedStatusPageAnswer = envelope("RemovedStatusPageAnswer")

COLUMNS = [getattr(StatusPage, name) for name in ("id", "slug", "title", "tag", "language", "created_at", "updated_at")]


@blueprint.route("")
@signed_in
@blueprint.arguments(StatusPagesQuerySchema, location="query")
@blueprint.response(200, StatusPagesAnswer)
def list_status_pages(asked: dict[str, Any]) -> dict[str, Any]:
    """List one's own status pages, oldest first."""
    mine = select(StatusPage).where(StatusPage.owner_id == caller().id).order_by(StatusPage.id)
    found, paging = page_of(mine, COLUMNS, asked["page"], asked["per_page"])
    return success(pages=found, paging=paging)


@blueprint.route("", methods=["POST"])
@signed_in
@blueprint.arguments(NewStatusPageSchema)
@blueprint.response(201, StatusPageAnswer)
@blueprint.others("CONFLICT")
def add_status_page(given: dict[str, Any]) -> dict[str, Any]:
    """Publish a page: from now on anybody who knows its address sees the names and states of its sites."""
    with explaining():
        page = status_pages.create_page(db.session(), caller().id, given, language=language())
    return success(gettext("%(name)s was added!", name=page.title), page=current(page))


@blueprint.route("/<id:page_id>")
@signed_in
@blueprint.response(200, StatusPageAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def get_status_page(page_id: int) -> dict[str, Any]:
    """Read what was set of a status page."""
    return success(page=_page(page_id))


@blueprint.route("/<id:page_id>", methods=["PATCH"])
@signed_in
@blueprint.arguments(StatusPageChangeSchema)
@blueprint.response(200, StatusPageAnswer)
@blueprint.others("NOT_FOUND")
def change_status_page(given: dict[str, Any], page_id: int) -> dict[str, Any]:
    """Change a status page; at another address it is no longer found at the one before."""
    page = _page(page_id)
    with explaining():
        status_pages.change_page(db.session(), page, given)
    return success(page=page)


@blueprint.route("/<id:page_id>", methods=["DELETE"])
@signed_in
@blueprint.response(200, RemovedStatusPageAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def remove_status_page(page_id: int) -> dict[str, Any]:
    """Take a status page away; its sites are watched as before."""
    page = _page(page_id)
    db.session.delete(page)
    db.session.flush()
    return success(gettext("%(name)s was removed!", name=page.title))


@contextmanager
def explaining() -> Iterator[None]:
    """Turn what the service refuses into answers."""
    try:
        yield
    except status_pages.BadPage as bad:
        raise Problem(400, INVALID, bad.data) from None
    except status_pages.TooMany as why:
        raise Problem(409, str(why)) from None


def _page(page_id: int) -> StatusPage:
    """Return a page of the caller's; anybody else's is as unknown as one that never was."""
    page = db.session.get(StatusPage, page_id)
    if page is None or page.owner_id != caller().id:
        raise Problem(404, "Status page does not exist")
    return current(page)
