"""Tampering: how pages stand to what was accepted, what they were like, and accepting it. An admin sees all sites."""

from __future__ import annotations

from typing import Any

from marshmallow import fields
from sqlalchemy import Row, select
from sqlalchemy.orm import defer

from cloudeye.access import caller, signed_in
from cloudeye.api.base import Blueprint, history_of, page_of, sorted_by
from cloudeye.api.site_access import visible_site
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext
from cloudeye.models import PageBody, PageVersion, Site, SiteTag, utcnow
from cloudeye.schemas.common import CursorPagingSchema, CursorQuerySchema, PagingSchema, envelope, success
from cloudeye.schemas.tamper import (
    AcceptSchema,
    SiteTamperSchema,
    TamperQuerySchema,
    TamperSchema,
    VersionSchema,
    WholeVersionSchema,
)
from cloudeye.services.tamper import snapshots, store

blueprint = Blueprint("tamper", __name__, url_prefix="", description="How pages differ from what was accepted")

CONTENT_SHOWN = 100_000  # bytes of a page
COLUMNS = [
    getattr(Site, name).label(name)
    for name in ("id", "name", "url", "tags", "tamper_state", "tamper_severity", "tamper_since")
]

TamperAnswer = envelope("TamperAnswer", tamper=fields.Nested(TamperSchema, required=True))
TampersAnswer = envelope(
    "TampersAnswer",
    sites=fields.List(fields.Nested(SiteTamperSchema), required=True),
    paging=fields.Nested(PagingSchema, required=True),
)
VersionsAnswer = envelope(
    "VersionsAnswer",
    versions=fields.List(fields.Nested(VersionSchema), required=True),
    paging=fields.Nested(CursorPagingSchema, required=True),
)
VersionAnswer = envelope("VersionAnswer", version=fields.Nested(WholeVersionSchema, required=True))


@blueprint.route("/tamper")
@signed_in
@blueprint.arguments(TamperQuerySchema, location="query")
@blueprint.response(200, TampersAnswer)
def list_tamper(asked: dict[str, Any]) -> dict[str, Any]:
    """List how the pages of sites stand to their baselines, oldest first unless sorted otherwise."""
    query = select(Site)
    if not caller().is_admin:
        query = query.where(Site.owner_id == caller().id)
    if "state" in asked:
        query = query.where(Site.tamper_state == asked["state"])
    if "severity" in asked:
        query = query.where(Site.tamper_severity == asked["severity"])
    if "tag" in asked:
        query = query.where(Site.id.in_(select(SiteTag.site_id).where(SiteTag.tag == asked["tag"])))
    found, paging = page_of(sorted_by(query, Site, asked["sort"]), COLUMNS, asked["page"], asked["per_page"])
    sites = [{"id": site.id, "name": site.name, "url": site.url, "tags": site.tags, **_state(site)} for site in found]
    return success(sites=sites, paging=paging)


@blueprint.route("/sites/<id:site_id>/tamper")
@signed_in
@blueprint.response(200, TamperAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def get_tamper(site_id: int) -> dict[str, Any]:
    """Read whether a site's page is as it was accepted, and how it differs, the gravest change first."""
    return success(tamper=tamper_of(visible_site(site_id)))


@blueprint.route("/sites/<id:site_id>/tamper/versions")
@signed_in
@blueprint.arguments(CursorQuerySchema, location="query")
@blueprint.response(200, VersionsAnswer)
@blueprint.others("NOT_FOUND")
def list_versions(asked: dict[str, Any], site_id: int) -> dict[str, Any]:
    """List the versions of a site's page that are kept, newest first."""
    site = visible_site(site_id)
    query = select(PageVersion).where(PageVersion.site_id == site.id).options(defer(PageVersion.diff))
    found, paging = history_of(query, PageVersion.seen_at, asked.get("cursor"), asked["limit"])
    return success(versions=[version_of(version, site) for version in found], paging=paging)


@blueprint.route("/sites/<id:site_id>/tamper/versions/<id:version_id>")
@signed_in
@blueprint.response(200, VersionAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def get_version(site_id: int, version_id: int) -> dict[str, Any]:
    """Read a version of a site's page: what it held, and how it differed from the baseline of that time."""
    site = visible_site(site_id)
    version = _version(site, version_id)
    body = db.session.get(PageBody, version.hash)
    if body is None:
        raise Problem(404, "Version does not exist")
    beginning = snapshots.beginning(body.body, CONTENT_SHOWN)
    whole = {
        **version_of(version, site),
        "url": beginning.answer.url,
        "content_type": beginning.answer.header("content-type"),
        "size": body.size,
        "content": beginning.answer.body.decode(beginning.answer.charset(), "replace"),
        "content_complete": beginning.complete,
        "diff": version.diff or "",
    }
    return success(version=whole)


@blueprint.route("/sites/<id:site_id>/tamper/accept", methods=["POST"])
@signed_in
@blueprint.arguments(AcceptSchema)
@blueprint.response(200, TamperAnswer)
@blueprint.others("NOT_FOUND", "CONFLICT")
def accept_version(given: dict[str, Any], site_id: int) -> dict[str, Any]:
    """Make a version the baseline, the newest unless another is named."""
    site = visible_site(site_id)
    version = _version(site, given["version_id"]) if "version_id" in given else store.newest(db.session(), site.id)
    if version is None:
        raise Problem(409, N_("No page of this site was seen yet."))
    store.accept(db.session(), site, version, utcnow())
    return success(gettext("The baseline of %(name)s was replaced!", name=site.name), tamper=tamper_of(site))


def tamper_of(site: Site) -> dict[str, Any]:
    """What is told of how a site's page stands; the pages tell the same."""
    baseline = None if site.baseline_id is None else db.session.get(PageVersion, site.baseline_id)
    changed = store.newest(db.session(), site.id) if site.tamper_state == "changed" else None
    return {
        **_state(site),
        "baseline": None if baseline is None else version_of(baseline, site),
        "version_id": None if changed is None else changed.id,
        "changes": [] if changed is None else changed.changes or [],
        "diff": "" if changed is None else changed.diff or "",
    }


def version_of(version: PageVersion, site: Site) -> dict[str, Any]:
    """What is told of a version."""
    shown = {name: getattr(version, name) for name in ("id", "seen_at", "status_code", "severity", "accepted_at")}
    return {**shown, "baseline": version.id == site.baseline_id, "changes": version.changes or []}


def _state(site: Site | Row[Any]) -> dict[str, Any]:
    return {"state": site.tamper_state, "severity": site.tamper_severity, "since": site.tamper_since}


def _version(site: Site, version_id: int) -> PageVersion:
    version = db.session.get(PageVersion, version_id)
    if version is None or version.site_id != site.id:
        raise Problem(404, "Version does not exist")
    return version
