"""Write down what was seen: a batch of sites in one transaction, each with all that follows from it.

A result is written only by whoever still holds the claim, and only when the owner has changed nothing meanwhile. A
process that is killed leaves all of a visit or nothing; the site is still due then.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from cloudeye.models import CheckResult, Incident, Site
from cloudeye.services import events
from cloudeye.services.findings import certificate
from cloudeye.services.findings import store as findings
from cloudeye.services.tamper import store as pages
from cloudeye.sync.claims import postpone, release
from cloudeye.sync.judging import Verdict, judge
from cloudeye.sync.schedule import next_slot, retry_at
from cloudeye.sync.telling import tell_certificate, tell_findings, tell_page
from cloudeye.sync.work import Outcome, Seen, Work

log = logging.getLogger(__name__)

# Sites that were looked into, in one transaction: each takes far longer to write than one where nothing is new.
LOOKED_INTO = 20


def write(work: Work) -> bool:
    """Write a batch of results in one transaction; if that fails for a row's sake, each in one of its own."""
    batch = _batch(work)
    if not batch:
        return False
    cut_short = len(batch) < min(len(work.done), work.settings.batch)
    try:
        with work.engine.begin() as connection:
            _record(work, connection, [outcome for outcome in batch if outcome.seen is not None])
    except Exception:
        _ask_database(work)  # raises when it is the database that is ill
        for outcome in batch:
            _write_alone(work, outcome)
            work.beat()
    else:
        for outcome in batch:
            if outcome.error is not None:
                postpone(work, outcome.site.id, work.interval_of(outcome.site), outcome.error)
            else:
                work.failures.pop(outcome.site.id, None)
    for _ in batch:
        work.done.popleft()
    return cut_short or len(work.done) >= work.settings.batch


def _batch(work: Work) -> list[Outcome]:
    """What is written next: as much as fits well into the time of a step, also where machine or database is slow.

    A step that ran into its limit would begin with the same results again, for ever.
    """
    batch: list[Outcome] = []
    looked_into = 0
    for outcome in islice(work.done, work.settings.batch):
        looked_into += outcome.seen is not None and (outcome.seen.inspected or outcome.seen.weighed) is not None
        if looked_into > LOOKED_INTO:
            break
        batch.append(outcome)
    return batch


def _ask_database(work: Work) -> None:
    with work.engine.connect() as connection:
        connection.execute(select(1))


def _write_alone(work: Work, outcome: Outcome) -> None:
    error = outcome.error
    if error is None:
        try:
            with work.engine.begin() as connection:
                _record(work, connection, [outcome])
            work.failures.pop(outcome.site.id, None)
            return
        except Exception as trouble:
            error = trouble
    try:
        postpone(work, outcome.site.id, work.interval_of(outcome.site), error)
    except SQLAlchemyError:
        # Its claim expires by itself; the other rows' results matter more.
        log.exception("a site can be neither written nor postponed", extra={"site": outcome.site.id})


# What every visit writes, as one statement that is sent for each site of the batch.
_SEEN = (
    update(Site)
    .where(Site.id == bindparam("number"))
    .values(
        state=bindparam("state"),
        state_since=bindparam("state_since"),
        status_code=bindparam("status_code"),
        latency_ms=bindparam("latency_ms"),
        error=bindparam("error"),
        failures=bindparam("failures"),
        failing_since=bindparam("failing_since"),
        last_checked_at=bindparam("last_checked_at"),
        next_check_at=bindparam("next_check_at"),
        claimed_by=None,
        claimed_until=None,
    )
)


def _record(work: Work, connection: Connection, outcomes: Sequence[Outcome]) -> None:
    held = _hold(work, connection, outcomes)
    sites: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    for outcome in outcomes:
        site, seen = outcome.site, outcome.seen
        if seen is None or site.id not in held:
            continue
        result = seen.result
        verdict = judge(site, result.state == "up", outcome.started, seen.maintenance)
        answered = {"status_code": result.status_code, "latency_ms": result.latency_ms, "error": result.error}
        interval = work.interval_of(site)
        due = retry_at if verdict.retry else lambda *when, number=site.id: next_slot(number, *when)
        sites.append(
            {
                "number": site.id,
                **answered,
                "state": verdict.state,
                "state_since": verdict.state_since,
                "failures": verdict.failures,
                "failing_since": verdict.failing_since,
                "last_checked_at": outcome.started,
                "next_check_at": due(interval, outcome.started),
            }
        )
        timings = result.timings
        checks.append(
            {
                "site_id": site.id,
                "checked_at": outcome.started,
                "state": result.state,
                **answered,
                "dns_ms": timings.dns_ms,
                "connect_ms": timings.connect_ms,
                "tls_ms": timings.tls_ms,
                "first_byte_ms": timings.first_byte_ms,
                "total_ms": timings.total_ms,
                "maintenance": seen.maintenance,
            }
        )
        _usability(connection, outcome, seen, verdict)
        _page(connection, outcome, seen)
        _weaknesses(connection, outcome, seen)
    if sites:
        connection.execute(_SEEN, sites)
        connection.execute(insert(CheckResult), checks)
    if len(held) < len(outcomes):
        release(connection, work.me, [outcome.site.id for outcome in outcomes if outcome.site.id not in held])


def _hold(work: Work, connection: Connection, outcomes: Sequence[Outcome]) -> set[int]:
    """Lock the batch's sites; those that are still ours, and as their owners left them when they were claimed."""
    versions = {outcome.site.id: outcome.site.version for outcome in outcomes}
    if not versions:
        return set()
    mine = (Site.id.in_(sorted(versions)), Site.claimed_by == work.me)
    # An UPDATE that changes nothing locks on either engine; SQLite knows no other way.
    connection.execute(update(Site).where(*mine).values(claimed_by=work.me))
    rows = connection.execute(select(Site.id, Site.version).where(*mine)).all()
    return {number for number, version in rows if versions[number] == version}


def _usability(connection: Connection, outcome: Outcome, seen: Seen, verdict: Verdict) -> None:
    """Open an incident, or end it, when the site's state changed."""
    site, result = outcome.site, seen.result
    told: dict[str, Any] = {"site_id": site.id, "owner_id": site.owner_id, "at": outcome.started}
    cause = result.error or ""
    if verdict.went_down:
        started_at = verdict.state_since
        connection.execute(
            insert(Incident).values(
                site_id=site.id,
                owner_id=site.owner_id,
                started_at=started_at,
                cause=cause,
                status_code=result.status_code,
            )
        )
        facts: dict[str, Any] = {"cause": cause, "status_code": result.status_code, "since": started_at}
        events.add(connection, **told, kind="down", **facts)
    elif verdict.came_up:
        open_ones = (Incident.site_id == site.id, Incident.ended_at.is_(None))
        incident = connection.execute(
            select(Incident.started_at, Incident.cause).where(*open_ones).order_by(Incident.started_at.desc()).limit(1)
        ).one_or_none()
        connection.execute(update(Incident).where(*open_ones).values(ended_at=outcome.started))
        since, cause = incident or (site.state_since or outcome.started, "")
        seconds = round((outcome.started - since).total_seconds())
        if not seen.maintenance:
            events.add(connection, **told, kind="up", cause=cause, since=since, seconds=seconds)


def _page(connection: Connection, outcome: Outcome, seen: Seen) -> None:
    """Keep a page that is new, and tell how it differs from its baseline."""
    if seen.weighed is None:
        return
    site, at = outcome.site, outcome.started
    connection.execute(update(Site).where(Site.id == site.id).values(body_digest=seen.body_digest))
    change = pages.record(connection, site.id, seen.weighed.page, at, seen.weighed)
    if change is not None:
        tell_page(connection, site.id, site.owner_id, at, change)


def _weaknesses(connection: Connection, outcome: Outcome, seen: Seen) -> None:
    """Write findings down, and warn of a certificate that is near its end."""
    inspected = seen.inspected
    if inspected is None:
        return
    site, at = outcome.site, outcome.started
    values: dict[str, Any] = {"headers_digest": inspected.headers_digest, "inspected_at": at}
    validity = inspected.certificate
    if validity is not None:
        level = certificate.warn_level(validity.expires_at, at, validity.lifetime)
        values |= {"certificate_expires_at": validity.expires_at, "certificate_warned": level}
        # With a certificate that was renewed the warnings begin anew.
        before = site.certificate_warned if validity.expires_at == site.certificate_expires_at else None
        if level is not None and (before is None or level < before):
            tell_certificate(connection, site.id, site.owner_id, at, validity.expires_at, level)
    connection.execute(update(Site).where(Site.id == site.id).values(**values))
    changes = findings.record(connection, site.id, inspected.look, "visit", at)
    tell_findings(connection, site.id, site.owner_id, at, changes, first=site.grade is None)
