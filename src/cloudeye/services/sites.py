"""Sites: made and changed by the API and the pages; probed by the sync process."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, null, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from cloudeye.config import SyncConfig
from cloudeye.models import AlertTarget, CheckResult, Incident, PageVersion, Site, SiteTag, utcnow
from cloudeye.phrases import N_
from cloudeye.services import netguard
from cloudeye.services.ask import METHODS_WITH_BODY
from cloudeye.services.findings import control
from cloudeye.turns import Turns

# What an owner sets.
SETTINGS = (
    "name", "url", "tags", "interval", "timeout", "method", "headers", "body", "expected_statuses", "keyword_present",
    "keyword_absent", "follow_redirects", "retries", "maintenance", "paused", "alert_targets", "ignore_rules",
    "redirect_paths",
)  # fmt: skip


def _default(name: str) -> Any:
    column = Site.__table__.columns.get(name)
    return None if column is None or column.default is None else column.default.arg


# What it is where nothing was said: the table's own; the interval's is a setting of the stack.
DEFAULTS: dict[str, Any] = {**{name: _default(name) for name in SETTINGS}, "tags": []}
MASK = "***"  # stands for a value that is shown to the owner alone; sent back, it leaves the value as it is

# What makes another page of what is seen; what is asked or judged otherwise at the next probe, which comes at once;
# and what a probe under way has not heard of.
_ASKED = frozenset({"method", "headers", "body", "follow_redirects"})
_DUE = _ASKED | {"url", "interval", "timeout", "expected_statuses", "keyword_present", "keyword_absent", "ignore_rules"}
_HEARD = _DUE | {"retries", "maintenance", "paused"}
_EMPTY_IS_NONE = ("headers", "maintenance", "ignore_rules", "redirect_paths")  # an empty list of targets is a wish
_BATCH = 500  # rows of results that are deleted at once


class BadSite(Exception):
    """A site that cannot be watched as asked for; ``data`` holds the messages by field."""

    def __init__(self, data: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{field}: {' '.join(said)}" for field, said in data.items()))
        self.data = data


def settings_of(site: Site) -> dict[str, Any]:
    """Return what the owner of a site has set."""
    return {name: getattr(site, name) for name in SETTINGS}


def create_site(session: Session, *, owner_id: int, given: Mapping[str, Any], config: SyncConfig) -> Site:
    """Add a site to the session's transaction, to be probed at once.

    Args:
        session: committed by the caller.
        owner_id: the user whose site it is.
        given: some of SETTINGS, at least a name and a URL, each in the form that the schemas make of it.
        config: what the stack allows.

    Raises:
        BadSite: it cannot be watched so; nothing was added.
    """
    wanted = complete(given, config)
    check(wanted, SETTINGS, config, own_targets(session, owner_id) if wanted["alert_targets"] else ())
    site = new_site(owner_id, wanted)
    session.add(site)
    session.flush()
    return site


def complete(given: Mapping[str, Any], config: SyncConfig) -> dict[str, Any]:
    """Return all settings of a new site, from some of them.

    Raises:
        BadSite: a mask stands for a value that there never was.
    """
    wanted = {**DEFAULTS, "interval": config.default_interval, **given}
    return _plain(_unmasked(wanted, None, None))


def new_site(owner_id: int, wanted: Mapping[str, Any]) -> Site:
    """Return a site with settings that were checked, to be probed at once unless it is paused."""
    columns = {name: value for name, value in wanted.items() if name != "tags"}
    due = null() if wanted["paused"] else utcnow()  # a plain None would be taken for nothing said
    site = Site(owner_id=owner_id, state="unknown", next_check_at=due, **columns)
    site.tag_rows = [SiteTag(tag=tag) for tag in sorted(set(wanted["tags"]))]
    return site


def change_site(
    session: Session, site: Site, given: Mapping[str, Any], *, config: SyncConfig, secrets_are_known: bool
) -> None:
    """Change what is given of a site.

    It is probed at once when something else is asked or expected: another name is no reason to ask the site again. A
    new URL starts with a clean slate, and whatever makes another page of what is seen with a new baseline.

    Args:
        session: committed by the caller.
        site: to be changed.
        given: settings by name.
        config: what the stack allows.
        secrets_are_known: whether whoever changes it may see its headers and body. Who may not must not have them sent
            to another address either.

    Raises:
        BadSite: it cannot be watched so; nothing was changed.
    """
    before = settings_of(site)
    if not secrets_are_known and _sends_elsewhere(given, before):
        raise BadSite(
            {"url": [N_("The headers and the body are for the old address: give them anew or take them away.")]}
        )
    given = _plain(_unmasked(given, before["headers"], before["body"]))
    changed = {name for name, value in given.items() if value != before[name]}
    wanted = before | dict(given)
    check(wanted, changed, config, own_targets(session, site.owner_id) if "alert_targets" in changed else ())
    for name in changed - {"tags"}:
        setattr(site, name, given[name])
    if "tags" in changed:
        kept = {row.tag: row for row in site.tag_rows}
        site.tag_rows = [kept.get(tag) or SiteTag(tag=tag) for tag in sorted(set(given["tags"]))]
    now = site.updated_at = utcnow()
    if "url" in changed:
        _start_anew(session, site, now, proven=origin_of(given["url"]) == origin_of(before["url"]))
    elif changed & _ASKED:
        _forget_page(site)
    if "ignore_rules" in changed:
        _set(site, None, "body_digest")  # so that the page is read anew
    if "redirect_paths" in changed and site.controlled_at is not None and not site.paused:
        site.next_scan_at, site.scan_claimed_by, site.scan_claimed_until = now, None, None
    if "paused" in changed:
        (_pause if site.paused else _go_on)(session, site, now)
    elif changed & _DUE and not site.paused:
        site.next_check_at = now
    if changed & _HEARD:
        # A probe under way asked for what was before: without its claim it has nothing to write.
        site.claimed_by = site.claimed_until = None


def _sends_elsewhere(given: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Would headers or a body that are kept go to another origin."""
    try:
        if "url" not in given or origin_of(given["url"]) == origin_of(before["url"]):
            return False
    except ValueError:
        return False  # it is refused for that
    headers, body = given.get("headers", before["headers"]), given.get("body", before["body"])
    keeps_headers = before["headers"] and headers and ("headers" not in given or MASK in headers.values())
    return bool(keeps_headers or (before["body"] and body in (MASK, before["body"])))


def remove_site(session: Session, site: Site) -> None:
    """Remove a site with all that was found, in the session's transaction; its results in batches, they are many."""
    turns = Turns()
    ids = select(CheckResult.id).where(CheckResult.site_id == site.id).limit(_BATCH)
    while found := session.scalars(ids).all():
        session.execute(delete(CheckResult).where(CheckResult.id.in_(found)))
        turns.rest()
    session.delete(site)
    session.flush()


def own_targets(session: Session, owner_id: int) -> frozenset[int]:
    """Return the numbers of a user's alert targets."""
    return frozenset(session.scalars(select(AlertTarget.id).where(AlertTarget.owner_id == owner_id)))


def check(wanted: Mapping[str, Any], changed: Collection[str], config: SyncConfig, targets: Collection[int]) -> None:
    """Check what no schema can: settings that go with one another, with the stack's, and with what the owner has.

    Args:
        wanted: all settings, as they are to be.
        changed: those of them that are new; what was accepted once stays.
        config: what the stack allows.
        targets: the numbers of the owner's alert targets, where they are among what changed.

    Raises:
        BadSite: naming each field that does not fit.
    """
    changed, problems = set(changed), {}
    if "url" in changed:
        try:
            netguard.check_url(wanted["url"], config.allow_private)
        except netguard.RefusedAddress as refused:
            problems["url"] = [str(refused)]
    if wanted["timeout"] is not None and changed & {"timeout", "interval"}:
        if wanted["timeout"] > config.total_timeout:
            text = N_("Must be at most {most} seconds.")
            problems["timeout"] = [text.format(most=f"{config.total_timeout:g}")]
        elif wanted["timeout"] >= wanted["interval"]:
            problems["timeout"] = [N_("Must be shorter than the interval.")]
    if wanted["body"] is not None and changed & {"body", "method"} and wanted["method"] not in METHODS_WITH_BODY:
        problems["body"] = [N_("Only POST, PUT and PATCH carry a body.")]
    if wanted["keyword_present"] is not None and changed & {"keyword_present", "method"} and wanted["method"] == "HEAD":
        problems["keyword_present"] = [N_("There is no body in an answer to HEAD.")]
    if "alert_targets" in changed and not set(wanted["alert_targets"] or ()) <= set(targets):
        problems["alert_targets"] = [N_("Must be numbers of your own alert targets.")]
    if "redirect_paths" in changed and "url" not in problems:
        for path in wanted["redirect_paths"] or ():
            try:
                netguard.check_url(origin_of(wanted["url"]) + path.replace("{url}", "x"), config.allow_private)
            except netguard.RefusedAddress as refused:
                problems["redirect_paths"] = [str(refused)]
    if problems:
        raise BadSite(problems)


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, as they are written but for their case."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give what says nothing one form."""
    plain = dict(given)
    for name in _EMPTY_IS_NONE:
        if name in plain and not plain[name]:
            plain[name] = None
    if "tags" in plain:
        plain["tags"] = sorted(set(plain["tags"]))
    if plain.get("alert_targets") is not None:
        plain["alert_targets"] = sorted(set(plain["alert_targets"]))
    return plain


def _unmasked(given: Mapping[str, Any], headers: Mapping[str, str] | None, body: str | None) -> dict[str, Any]:
    """Put the values that are there in the place of masks."""
    plain, unknown = dict(given), N_("Give the value that is to stand there: there is none yet.")
    if plain.get("body") == MASK:
        if body is None:
            raise BadSite({"body": [unknown]})
        plain["body"] = body
    if plain.get("headers") and MASK in plain["headers"].values():
        known = {name.lower(): value for name, value in (headers or {}).items()}
        try:
            plain["headers"] = {
                name: known[name.lower()] if value == MASK else value for name, value in plain["headers"].items()
            }
        except KeyError:
            raise BadSite({"headers": [unknown]}) from None
    return plain


def _start_anew(session: Session, site: Site, now: datetime, *, proven: bool) -> None:
    """Forget everything that was found at another URL; its history of results stays, and on one origin the proof."""
    _forget_state(session, site, now)
    _set(site, None, "state_since", "last_checked_at")
    _forget_page(site)
    session.execute(delete(PageVersion).where(PageVersion.site_id == site.id))
    token, controlled_at = site.control_token, site.controlled_at
    control.forget(site)
    if proven and controlled_at is not None:
        site.control_token, site.controlled_at = token, controlled_at
        site.next_scan_at = None if site.paused else now


def _forget_state(session: Session, site: Site, now: datetime) -> None:
    """Let nothing be known of whether it is up; an incident ends, for nobody looks any more."""
    _set(site, None, "status_code", "latency_ms", "error", "failing_since")
    _set(site, "unknown", "state")
    _set(site, 0, "failures")
    still_open = (Incident.site_id == site.id, Incident.ended_at.is_(None))
    session.execute(update(Incident).where(*still_open).values(ended_at=now))


def _forget_page(site: Site) -> None:
    """Let the next page that is seen be the baseline, and the next answer be inspected."""
    _set(site, "unknown", "tamper_state")
    _set(site, None, "body_digest", "page_hash", "baseline_id", "tamper_severity", "tamper_since")
    _set(site, None, "headers_digest", "inspected_at")


def _pause(session: Session, site: Site, now: datetime) -> None:
    _forget_state(session, site, now)
    site.state_since = now
    _set(site, None, "next_check_at", "next_scan_at", "scan_claimed_by", "scan_claimed_until")


def _go_on(session: Session, site: Site, now: datetime) -> None:
    site.next_check_at = site.state_since = now
    site.next_scan_at = now if site.controlled_at is not None else None


def _set(site: Site, value: Any, *names: str) -> None:
    """Write columns also where they hold the value already: sync may write them between our reading and our writing."""
    for name in names:
        setattr(site, name, value)
        flag_modified(site, name)
