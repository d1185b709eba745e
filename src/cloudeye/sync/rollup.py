"""Add up each site's finished hours: results, of which there are many, become one row an hour, which is kept for long.

How far that went is `sites.rolled_until`. It is moved on by a conditional UPDATE in the transaction that writes the
hours, so of several processes one counts, and one that is killed leaves all of it or nothing.

An hour is added up when no result of it can still come. A probe is claimed before it begins, and its result is written
with the end of its claim; so once a claim's length has passed since the hour's end, whatever began in it has been
written or its claim has expired. A claim that has expired may still be its holder's, who waits for the database, so
such a site is left alone until somebody takes it over. After an hour nobody waits any more.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Insert, or_, select, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from cloudeye.models import HourlyResult, Site
from cloudeye.services.usability.tally import HOUR, Tally, add_results, first_result, hour_of

if TYPE_CHECKING:
    from cloudeye.sync.work import Work

log = logging.getLogger(__name__)

# After an hour's end and the longest probe: a claim outlives that by less (claims.py).
GRACE = timedelta(seconds=60)
BATCH = 20  # hours of sites in one step
CHOICE = 3 * BATCH  # sites among which a process chooses by lot: others choose others
REST = 4  # times as long as a step took, the next one waits
IDLE = timedelta(seconds=60)  # until one looks again when there was nothing to do
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Overtaken(Exception):
    """Another process moved a site on meanwhile."""


@dataclass(slots=True)
class Rolling:
    """When the step has its next turn."""

    next: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rolled:
    """A site, how far it had been added up, how far it is now, and what was found in the hours in between."""

    site_id: int
    since: datetime | None
    until: datetime
    hours: dict[datetime, Tally]


def rollup(work: Work) -> bool:
    """Add up an hour of a few sites, or a few hours of one; so few that probes hardly wait for it.

    All sites' hours end together. The step rests in between, so that the work is spread over some minutes and takes
    its share of a processor and no more; it does not rest while a site is hours behind.

    Returns:
        Whether a site is hours behind.
    """
    now, state = work.clock(), work.rolling
    if state.next is not None and now < state.next:
        return False
    began = time.monotonic()
    finished = hour_of(now - GRACE - timedelta(seconds=work.settings.total_timeout))
    candidates = _candidates(work, now, finished)
    if not candidates:
        state.next = now + IDLE
        return False
    chosen = random.sample(candidates, min(BATCH, len(candidates)))
    rolled = [_add_up(work, number, since, finished, BATCH // len(chosen)) for number, since in chosen]
    # Somebody else may have been faster with one of them: the others have their turn again, by another lot.
    with suppress(Overtaken), work.engine.begin() as connection:
        _write(connection, rolled)
    behind = any(since is not None and since < finished - HOUR for _, since in candidates)
    state.next = now if behind else now + timedelta(seconds=REST * (time.monotonic() - began))
    return behind


def _candidates(work: Work, now: datetime, finished: datetime) -> list[tuple[int, datetime | None]]:
    """Sites with hours to add up: new ones first, then those that are furthest behind."""
    nobody_waits = or_(Site.claimed_until.is_(None), Site.claimed_until > now, Site.claimed_until < now - HOUR)
    found: list[tuple[int, datetime | None]] = []
    with work.engine.connect() as connection:
        # Each alone is found by the index, in the order in which it is wanted.
        never, behind = (Site.rolled_until.is_(None), Site.id), (Site.rolled_until < finished, Site.rolled_until)
        for condition, order in (never, behind):
            query = select(Site.id, Site.rolled_until).where(condition, nobody_waits).order_by(order)
            found += [(number, since) for number, since in connection.execute(query.limit(CHOICE - len(found)))]
            if len(found) == CHOICE:
                break
    return found


def _add_up(work: Work, site_id: int, since: datetime | None, finished: datetime, most: int) -> Rolled:
    """Add up the first hours with results since then, at most so many; hours without any are done as well."""
    until, hours = since, dict[datetime, Tally]()
    with work.engine.connect() as connection:
        while len(hours) < most:
            hour = until
            if until is None or until < finished - HOUR:
                first = first_result(connection, site_id, until or LONG_AGO, finished)
                hour = None if first is None else hour_of(first)
            if hour is None or hour == finished:
                return Rolled(site_id, since, finished, hours)
            hours[hour], until = _tally(connection, site_id, hour), hour + HOUR
            time.sleep(0)
    return Rolled(site_id, since, until or finished, hours)


def _tally(connection: Connection, site_id: int, hour: datetime) -> Tally:
    """Add up one hour; what cannot be read is told of and left out, or the site would never come further."""
    tally = Tally()
    try:
        add_results(connection, tally, site_id, hour)
    except SQLAlchemyError:
        raise
    except Exception:
        log.exception("an hour cannot be added up as a whole", extra={"site": site_id, "hour": hour.isoformat()})
    return tally


def _write(connection: Connection, rolled: Sequence[Rolled]) -> None:
    """Move sites on and write their hours.

    Raises:
        Overtaken: somebody else moved one of them; the transaction must be rolled back.
    """
    # Waiting for one row while holding another is how processes block each other; what somebody holds is left to the
    # next step. SQLite has one writer and knows no row locks: there the condition below is what counts.
    query = select(Site.id, Site.rolled_until).where(Site.id.in_(sorted(one.site_id for one in rolled)))
    free = {(number, since) for number, since in connection.execute(query.with_for_update(skip_locked=True))}
    mine = [one for one in rolled if (one.site_id, one.since) in free]
    moves: dict[tuple[datetime | None, datetime], list[int]] = {}
    for one in mine:
        moves.setdefault((one.since, one.until), []).append(one.site_id)
    for (since, until), ids in moves.items():
        unmoved = Site.rolled_until.is_(None) if since is None else Site.rolled_until == since
        moved = connection.execute(update(Site).where(Site.id.in_(sorted(ids)), unmoved).values(rolled_until=until))
        if moved.rowcount < len(ids):
            raise Overtaken
    hours: list[dict[str, Any]] = [
        {"site_id": one.site_id, "hour": hour, **tally.row()}
        for one in mine
        for hour, tally in one.hours.items()
        if tally.checks or tally.maintenance
    ]
    if hours:
        connection.execute(_upsert(connection, list(hours[0])), hours)


def _upsert(connection: Connection, names: list[str]) -> Insert:
    """Write an hour, or write it anew for somebody who set `rolled_until` back to have it added up once more."""
    if connection.dialect.name == "sqlite":
        query = sqlite.insert(HourlyResult)
        changes = {name: query.excluded[name] for name in names}
        return query.on_conflict_do_update(index_elements=["site_id", "hour"], set_=changes)
    into = mysql.insert(HourlyResult)
    return into.on_duplicate_key_update({name: into.inserted[name] for name in names})
