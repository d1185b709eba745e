"""Claim sites that are due, and let go of those that cannot be handled.

Sites are claimed by a conditional UPDATE, so any number of copies on any number of hosts share the work; the claim of a
copy that died expires.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from cloudeye.models import Site
from cloudeye.sync.reading import read_claimed
from cloudeye.sync.schedule import back_off
from cloudeye.sync.visits import visit
from cloudeye.sync.work import READ_CLAIMED, Claimed, Work

log = logging.getLogger(__name__)

# Seconds a claim outlives the longest probe: the time to write its result down.
CLAIM_MARGIN = 15.0
# Of the places for probes: what one owner's sites may take at once.
LARGEST_SHARE = 0.75


def is_due(now: datetime, by: datetime | None = None) -> ColumnElement[bool]:
    """The condition of a site that nobody is looking at and whose time has come, or comes `by` then."""
    return (Site.next_check_at <= (by or now)) & or_(Site.claimed_until.is_(None), Site.claimed_until <= now)


def claim(work: Work) -> bool:
    """Claim as many sites as there are free places: those that are due, and those that will be before the next look.

    Each is probed at its own time. Were all begun at once, each would wait for the others' work, and what is measured
    of the sites would be that.
    """
    # A result takes its place until it is written: claims are to outlive what waits, however slow writing is.
    wanted = min(work.settings.batch, work.pool.free_count() - len(work.done))
    if wanted <= 0:
        return False
    now = work.clock()
    by = now + timedelta(seconds=work.settings.poll_seconds)
    until = by + timedelta(seconds=work.settings.total_timeout + CLAIM_MARGIN)
    with work.engine.begin() as connection:
        ids, more = _choose(work, connection, now, by, wanted)
        work.backlog = more
        if not ids:
            return False
        connection.execute(
            update(Site)
            .where(Site.id.in_(sorted(ids)), is_due(now, by))
            .values(claimed_by=work.me, claimed_until=until)
        )
        # Only the numbers, which are always readable: a bad row must not take its batch with it.
        mine = (Site.id.in_(ids), Site.claimed_by == work.me, Site.claimed_until == until)
        claimed = connection.scalars(select(Site.id).where(*mine)).all()

    def give_up(site_id: int, error: Exception) -> None:
        postpone(work, site_id, work.settings.default_interval, error)

    for site in read_claimed(work, READ_CLAIMED, Site.id, claimed, lambda row: Claimed(*row), give_up):
        if site.id in work.running:
            continue
        if site.next_check_at is not None:
            work.late = max(work.late, (now - site.next_check_at).total_seconds())
        work.running[site.id] = site
        work.pool.spawn(visit, work, site)
    work.crest = len(work.running)
    return len(ids) == wanted and not work.pool.full()


def _choose(work: Work, connection: Connection, now: datetime, by: datetime, wanted: int) -> tuple[list[int], bool]:
    """Lock sites that are due by then, the longest waiting first; whether more may wait than were chosen.

    No owner gets more than their share of the places: sites that take their whole time, or do so on purpose, would
    have all others wait.
    """
    share = max(1, int(work.settings.concurrency * LARGEST_SHARE))
    places = Counter(site.owner_id for site in work.running.values())
    crowded = [owner_id for owner_id, taken in places.items() if taken >= share]
    query = select(Site.id, Site.owner_id).where(is_due(now, by)).order_by(Site.next_check_at).limit(wanted)
    if crowded:
        query = query.where(Site.owner_id.not_in(sorted(crowded)))
    # SKIP LOCKED keeps copies out of each other's way (ignored by SQLite); the condition is what counts.
    rows = connection.execute(query.with_for_update(skip_locked=True)).all()
    ids: list[int] = []
    for number, owner_id in rows:
        if places[owner_id] < share:
            places[owner_id] += 1
            ids.append(number)
    return ids, len(rows) == wanted or bool(crowded)


def release(connection: Connection, me: str, ids: Sequence[int]) -> None:
    """Give claims back: these sites are still due."""
    connection.execute(
        update(Site).where(Site.id.in_(sorted(ids)), Site.claimed_by == me).values(claimed_by=None, claimed_until=None)
    )


def postpone(work: Work, site_id: int, interval: float, error: Exception) -> None:
    """Push a site that cannot be handled forward, twice as far each time, and only then speak of it.

    In this order a row that brings the process down does so once an hour at most, not at once again.
    """
    times = work.failures[site_id] = work.failures.get(site_id, 0) + 1
    wait = back_off(interval, times)
    with work.engine.begin() as connection:
        connection.execute(
            update(Site)
            .where(Site.id == site_id, Site.claimed_by == work.me)
            .values(next_check_at=work.clock() + wait, claimed_by=None, claimed_until=None)
        )
    facts = {"site": site_id, "wait": wait.total_seconds(), "times": times}
    log.error("a site could not be handled and waits", exc_info=error, extra=facts)
