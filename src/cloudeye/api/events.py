"""What happened to sites, newest first. A user sees their own, an admin all."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, request
from marshmallow import fields
from sqlalchemy import select

from cloudeye.access import caller, signed_in
from cloudeye.api.base import Blueprint, written
from cloudeye.api.site_access import visible_site
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_
from cloudeye.models import Event, Site, SiteTag
from cloudeye.schemas.common import CURSOR, CursorPagingSchema, envelope, success
from cloudeye.schemas.events import EventSchema, EventsQuerySchema, SiteEventsQuerySchema
from cloudeye.services.alerts import Happening, say, type_of
from cloudeye.services.parts import part_of

blueprint = Blueprint("events", __name__, url_prefix="", description="What happened to sites")

EventsAnswer = envelope(
    "EventsAnswer",
    events=fields.List(fields.Nested(EventSchema), required=True),
    paging=fields.Nested(CursorPagingSchema, required=True),
)


@blueprint.route("/events")
@signed_in
@blueprint.arguments(EventsQuerySchema, location="query")
@blueprint.response(200, EventsAnswer)
def list_events(asked: dict[str, Any]) -> Response:
    """List what happened, newest first; the paging block's link leads to what was before."""
    along, query = select(Event.id), select(Event, Site.name, Site.url).join(Site, Site.id == Event.site_id)
    if not caller().is_admin:
        along = along.where(Event.owner_id == caller().id)
    if "site_id" in asked:
        along = along.where(Event.site_id == asked["site_id"])
    if "tag" in asked:
        query = query.where(
            select(SiteTag.site_id).where(SiteTag.site_id == Event.site_id, SiteTag.tag == asked["tag"]).exists()
        )
    return _part(along, query, asked)


@blueprint.route("/sites/<id:site_id>/events")
@signed_in
@blueprint.arguments(SiteEventsQuerySchema, location="query")
@blueprint.response(200, EventsAnswer)
@blueprint.others("NOT_FOUND")
def list_site_events(asked: dict[str, Any], site_id: int) -> Response:
    """List what happened to a site, newest first; the paging block's link leads to what was before."""
    site = visible_site(site_id)
    query = select(Event, Site.name, Site.url).join(Site, Site.id == Event.site_id)
    return _part(select(Event.id).where(Event.site_id == site.id), query, asked)


def _part(along: Any, query: Any, asked: dict[str, Any]) -> Response:
    """Return a part of the history, in the order in which it was written down: that of the numbers."""
    for name in ("kind", "severity"):
        if name in asked:
            query = query.where(getattr(Event, name) == asked[name])
    limit = asked["limit"]
    if "cursor" in asked:
        form = re.fullmatch(CURSOR, asked["cursor"])
        if form is None:
            raise Problem(400, INVALID, {"cursor": [N_("Not a cursor of this history.")]})
        along = along.where(Event.id < int(form[2]))
    filtered = not asked.keys().isdisjoint(("kind", "severity", "tag"))
    rows, last = part_of(db.session(), along, query, Event.id, limit=limit, filtered=filtered)
    arguments = {**request.args.to_dict(), "cursor": f"0.{last}", "limit": str(limit)}
    more = None if last is None else f"{request.path}?{urlencode(arguments)}"
    shown = written(EventSchema(), (_shown(*row[:3]) for row in rows))
    return jsonify(success(events=shown, paging={"limit": limit, "next": more}))


def _shown(event: Event, name: str, url: str) -> dict[str, Any]:
    happening = Happening(
        event.event_id, event.kind, event.severity, event.data, event.created_at, event.site_id, name, url
    )
    return {
        "id": event.event_id,
        "site_id": event.site_id,
        "site_name": name,
        "kind": event.kind,
        "type": type_of(happening),
        "severity": event.severity,
        "what": say(happening),
        "details": {name: value for name, value in event.data.items() if name != "told"},
        "told": event.dispatch_after is None and event.data.get("told", True),
        "created_at": event.created_at,
    }
