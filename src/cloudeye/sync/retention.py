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
    IdempotencyRecord,
    Message,
    OneTimeToken,
    Revocation,
    UserSession,
)

if TYPE_CHECKING:
    from cloudeye.sync.steps import Work

RESULTS_KEPT = timedelta(days=7)
MESSAGES_KEPT = timedelta(days=30)
ANSWERS_KEPT = timedelta(hours=24)
EVERY = timedelta(seconds=60)
BATCH = 500
# MariaDB finds rows by two columns only when asked for each pair, and SQLite ends at 1,000 nested conditions.
PAIRS_BATCH = 100


@dataclass(slots=True)
class Retention:
    """When each table is looked at again."""

    due: dict[int, datetime] = field(default_factory=dict)


def retain(work: Work) -> bool:
    """Delete a batch of the first table whose turn it is; a table with nothing more to delete waits a minute."""
    now = work.clock()
    state = work.retention
    waiting = [place for place in range(len(RULES)) if state.due.get(place, now) <= now]
    if not waiting:
        return False
    with work.engine.begin() as connection:
        full = RULES[waiting[0]](connection, now)
    if not full:
        state.due[waiting[0]] = now + EVERY
    return full or len(waiting) > 1


def _results(connection: Connection, now: datetime) -> bool:
    """The lowest numbers are the oldest results, so the primary key finds them; no other index is needed."""
    oldest = connection.execute(
        select(CheckResult.id, CheckResult.checked_at).order_by(CheckResult.id).limit(BATCH)
    ).all()
    old = [number for number, checked_at in oldest if checked_at < now - RESULTS_KEPT]
    if old:
        connection.execute(delete(CheckResult).where(CheckResult.id.in_(old)))
    return len(old) == BATCH


def _older(key: Any, age: Any, kept: timedelta, *more: ColumnElement[bool]) -> Callable[[Connection, datetime], bool]:
    """Make the rule of a table: rows whose time lies so far back, as long as they meet the further conditions."""

    def rule(connection: Connection, now: datetime) -> bool:
        old = (age < now - kept, *more)
        query = select(key).where(*old).order_by(age).limit(BATCH).with_for_update(skip_locked=True)
        keys = connection.scalars(query).all()
        if keys:
            # The condition once more: a counter may have begun anew, a session have been used, since it was read.
            connection.execute(delete(key.class_).where(key.in_(sorted(keys)), *old))
        return len(keys) == BATCH

    return rule


def _answers(connection: Connection, now: datetime) -> bool:
    table = IdempotencyRecord
    old = table.created_at < now - ANSWERS_KEPT
    query = select(table.user_id, table.key).where(old).order_by(table.created_at).limit(PAIRS_BATCH)
    pairs = connection.execute(query.with_for_update(skip_locked=True)).all()
    if pairs:
        these = or_(*(and_(table.user_id == user_id, table.key == key) for user_id, key in sorted(map(tuple, pairs))))
        connection.execute(delete(table).where(these, old))
    return len(pairs) == PAIRS_BATCH


NOTHING = timedelta()
RULES: tuple[Callable[[Connection, datetime], bool], ...] = (
    _results,
    _older(Message.id, Message.created_at, MESSAGES_KEPT, Message.next_attempt_at.is_(None)),
    _older(OneTimeToken.id, OneTimeToken.expires_at, NOTHING),
    _older(UserSession.id, UserSession.expires_at, NOTHING),
    _older(Revocation.id, Revocation.expires_at, NOTHING),
    _older(AttemptCounter.key, AttemptCounter.expires_at, NOTHING),
    _answers,
)
