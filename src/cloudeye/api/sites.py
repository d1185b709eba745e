"""Sites and what the last probe said of them. A user sees their own, an admin all."""

from __future__ import annotations

from typing import Any

from flask import current_app
from marshmallow import fields
from sqlalchemy import select

from cloudeye.access import caller, signed_in
from cloudeye.api.base import Blueprint, history_of, page_of, sorted_by
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import gettext
from cloudeye.models import CheckResult, Site
from cloudeye.preconditions import current
from cloudeye.schemas.common import CursorPagingSchema, CursorQuerySchema, PagingSchema, envelope, success
from cloudeye.schemas.sites import (
    CheckSchema,
    NewSiteSchema,
    SiteChangeSchema,
    SiteQuerySchema,
    SiteSchema,
    UsabilitySchema,
)
from cloudeye.services import sites

blueprint = Blueprint("sites", __name__, url_prefix="/sites", description="Websites that are watched")

SiteAnswer = envelope("SiteAnswer", site=fields.Nested(SiteSchema, required=True))
SitesAnswer = envelope(
    "SitesAnswer",
    sites=fields.List(fields.Nested(SiteSchema), required=True),
    paging=fields.Nested(PagingSchema, required=True),
)
UsabilityAnswer = envelope("UsabilityAnswer", usability=fields.Nested(UsabilitySchema, required=True))
ChecksAnswer = envelope(
    "ChecksAnswer",
    checks=fields.List(fields.Nested(CheckSchema), required=True),
    paging=fields.Nested(CursorPagingSchema, required=True),
)
RemovedAnswer = envelope("RemovedAnswer")


@blueprint.route("")
@signed_in
@blueprint.arguments(SiteQuerySchema, location="query")
@blueprint.response(200, SitesAnswer)
def list_sites(asked: dict[str, Any]) -> dict[str, Any]:
    """List sites, oldest first unless sorted otherwise."""
    query = select(Site)
    if not caller().is_admin:
        query = query.where(Site.owner_id == caller().id)
    if "state" in asked:
        query = query.where(Site.state == asked["state"])
    found, paging = page_of(sorted_by(query, Site, asked["sort"]), asked["page"], asked["per_page"])
    return success(sites=found, paging=paging)


@blueprint.route("", methods=["POST"])
@signed_in
@blueprint.arguments(NewSiteSchema)
@blueprint.response(201, SiteAnswer)
def add_site(given: dict[str, Any]) -> dict[str, Any]:
    """Watch a site; it is probed at once."""
    settings = current_app.config["CLOUDEYE"].sync
    try:
        site = sites.create_site(
            db.session(),
            owner_id=caller().id,
            interval=given.pop("interval", settings.default_interval),
            allow_private=settings.allow_private,
            **given,
        )
    except sites.BadSite as bad:
        raise Problem(400, INVALID, bad.data) from None
    return success(gettext("%(name)s was added!", name=site.name), site=current(site))


@blueprint.route("/<id:site_id>")
@signed_in
@blueprint.response(200, SiteAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def get_site(site_id: int) -> dict[str, Any]:
    """Read a site."""
    return success(site=_site(site_id))


@blueprint.route("/<id:site_id>", methods=["PATCH"])
@signed_in
@blueprint.arguments(SiteChangeSchema)
@blueprint.response(200, SiteAnswer)
@blueprint.others("NOT_FOUND")
def change_site(given: dict[str, Any], site_id: int) -> dict[str, Any]:
    """Change a site; it is probed at once."""
    site = _site(site_id)
    try:
        sites.change_site(site, allow_private=current_app.config["CLOUDEYE"].sync.allow_private, **given)
    except sites.BadSite as bad:
        raise Problem(400, INVALID, bad.data) from None
    db.session.flush()
    return success(site=site)


@blueprint.route("/<id:site_id>", methods=["DELETE"])
@signed_in
@blueprint.response(200, RemovedAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def remove_site(site_id: int) -> dict[str, Any]:
    """Stop watching a site and forget what was found."""
    site = _site(site_id)
    db.session.delete(site)
    db.session.flush()
    return success(gettext("%(name)s was removed!", name=site.name))


@blueprint.route("/<id:site_id>/usability")
@signed_in
@blueprint.response(200, UsabilityAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def get_usability(site_id: int) -> dict[str, Any]:
    """Read whether a site is up, as the last probe saw it."""
    return success(usability=_site(site_id))


@blueprint.route("/<id:site_id>/checks")
@signed_in
@blueprint.arguments(CursorQuerySchema, location="query")
@blueprint.response(200, ChecksAnswer)
@blueprint.others("NOT_FOUND")
def list_checks(asked: dict[str, Any], site_id: int) -> dict[str, Any]:
    """List the probes of a site, newest first; the paging block's link leads to those before."""
    query = select(CheckResult).where(CheckResult.site_id == _site(site_id).id)
    checks, paging = history_of(query, CheckResult.checked_at, asked.get("cursor"), asked["limit"])
    return success(checks=checks, paging=paging)


def _site(site_id: int) -> Site:
    """Return a site that the caller may see; another's is as unknown as one that never was."""
    site = db.session.get(Site, site_id)
    if site is None or not (caller().is_admin or site.owner_id == caller().id):
        raise Problem(404, "Site does not exist")
    return current(site)
