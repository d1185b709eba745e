"""Weaknesses of sites: what was found, the grade, and proof of control. A user sees their own sites, an admin all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Response, current_app, jsonify, request
from marshmallow import fields
from sqlalchemy import Row, case, or_, select, update

from cloudeye.access import caller, signed_in
from cloudeye.api.base import Blueprint, page_of, written
from cloudeye.api.site_access import visible_site
from cloudeye.config import Config
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext, translated
from cloudeye.models import SEVERITIES, Finding, Site, utcnow
from cloudeye.schemas.bugs import (
    BugsQuerySchema,
    ControlSchema,
    FindingChangeSchema,
    FindingSchema,
    FindingsQuerySchema,
    GradeSchema,
    SiteFindingSchema,
)
from cloudeye.schemas.common import CursorPagingSchema, PagingSchema, envelope, success
from cloudeye.services.findings import across, control, store
from cloudeye.services.findings.catalogue import CATALOGUE, Entry
from cloudeye.services.findings.grade import START, grade
from cloudeye.services.netguard import check_url

blueprint = Blueprint("bugs", __name__, url_prefix="", description="Weaknesses of sites, and proof of control")

SCAN_EVERY = timedelta(minutes=10)  # no more often is a site scanned because somebody asks

BugsAnswer = envelope(
    "BugsAnswer",
    bugs=fields.Nested(GradeSchema, required=True),
    findings=fields.List(fields.Nested(FindingSchema), required=True),
    paging=fields.Nested(PagingSchema, required=True),
)
AllBugsAnswer = envelope(
    "AllBugsAnswer",
    findings=fields.List(fields.Nested(SiteFindingSchema), required=True),
    paging=fields.Nested(CursorPagingSchema, required=True),
)
FindingAnswer = envelope("FindingAnswer", finding=fields.Nested(FindingSchema, required=True))
ControlAnswer = envelope("ControlAnswer", control=fields.Nested(ControlSchema, required=True))
ScanAnswer = envelope("ScanAnswer", next_scan_at=fields.AwareDateTime(required=True))

SHOWN = (
    "id", "site_id", "code", "subject", "kind", "state", "severity", "evidence", "note", "acknowledged_by",
    "acknowledged_at", "first_seen_at", "last_seen_at", "fixed_at",
)  # fmt: skip
COLUMNS = [getattr(Finding, name) for name in SHOWN]
_UNKNOWN = Entry("", "info", 0, N_("Found by another release"), "", "")
NOT_PROVEN = N_("Control of this site is not proven.")


@blueprint.route("/bugs")
@signed_in
@blueprint.arguments(BugsQuerySchema, location="query")
@blueprint.response(200, AllBugsAnswer)
def list_bugs(asked: dict[str, Any]) -> Response:
    """List findings across sites, site by site; the paging block's link leads to those after."""
    site_id, _, finding_id = asked.get("cursor", "").partition(".")
    begin = across.Place(int(site_id), int(finding_id) if finding_id else None) if site_id else None
    wanted = across.Filter(asked.get("state"), asked.get("severity"), asked.get("tag"))
    whose = None if caller().is_admin else caller().id
    rows, place = across.findings_across(db.session(), whose, begin, asked["limit"], wanted)
    more = None
    if place is not None:
        cursor = f"{place.site_id}" if place.finding_id is None else f"{place.site_id}.{place.finding_id}"
        arguments = {**request.args.to_dict(), "cursor": cursor, "limit": str(asked["limit"])}
        more = f"{request.path}?{urlencode(arguments)}"
    found = (finding_of(finding) | {"name": name, "url": url} for finding, name, url in rows)
    shown = written(SiteFindingSchema(), found)
    return jsonify(success(findings=shown, paging={"limit": asked["limit"], "next": more}))


@blueprint.route("/sites/<id:site_id>/bugs")
@signed_in
@blueprint.arguments(FindingsQuerySchema, location="query")
@blueprint.response(200, BugsAnswer)
@blueprint.others("NOT_FOUND")
def get_bugs(asked: dict[str, Any], site_id: int) -> Response:
    """Read a site's grade, how it comes about, and what was found, the worst first."""
    site = visible_site(site_id)
    query = select(Finding).where(Finding.site_id == site.id)
    if "state" in asked:
        query = query.where(Finding.state == asked["state"])
    if "severity" in asked:
        query = query.where(Finding.severity == asked["severity"])
    rank = case(dict(zip(SEVERITIES, range(len(SEVERITIES)), strict=True)), value=Finding.severity)
    query = query.order_by(rank.desc(), Finding.code, Finding.subject)
    found, paging = page_of(query, COLUMNS, asked["page"], asked["per_page"])
    shown = written(FindingSchema(), (finding_of(finding) for finding in found))
    return jsonify(success(bugs=GradeSchema().dump(grade_of(site)), findings=shown, paging=paging))


@blueprint.route("/sites/<id:site_id>/bugs/<id:finding_id>", methods=["PATCH"])
@signed_in
@blueprint.arguments(FindingChangeSchema)
@blueprint.response(200, FindingAnswer)
@blueprint.others("NOT_FOUND", "CONFLICT")
def change_bug(given: dict[str, Any], site_id: int, finding_id: int) -> dict[str, Any]:
    """Acknowledge a finding, or open it again; whether it is fixed is for the next look to say."""
    site = visible_site(site_id)
    finding = db.session.get(Finding, finding_id)
    if finding is None or finding.site_id != site.id:
        raise Problem(404, "Finding does not exist")
    connection, note = db.session.connection(), given.get("note")
    if given["state"] == "acknowledged":
        done = store.acknowledge(connection, site.id, finding.id, caller().id, note, utcnow())
    else:
        done = store.reopen(connection, site.id, finding.id, note)
    if not done:
        raise Problem(409, N_("This finding is fixed."))
    db.session.refresh(finding)
    return success(finding=finding_of(finding))


# -- control and scans -----------------------------------------------------------------------------------------


@blueprint.route("/sites/<id:site_id>/control")
@signed_in
@blueprint.response(200, ControlAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def get_control(site_id: int) -> dict[str, Any]:
    """Read how control of a site is proven, and whether it was."""
    return success(control=control_of(visible_site(site_id)))


@blueprint.route("/sites/<id:site_id>/control", methods=["POST"])
@signed_in
@blueprint.response(200, ControlAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND", "TOO_MANY_REQUESTS")
def prove_control(site_id: int) -> dict[str, Any]:
    """Look for the token now; once it is found, the site is scanned, and looked for again before each scan."""
    from cloudeye.services.findings import proof as proofs  # what asks sites is nothing a process of the web keeps

    site = visible_site(site_id)
    url, token = site.url, token_of(site)
    # Nobody shall wait for a connection to the database while a site takes its time; nothing was changed so far.
    db.session.commit()
    try:
        proof = proofs.check(url, token, _config().sync.allow_private)
    except proofs.Busy:
        raise Problem(429, N_("Others are proving control just now."), headers={"Retry-After": "5"}) from None
    if not control.settle(db.session.connection(), site_id, url, token, proof, utcnow()):
        db.session.commit()  # what follows is a refusal, which would keep nothing
        said = list(proof.said) if proof.way is None else [N_("The site was changed meanwhile.")]
        raise Problem(400, NOT_PROVEN, {"control": said})
    db.session.refresh(site)
    return success(gettext("Control of %(name)s is proven!", name=site.name), control=control_of(site))


@blueprint.route("/sites/<id:site_id>/control", methods=["DELETE"])
@signed_in
@blueprint.response(200, ControlAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def give_up_control(site_id: int) -> dict[str, Any]:
    """Have a site scanned no more; what only scans can find is forgotten."""
    site = visible_site(site_id)
    control.give_up(db.session.connection(), site.id)
    db.session.refresh(site)
    return success(control=control_of(site))


@blueprint.route("/sites/<id:site_id>/scan", methods=["POST"])
@signed_in
@blueprint.response(202, ScanAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND", "CONFLICT")
def ask_for_scan(site_id: int) -> dict[str, Any]:
    """Have a site scanned soon: now, or ten minutes after the last scan."""
    site = visible_site(site_id)
    if site.controlled_at is None:
        raise Problem(409, NOT_PROVEN)
    if site.paused:
        raise Problem(409, N_("This site is paused."))
    soon = max(utcnow(), site.controlled_at + SCAN_EVERY)
    # Past the ORM: to ask for a scan changes nothing of what is watched.
    sooner = or_(Site.next_scan_at.is_(None), Site.next_scan_at > soon)
    db.session.connection().execute(
        update(Site).where(Site.id == site.id, Site.controlled_at.is_not(None), sooner).values(next_scan_at=soon)
    )
    db.session.refresh(site)
    if site.next_scan_at is None:
        raise Problem(409, NOT_PROVEN)
    return success(next_scan_at=site.next_scan_at)


def finding_of(finding: Finding | Row[Any]) -> dict[str, Any]:
    """Return a finding as it is shown, with what the catalogue says of it in the caller's language."""
    entry = CATALOGUE.get(finding.code, _UNKNOWN)
    texts = {"title": translated(entry.title), "remedy": translated(entry.remedy), "reference": entry.reference}
    return {name: getattr(finding, name) for name in SHOWN} | {"points": entry.points, **texts}


def grade_of(site: Site) -> dict[str, Any]:
    """Return a site's grade with its arithmetic, in the caller's language."""
    known: dict[str, Any] = {
        "grade": None,
        "score": None,
        "start": START,
        "terms": [],
        "worst_severity": site.worst_severity,
        "open_findings": site.open_findings,
        "inspected_at": site.inspected_at,
        "controlled_at": site.controlled_at,
        "next_scan_at": site.next_scan_at,
    }
    if site.grade is None:
        return known
    codes = db.session.scalars(
        select(Finding.code).where(Finding.site_id == site.id, Finding.state != "fixed").distinct()
    )
    now = grade(codes)
    terms = [{"code": term.code, "title": translated(term.title), "points": term.points} for term in now.terms]
    return known | {"grade": now.letter, "score": now.score, "terms": terms}


def token_of(site: Site) -> str:
    """Return the token by which the site's owner proves control."""
    return control.token_of(_config().proof_key, site.owner_id, check_url(site.url, allow_private=True).host)


def control_of(site: Site) -> dict[str, Any]:
    """Return how control of a site is proven, and whether it was."""
    token, target = token_of(site), check_url(site.url, allow_private=True)
    return {
        "token": token,
        "file_url": control.file_url(target),
        "record_name": control.record_name(target),
        "record_value": f"{control.PREFIX}{token}",
        "proven": site.controlled_at is not None,
        "controlled_at": site.controlled_at,
        "next_scan_at": site.next_scan_at,
    }


def _config() -> Config:
    config: Config = current_app.config["CLOUDEYE"]
    return config
