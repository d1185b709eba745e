"""One site: what was found of it, its settings, and what may be done about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import marshmallow as ma
from flask import current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user
from sqlalchemy import case, select
from sqlalchemy.orm import Session

from cloudeye.api.bugs import NOT_PROVEN, control_of, finding_of, grade_of, token_of
from cloudeye.api.sites import refusing_bad_sites
from cloudeye.config import Config
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext, translated
from cloudeye.models import (
    SEVERITIES,
    STATES,
    TAMPER_STATES,
    AlertTarget,
    CheckResult,
    Finding,
    Incident,
    PageVersion,
    Site,
    utcnow,
)
from cloudeye.pages.account import zone_options
from cloudeye.pages.base import blueprint, members_only, render
from cloudeye.pages.charts import latency_chart
from cloudeye.pages.languages import show_clock
from cloudeye.pages.site_form import describe_window, form_of, read_form, weekdays
from cloudeye.pages.sites import number_of
from cloudeye.schemas.bugs import FindingChangeSchema
from cloudeye.services import maintenance, sites
from cloudeye.services.ask import METHODS
from cloudeye.services.findings import control, store
from cloudeye.services.netguard import RefusedAddress
from cloudeye.services.tamper import store as tamper
from cloudeye.services.usability import history, uptime
from cloudeye.services.usability.tally import PHASES
from cloudeye.turns import Turns

SPANS = ("24h", "7d", "30d", "90d")
INCIDENTS, FINDINGS, VERSIONS, TARGETS = 10, 100, 10, 100  # shown at most
# Of the templates.
WORDS = (
    N_("info"), N_("low"), N_("medium"), N_("high"), N_("critical"), N_("open"), N_("acknowledged"), N_("fixed"),
)  # fmt: skip
PHASE_NAMES = {
    "dns_ms": N_("Name lookup"),
    "connect_ms": N_("Connection"),
    "tls_ms": N_("Encryption"),
    "first_byte_ms": N_("First byte"),
    "total_ms": N_("All of it"),
}
CHANGED = N_("This was changed by somebody else since you opened the form. What you see now is what was typed.")


@blueprint.get("/sites/<id:site_id>")
@members_only
def show_site(site_id: int) -> Any:
    """Show everything that was found of a site."""
    return _page(find_site(site_id))


@blueprint.route("/sites/<id:site_id>/edit", methods=["GET", "POST"])
@members_only
def change_site(site_id: int) -> Any:
    """Change what is asked of a site and expected."""
    site = find_site(site_id)
    form = form_of(site, is_owner=_is_owner(site))
    if request.method == "POST":
        with form.explaining():
            given = read_form(form, site)
            if form.values["version"] != str(site.version):
                form.values["version"] = site.version
                raise Problem(409, CHANGED)
            with refusing_bad_sites():
                known = _is_owner(site)
                sites.change_site(db.session(), site, given, config=_config().sync, secrets_are_known=known)
            name = site.name
            db.session.commit()
            flash(gettext("%(name)s was changed.", name=name))
            return redirect(url_for("pages.show_site", site_id=site_id), 303)
        site = find_site(site_id)
    targets = select(AlertTarget).where(AlertTarget.owner_id == site.owner_id).order_by(AlertTarget.name).limit(TARGETS)
    return form.answer(
        render(
            "site_edit.html",
            site=site,
            form=form,
            is_owner=_is_owner(site),
            settings=_config().sync,
            methods=[(method, method) for method in METHODS],
            targets=db.session.scalars(targets).all(),
            windows=[describe_window(window, show_clock) for window in site.maintenance or ()],
            weekdays=weekdays(),
            zone_options=zone_options(form.values["time_zone"]),
        )
    )


@blueprint.post("/sites/<id:site_id>/pause")
@members_only
def pause_site(site_id: int) -> Any:
    """Look at a site no more, or again."""
    site = find_site(site_id)
    paused = request.form.get("paused") == "true"
    known = _is_owner(site)
    sites.change_site(db.session(), site, {"paused": paused}, config=_config().sync, secrets_are_known=known)
    db.session.commit()
    return _done(site_id, gettext("The site is paused.") if paused else gettext("The site is watched again."))


@blueprint.route("/sites/<id:site_id>/remove", methods=["GET", "POST"])
@members_only
def remove_site(site_id: int) -> Any:
    """Ask whether a site is really to go, with all that was found of it; then remove it."""
    site = find_site(site_id)
    if request.method == "POST":
        name = site.name
        sites.remove_site(db.session(), site)
        db.session.commit()
        flash(gettext("%(name)s was removed!", name=name))
        return redirect(url_for("pages.show_sites"), 303)
    return render_template("site_remove.html", site=site)


# -- page and findings -----------------------------------------------------------------------------------------


@blueprint.post("/sites/<id:site_id>/baseline")
@members_only
def accept_page(site_id: int) -> Any:
    """Have later pages compared with this one."""
    site = find_site(site_id)
    version = db.session.get(PageVersion, number_of(request.form.get("version", "")) or 0)
    if version is None or version.site_id != site.id:
        raise Problem(404, N_("This page is not kept any more."))
    tamper.accept(db.session(), site, version, utcnow())
    db.session.commit()
    return _done(site_id, gettext("Pages are compared with this one from now on."), "tamper")


@blueprint.post("/sites/<id:site_id>/findings/<id:finding_id>")
@members_only
def change_finding(site_id: int, finding_id: int) -> Any:
    """Acknowledge a finding, or take that back."""
    site = find_site(site_id)
    connection = db.session.connection()
    note = request.form.get("note", "").strip() or None
    try:
        given = FindingChangeSchema().load({"state": request.form.get("state"), "note": note})
    except ma.ValidationError as error:
        raise Problem(400, INVALID, error.messages_dict) from None
    if given["state"] == "acknowledged":
        done = store.acknowledge(connection, site.id, finding_id, current_user.id, note, utcnow())
    else:
        done = store.reopen(connection, site.id, finding_id, None)
    if not done:
        raise Problem(404, "Finding does not exist")
    db.session.commit()
    return _done(site_id, gettext("The finding was changed."), "bugs")


@blueprint.post("/sites/<id:site_id>/control")
@members_only
def prove_control(site_id: int) -> Any:
    """Look for the token that proves control of a site."""
    from cloudeye.services.findings import proof as proofs  # what asks sites is nothing a process of the web keeps

    site = find_site(site_id)
    url, token = site.url, token_of(site)
    db.session.commit()  # nobody shall wait for a connection while a site takes its time
    try:
        proof = proofs.check(url, token, _config().sync.allow_private)
    except proofs.Busy:
        return _page(find_site(site_id), said=[gettext("Others are proving control just now.")], status=503)
    proven = control.settle(db.session.connection(), site_id, url, token, proof, utcnow())
    db.session.commit()
    if proof.way is None:
        return _page(find_site(site_id), said=[gettext(NOT_PROVEN), *proof.said], status=400)
    if not proven:
        raise Problem(409, N_("The site was changed meanwhile."))
    return _done(site_id, gettext("Control of %(name)s is proven!", name=site.name), "control")


@blueprint.post("/sites/<id:site_id>/control/end")
@members_only
def give_up_control(site_id: int) -> Any:
    """Have a site scanned no more."""
    site = find_site(site_id)
    control.give_up(db.session.connection(), site.id)
    db.session.commit()
    return _done(site_id, gettext("The site is not scanned any more."), "control")


# -- the page --------------------------------------------------------------------------------------------------


def find_site(site_id: int) -> Site:
    """Return a site that the visitor may see; another's is as unknown as one that never was.

    Raises:
        Problem: 404, there is none.
    """
    site = db.session.get(Site, site_id)
    if site is None or not (current_user.is_admin or site.owner_id == current_user.id):
        raise Problem(404, "Site does not exist")
    return site


def _page(site: Site, said: list[str] | None = None, status: int = 200) -> Any:
    session, now = db.session(), utcnow()
    span = request.args.get("span", SPANS[0])
    span = span if span in SPANS else SPANS[0]
    newest = tamper.newest(session, site.id) if site.tamper_state == "changed" else None
    readers: dict[str, Callable[[], Any]] = {
        "windows": lambda: uptime.windows_of(session, site, now),
        "chart": lambda: _chart(session, site, span, now),
        "phases": lambda: _phases(session, site),
        "incidents": lambda: _incidents(session, site),
        "versions": lambda: _versions(session, site),
        "bugs": lambda: grade_of(site),
        "findings": lambda: _findings(session, site),
        "control": lambda: _control(site),
    }
    read = {}
    for name, reader in readers.items():
        Turns.of_page().rest()
        read[name] = reader()
    page = render(
        "site.html",
        site=site,
        now=now,
        is_owner=_is_owner(site),
        in_maintenance=not site.paused and maintenance.active(site.maintenance, now),
        words={word: gettext(word) for word in (*STATES, *TAMPER_STATES, *WORDS, "paused")},
        spans=SPANS,
        span=span,
        version=newest,
        changes=[(change["severity"], translated(change["text"])) for change in (newest and newest.changes) or ()],
        said=said,
        duration=duration,
        **read,
    )
    return page, status


def duration(start: datetime, end: datetime | None, now: datetime) -> str:
    """Say how long something lasted, or has lasted, in at most two units."""
    seconds = max(0, round(((end or now) - start).total_seconds()))
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        said = gettext("%(days)s d %(hours)s h", days=days, hours=hours)
    elif hours:
        said = gettext("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes)
    elif minutes:
        said = gettext("%(minutes)s min %(seconds)s s", minutes=minutes, seconds=seconds % 60)
    else:
        said = gettext("%(seconds)s s", seconds=seconds)
    return str(said)


def _chart(session: Session, site: Site, span: str, now: datetime) -> Any:
    since = now - uptime.WINDOWS[span]
    found = history.history_of_site(session, site, since, now, resolution=None, now=now)
    medians = [point["p50_ms"] for point in found.points if point["p50_ms"] is not None]
    if not found.points:
        return None
    bad = sum(1 for point in found.points if point["down"])
    said = gettext("%(points)s points; %(bad)s of them with failed checks.", points=len(found.points), bad=bad)
    if medians:
        facts = {"low": round(min(medians)), "high": round(max(medians))}
        said = gettext("The median latency lies between %(low)s and %(high)s ms.", **facts) + f" {said}"
    title = gettext("Latency")
    return latency_chart(found.points, found.since, now, title=title, said=f"{title}: {said}", clock=show_clock)


def _phases(session: Session, site: Site) -> list[tuple[str, float]]:
    """Return where the time of the last probe went, by name."""
    columns = (getattr(CheckResult, name) for name in PHASES)
    last = session.execute(
        select(*columns).where(CheckResult.site_id == site.id).order_by(CheckResult.checked_at.desc()).limit(1)
    ).one_or_none()
    if last is None or None in last:
        return []
    return [(gettext(PHASE_NAMES[name]), value) for name, value in zip(PHASES, last, strict=True)]


def _incidents(session: Session, site: Site) -> Any:
    query = select(Incident).where(Incident.site_id == site.id).order_by(Incident.started_at.desc()).limit(INCIDENTS)
    return session.scalars(query).all()


def _versions(session: Session, site: Site) -> Any:
    """Return the pages that are kept, without what changed in each: that may be long."""
    short = (getattr(PageVersion, name) for name in ("id", "seen_at", "status_code", "severity", "accepted_at"))
    query = select(*short).where(PageVersion.site_id == site.id).order_by(PageVersion.id.desc()).limit(VERSIONS)
    return session.execute(query).all()


def _findings(session: Session, site: Site) -> list[dict[str, Any]]:
    rank = case(dict(zip(SEVERITIES, range(len(SEVERITIES)), strict=True)), value=Finding.severity)
    query = (
        select(Finding)
        .where(Finding.site_id == site.id, Finding.state != "fixed")
        .order_by(rank.desc(), Finding.code, Finding.subject)
        .limit(FINDINGS)
    )
    return [finding_of(finding) for finding in session.scalars(query)]


def _control(site: Site) -> dict[str, Any] | None:
    try:
        return control_of(site)
    except RefusedAddress:  # by an older release's rules it was no such URL
        return None


def _is_owner(site: Site) -> bool:
    return bool(site.owner_id == current_user.id)


def _config() -> Config:
    config: Config = current_app.config["CLOUDEYE"]
    return config


def _done(site_id: int, message: str, anchor: str | None = None) -> Any:
    flash(message)
    return redirect(url_for("pages.show_site", site_id=site_id, _anchor=anchor), 303)
