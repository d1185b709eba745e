"""Delete what is kept for a time only: a small batch of one table at a time, found by an index.

Several copies do no harm: each passes over the rows that another one holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, delete, or_, select
from sqlalchemy.sql.elements import ColumnElement

from cloudeye.models import (
    AttemptCounter,
    CheckResult,
    Event,
    Finding,
    HourlyResult,
    IdempotencyRecord,
    Incident,
    Message,
    OneTimeToken,
    Revocation,
    Site,
    UserSession,
)

if TYPE_CHECKING:
    from cloudeye.sync.work import Work

RESULTS_KEPT = timedelta(days=7)
UNROLLED_KEPT = timedelta(days=14)  # results that nobody added up (rollup.py) wait so long for it
ROLLED_KEPT = timedelta(days=400)  # hours, incidents after their end, findings after they were fixed
EVENTS_KEPT = timedelta(days=90)
MESSAGES_KEPT = timedelta(days=30)
ANSWERS_KEPT = timedelta(hours=24)
EVERY = timedelta(seconds=60)
BATCH = 500
# MariaDB finds rows by two columns only when asked for each pair, and SQLite ends at 1,000 nested conditions.
PAIRS_BATCH = 100


@dataclass(slots=True)
class Retention:
    """When each table is looked at again, and behind which result the search for old ones goes on."""

    due: dict[int, datetime] = field(default_factory=dict)
    position: int = 0


Rule = Callable[[Connection, datetime, Retention], bool]  # deletes a batch; whether there may be more


def retain(work: Work) -> bool:
    """Delete a batch of the first table whose turn it is; a table with nothing more to delete waits a minute."""
    now = work.clock()
    state = work.retention
    waiting = [place for place in range(len(RULES)) if state.due.get(place, now) <= now]
    if not waiting:
        return False
    with work.engine.begin() as connection:
        full = RULES[waiting[0]](connection, now, state)
    if not full:
        state.due[waiting[0]] = now + EVERY
    return full or len(waiting) > 1


def _results(connection: Connection, now: datetime, state: Retention) -> bool:
    """Results, after they were added up.

    The lowest numbers are the oldest, so the primary key finds them; no other index is needed. Those that must wait
    are passed over, and met again by the next search from the beginning.
    """
    rows = connection.execute(
        select(CheckResult.id, CheckResult.site_id, CheckResult.checked_at)
        .where(CheckResult.id > state.position)
        .order_by(CheckResult.id)
        .limit(BATCH)
    ).all()
    old = [row for row in rows if row.checked_at < now - RESULTS_KEPT]
    sites = select(Site.id, Site.rolled_until).where(Site.id.in_(sorted({row.site_id for row in old})))
    rolled = {number: until for number, until in connection.execute(sites) if until is not None} if old else {}
    done = [
        row.id
        for row in old
        if row.checked_at < now - UNROLLED_KEPT or (row.site_id in rolled and row.checked_at < rolled[row.site_id])
    ]
    if done:
        connection.execute(delete(CheckResult).where(CheckResult.id.in_(done)))
    full = len(old) == BATCH
    state.position = rows[-1].id if full else 0
    return full


def _hours(connection: Connection, now: datetime, _state: Retention) -> bool:
    """Sums of the oldest hour; MariaDB finds rows by two columns only when one of them is the same for all."""
    hour = connection.scalar(select(HourlyResult.hour).order_by(HourlyResult.hour, HourlyResult.site_id).limit(1))
    if hour is None or hour >= now - ROLLED_KEPT:
        return False
    sites = select(HourlyResult.site_id).where(HourlyResult.hour == hour).order_by(HourlyResult.site_id).limit(BATCH)
    numbers = connection.scalars(sites.with_for_update(skip_locked=True)).all()
    if numbers:
        connection.execute(delete(HourlyResult).where(HourlyResult.hour == hour, HourlyResult.site_id.in_(numbers)))
    return len(numbers) > 0


def _older(key: Any, age: Any, kept: timedelta, *more: ColumnElement[bool]) -> Rule:
    """Make the rule of a table: rows whose time lies so far back, as long as they meet the further conditions."""

    def rule(connection: Connection, now: datetime, _state: Retention) -> bool:
        old = (age < now - kept, *more)
        query = select(key).where(*old).order_by(age).limit(BATCH).with_for_update(skip_locked=True)
        keys = connection.scalars(query).all()
        if keys:
            # The condition once more: a counter may have begun anew, a session have been used, since it was read.
            connection.execute(delete(key.class_).where(key.in_(sorted(keys)), *old))
        return len(keys) == BATCH

    return rule


def _answers(connection: Connection, now: datetime, _state: Retention) -> bool:
    table = IdempotencyRecord
    old = table.created_at < now - ANSWERS_KEPT
    query = select(table.user_id, table.key).where(old).order_by(table.created_at).limit(PAIRS_BATCH)
    pairs = connection.execute(query.with_for_update(skip_locked=True)).all()
    if pairs:
        these = or_(*(and_(table.user_id == user_id, table.key == key) for user_id, key in sorted(map(tuple, pairs))))
        connection.execute(delete(table).where(these, old))
    return len(pairs) == PAIRS_BATCH


def _bodies(connection: Connection, _now: datetime, _state: Retention) -> bool:
    """Bodies of pages that no version names any more."""
    from cloudeye.services.tamper.store import prune_bodies  # with what takes pages apart, which few processes need

    return prune_bodies(connection, BATCH)


NOTHING = timedelta()
RULES: tuple[Rule, ...] = (
    _results,
    _hours,
    _bodies,
    _older(Incident.id, Incident.ended_at, ROLLED_KEPT),
    _older(Finding.id, Finding.fixed_at, ROLLED_KEPT, Finding.state == "fixed"),
    _older(Event.id, Event.created_at, EVENTS_KEPT, Event.dispatch_after.is_(None)),
    _older(Message.id, Message.created_at, MESSAGES_KEPT, Message.next_attempt_at.is_(None)),
    _older(OneTimeToken.id, OneTimeToken.expires_at, NOTHING),
    _older(UserSession.id, UserSession.expires_at, NOTHING),
    _older(Revocation.id, Revocation.expires_at, NOTHING),
    _older(AttemptCounter.key, AttemptCounter.expires_at, NOTHING),
    _answers,
)
