"""Sites and what the last probe said of them. A user sees their own, an admin all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import marshmallow as ma
from flask import Response, current_app, jsonify, request
from marshmallow import fields
from sqlalchemy import bindparam, or_, select

from cloudeye.access import caller, signed_in
from cloudeye.api.base import Blueprint, Listed, history_of, sorted_by, written
from cloudeye.api.site_access import visible, visible_site
from cloudeye.config import SyncConfig
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext, translated
from cloudeye.models import CheckResult, Site, SiteTag
from cloudeye.preconditions import current
from cloudeye.ready import Ready
from cloudeye.schemas.common import CursorPagingSchema, CursorQuerySchema, PagingSchema, envelope, success
from cloudeye.schemas.sites import (
    CheckSchema,
    ExportQuerySchema,
    ImportQuerySchema,
    NewSiteSchema,
    SiteChangeSchema,
    SiteQuerySchema,
    SiteSchema,
    SitesFileSchema,
)
from cloudeye.services import sites, transfer
from cloudeye.turns import Turns

blueprint = Blueprint("sites", __name__, url_prefix="/sites", description="Websites that are watched")

JSON = "application/json"

SiteAnswer = envelope("SiteAnswer", site=fields.Nested(SiteSchema, required=True))
SitesAnswer = envelope(
    "SitesAnswer",
    sites=fields.List(fields.Nested(SiteSchema), required=True),
    paging=fields.Nested(PagingSchema, required=True),
)
ChecksAnswer = envelope(
    "ChecksAnswer",
    checks=fields.List(fields.Nested(CheckSchema), required=True),
    paging=fields.Nested(CursorPagingSchema, required=True),
)
ImportAnswer = envelope(
    "ImportAnswer",
    added=fields.Integer(required=True, metadata={"description": "or would have been, when tried dry"}),
    left_out=fields.Integer(required=True, metadata={"description": "rows whose name and URL a site has already"}),
    dry_run=fields.Boolean(required=True),
)
RemovedAnswer = envelope("RemovedAnswer")

NEW_SITE = NewSiteSchema()  # made once: its fields are many
SITE = SiteSchema()
COLUMNS = SITE.columns_of(Site)
FILTERS = frozenset({"state", "paused", "tag", "q"})
LISTS = 64  # ways to filter and sort whose statements are ready
ONE = Ready(select(*COLUMNS, Site.version).where(Site.id == bindparam("number")))


@blueprint.route("")
@signed_in
@blueprint.arguments(SiteQuerySchema, location="query")
@blueprint.response(200, SitesAnswer)
def list_sites(asked: dict[str, Any]) -> Response:
    """List sites, oldest first unless sorted otherwise."""
    filters = frozenset(asked.keys() & FILTERS)
    whose = None if caller().is_admin else caller().id
    values = {name: asked[name] for name in filters} | ({} if whose is None else {"owner": whose})
    if "q" in values:
        values["q"] = re.sub("[/%_]", r"/\g<0>", asked["q"])
    listed = _listed(whose is None, filters, asked["sort"])
    found, paging = listed.page(asked["page"], asked["per_page"], values)
    return jsonify(success(sites=written(SITE, found), paging=paging))


@lru_cache(LISTS)
def _listed(all_owners: bool, filters: frozenset[str], sort: str) -> Listed:
    query = select(Site)
    if not all_owners:
        query = query.where(Site.owner_id == bindparam("owner"))
    for name in filters & {"state", "paused"}:
        query = query.where(getattr(Site, name) == bindparam(name))
    if "tag" in filters:
        query = query.where(Site.id.in_(select(SiteTag.site_id).where(SiteTag.tag == bindparam("tag"))))
    if "q" in filters:
        query = query.where(or_(*(column.icontains(bindparam("q"), escape="/") for column in (Site.name, Site.url))))
    return Listed(sorted_by(query, Site, sort), COLUMNS)


@blueprint.route("", methods=["POST"])
@signed_in
@blueprint.arguments(NewSiteSchema)
@blueprint.response(201, SiteAnswer)
def add_site(given: dict[str, Any]) -> dict[str, Any]:
    """Watch a site; it is probed at once."""
    with refusing_bad_sites():
        site = sites.create_site(db.session(), owner_id=caller().id, given=given, config=_config())
    return success(gettext("%(name)s was added!", name=site.name), site=current(site))


@blueprint.route("/export")
@signed_in
@blueprint.arguments(ExportQuerySchema, location="query")
@blueprint.response(200, SitesFileSchema)
@blueprint.doc(responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}})
def export_sites(asked: dict[str, Any]) -> Response:
    """Write a file with what the caller has set of their own sites; it can be imported again."""
    return file_of(caller().id, asked["format"])


@blueprint.route("/import", methods=["POST"])
@signed_in
@blueprint.arguments(ImportQuerySchema, location="query")
@blueprint.doc(
    requestBody={
        "required": True,
        "content": {JSON: {"schema": SitesFileSchema}, "text/csv": {"schema": {"type": "string"}}},
    }
)
@blueprint.response(200, ImportAnswer)
@blueprint.others("UNSUPPORTED_MEDIA_TYPE")
def import_sites(asked: dict[str, Any]) -> dict[str, Any]:
    """Watch the sites of a file, or none where anything in it is wrong; those that are watched already are left out."""
    kind = {JSON: "json", "text/csv": "csv"}.get(request.mimetype)
    if kind is None:
        raise Problem(415, N_("The body must be JSON or CSV, and its Content-Type must say so."))
    added, left_out = add_from_file(caller().id, request.get_data(), kind, dry=asked["dry_run"])
    return success(added=added, left_out=left_out, dry_run=asked["dry_run"])


@blueprint.route("/<id:site_id>")
@signed_in
@blueprint.response(200, SiteAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def get_site(site_id: int) -> Response:
    """Read a site."""
    site = next(iter(ONE.rows(number=site_id)), None)
    return jsonify(success(site=SITE.dump(current(visible(site)))))


@blueprint.route("/<id:site_id>", methods=["PATCH"])
@signed_in
@blueprint.arguments(SiteChangeSchema)
@blueprint.response(200, SiteAnswer)
@blueprint.others("NOT_FOUND")
def change_site(given: dict[str, Any], site_id: int) -> dict[str, Any]:
    """Change a site; it is probed at once where something else is asked of it or expected."""
    site = visible_site(site_id)
    with refusing_bad_sites():
        known = caller().may_see_secrets_of(site.owner_id)
        sites.change_site(db.session(), site, given, config=_config(), secrets_are_known=known)
    db.session.flush()
    return success(site=site)


@blueprint.route("/<id:site_id>", methods=["DELETE"])
@signed_in
@blueprint.response(200, RemovedAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def remove_site(site_id: int) -> dict[str, Any]:
    """Stop watching a site and forget what was found."""
    site = visible_site(site_id)
    sites.remove_site(db.session(), site)
    return success(gettext("%(name)s was removed!", name=site.name))


@blueprint.route("/<id:site_id>/checks")
@signed_in
@blueprint.arguments(CursorQuerySchema, location="query")
@blueprint.response(200, ChecksAnswer)
@blueprint.others("NOT_FOUND")
def list_checks(asked: dict[str, Any], site_id: int) -> dict[str, Any]:
    """List the probes of a site, newest first; the paging block's link leads to those before."""
    query = select(CheckResult).where(CheckResult.site_id == visible_site(site_id).id)
    checks, paging = history_of(query, CheckResult.checked_at, asked.get("cursor"), asked["limit"])
    return success(checks=checks, paging=paging)


@contextmanager
def refusing_bad_sites() -> Iterator[None]:
    """Answer 400 where a site cannot be watched as asked for."""
    try:
        yield
    except sites.BadSite as bad:
        raise Problem(400, INVALID, bad.data) from None


def file_of(owner_id: int, kind: str) -> Response:
    """Return a user's sites as a file, which is written while it is sent."""
    write = transfer.write_json if kind == "json" else transfer.write_csv
    lines = write(transfer.sites_of(db.engine, owner_id))
    mimetype = JSON if kind == "json" else "text/csv"
    answer = current_app.response_class(lines, mimetype=mimetype)
    answer.headers["Content-Disposition"] = f"attachment; filename=sites.{kind}"
    answer.headers["Cache-Control"] = "no-store"
    return answer


def add_from_file(owner_id: int, data: bytes, kind: str, *, dry: bool) -> tuple[int, int]:
    """Add the sites of a file to the transaction; return how many, and how many there were already.

    Raises:
        Problem: 400, naming each bad row; nothing was added.
    """
    config = _config()
    targets = sites.own_targets(db.session(), owner_id)

    def load(given: dict[str, Any]) -> dict[str, Any]:
        try:
            wanted = sites.complete(NEW_SITE.load(given), config)
            sites.check(wanted, sites.SETTINGS, config, targets)
        except ma.ValidationError as error:
            raise transfer.BadRow(error.messages_dict) from None
        except sites.BadSite as bad:
            raise transfer.BadRow(bad.data) from None
        return wanted

    try:
        return transfer.add_sites(db.session(), owner_id, transfer.read(data, kind), load, dry=dry)
    except transfer.BadFile as bad:
        db.session.rollback()
        raise Problem(400, INVALID, {"rows": _told(bad)}) from None


def _told(bad: transfer.BadFile) -> list[str]:
    """Return what is wrong with a file, each trouble in a line."""
    told, turns = [], Turns()
    for trouble in bad.troubles:
        turns.rest()
        said = translated(trouble.message)
        place = {"number": trouble.number, "problem": f"{trouble.field}: {said}" if trouble.field else said}
        form = gettext("line %(number)s: %(problem)s", **place)
        told.append(form if trouble.place == "line" else gettext("item %(number)s: %(problem)s", **place))
    if bad.more:
        told.append(gettext("and %(number)s more", number=bad.more))
    return told


def _config() -> SyncConfig:
    config: SyncConfig = current_app.config["CLOUDEYE"].sync
    return config
