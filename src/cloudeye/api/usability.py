"""How usable sites are: state, uptime, latency, history and incidents. A user sees their own sites, an admin all."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, request
from marshmallow import fields
from sqlalchemy import Row, select

from cloudeye.access import caller, signed_in
from cloudeye.api.base import Blueprint, history_of, page_of, sorted_by
from cloudeye.api.site_access import visible_site
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_
from cloudeye.models import CheckResult, Incident, Site, SiteTag, utcnow
from cloudeye.schemas.common import CursorPagingSchema, CursorQuerySchema, PagingSchema, envelope, success
from cloudeye.schemas.usability import (
    HistoryQuerySchema,
    HistorySchema,
    IncidentSchema,
    IncidentsQuerySchema,
    ListedUsabilitySchema,
    SiteIncidentSchema,
    SiteUsabilitySchema,
    UsabilityQuerySchema,
)
from cloudeye.services.usability import history, incidents, uptime
from cloudeye.services.usability.tally import SUMS
from cloudeye.turns import Turns

blueprint = Blueprint("usability", __name__, url_prefix="", description="Whether sites are up, and how fast")

UsabilityAnswer = envelope("UsabilityAnswer", usability=fields.Nested(SiteUsabilitySchema, required=True))
UsabilitiesAnswer = envelope(
    "UsabilitiesAnswer",
    sites=fields.List(fields.Nested(ListedUsabilitySchema), required=True),
    paging=fields.Nested(PagingSchema, required=True),
)
HistoryAnswer = envelope("HistoryAnswer", history=fields.Nested(HistorySchema, required=True))
IncidentsAnswer = envelope(
    "IncidentsAnswer",
    incidents=fields.List(fields.Nested(IncidentSchema), required=True),
    paging=fields.Nested(CursorPagingSchema, required=True),
)
SiteIncidentsAnswer = envelope(
    "SiteIncidentsAnswer",
    incidents=fields.List(fields.Nested(SiteIncidentSchema), required=True),
    paging=fields.Nested(CursorPagingSchema, required=True),
)
# What is shown of a site here: its settings are many, and some long.
STATE = ("state", "error", "state_since", "status_code", "latency_ms", "last_checked_at", "failures", "paused")
COLUMNS = [getattr(Site, name).label(name) for name in ("id", "name", "url", "tags", *STATE, "rolled_until")]


@blueprint.route("/usability")
@signed_in
@blueprint.arguments(UsabilityQuerySchema, location="query")
@blueprint.response(200, UsabilitiesAnswer)
def list_usability(asked: dict[str, Any]) -> dict[str, Any]:
    """List how usable sites are, oldest first unless sorted otherwise."""
    query = select(Site)
    if not caller().is_admin:
        query = query.where(Site.owner_id == caller().id)
    if "state" in asked:
        query = query.where(Site.state == asked["state"])
    if "tag" in asked:
        query = query.where(Site.id.in_(select(SiteTag.site_id).where(SiteTag.tag == asked["tag"])))
    found, paging = page_of(sorted_by(query, Site, asked["sort"]), COLUMNS, asked["page"], asked["per_page"])
    last_day = uptime.last_day_of(db.session(), found, utcnow())
    sites = [
        {"id": site.id, "name": site.name, "url": site.url, "tags": site.tags, **_state(site)}
        | {"uptime_24h": last_day[site.id]}
        for site in found
    ]
    return success(sites=sites, paging=paging)


@blueprint.route("/sites/<id:site_id>/usability")
@signed_in
@blueprint.response(200, UsabilityAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def get_usability(site_id: int) -> dict[str, Any]:
    """Read whether a site is up, why not, how often it was and how fast."""
    turns = Turns()
    site, session = visible_site(site_id), db.session()
    turns.rest()
    now = utcnow()
    last = session.execute(
        select(*(getattr(CheckResult, name) for name in SUMS))
        .where(CheckResult.site_id == site.id)
        .order_by(CheckResult.checked_at.desc())
        .limit(1)
    ).one_or_none()
    incident = incidents.open_incident(session, site)
    turns.rest()
    return success(
        usability={
            **_state(site),
            "timings": None if last is None or None in last else dict(zip(SUMS, last, strict=True)),
            "windows": uptime.windows_of(session, site, now),
            "incident": None if incident is None else _incident(incident, now),
        }
    )


@blueprint.route("/sites/<id:site_id>/usability/history")
@signed_in
@blueprint.arguments(HistoryQuerySchema, location="query")
@blueprint.response(200, HistoryAnswer)
@blueprint.others("NOT_FOUND")
def get_usability_history(asked: dict[str, Any], site_id: int) -> Response:
    """Read what became of a site's probes, in at most 500 points."""
    now = utcnow()
    until = asked.get("until", now)
    since = asked.get("since", until - uptime.WINDOWS["24h"])
    if since >= until:
        raise Problem(400, INVALID, {"from": [N_("Must lie before the end.")]})
    try:
        found = history.history_of_site(
            db.session(), visible_site(site_id), since, until, resolution=asked.get("resolution"), now=now
        )
    except history.TooMany:
        too_many = N_("Too many points: ask for a shorter time or a coarser resolution.")
        raise Problem(400, INVALID, {"resolution": [too_many]}) from None
    times = {"since": found.since.isoformat(), "until": found.until.isoformat()}
    return jsonify(success(history={"resolution": found.resolution, **times, "points": found.points}))


@blueprint.route("/sites/<id:site_id>/incidents")
@signed_in
@blueprint.arguments(CursorQuerySchema, location="query")
@blueprint.response(200, IncidentsAnswer)
@blueprint.others("NOT_FOUND")
def list_site_incidents(asked: dict[str, Any], site_id: int) -> dict[str, Any]:
    """List when a site was down, newest first; the paging block's link leads to those before."""
    query = select(Incident).where(Incident.site_id == visible_site(site_id).id)
    found, paging = history_of(query, Incident.started_at, asked.get("cursor"), asked["limit"])
    now = utcnow()
    return success(incidents=[_incident(incident, now) for incident in found], paging=paging)


@blueprint.route("/incidents")
@signed_in
@blueprint.arguments(IncidentsQuerySchema, location="query")
@blueprint.response(200, SiteIncidentsAnswer)
def list_incidents(asked: dict[str, Any]) -> dict[str, Any]:
    """List when sites were down, those noticed last first; the paging block's link leads to those before."""
    found, last = incidents.incidents_across(
        db.session(),
        None if caller().is_admin else caller().id,
        before=int(asked["cursor"]) if "cursor" in asked else None,
        limit=asked["limit"],
        is_open=asked["state"] == "open" if "state" in asked else None,
        tag=asked.get("tag"),
    )
    now = utcnow()
    shown = [
        _incident(incident, now) | {"site_id": site.id, "name": site.name, "url": site.url} for incident, site in found
    ]
    arguments = {**request.args.to_dict(), "cursor": str(last), "limit": str(asked["limit"])}
    more = None if last is None else f"{request.path}?{urlencode(arguments)}"
    return success(incidents=shown, paging={"limit": asked["limit"], "next": more})


def _state(site: Site | Row[Any]) -> dict[str, Any]:
    return {name: getattr(site, name) for name in STATE}


def _incident(incident: Incident, now: datetime) -> dict[str, Any]:
    return {
        "id": incident.id,
        "started_at": incident.started_at,
        "ended_at": incident.ended_at,
        "seconds": max(0, round(((incident.ended_at or now) - incident.started_at).total_seconds())),
        "cause": incident.cause,
        "status_code": incident.status_code,
    }
