"""What is kept for a time only is deleted in small batches that find it by an index, on both engines."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, func, insert, select, update

from cloudeye import sqlite
from cloudeye.config import Config
from cloudeye.models import (
    AttemptCounter,
    Base,
    CheckResult,
    Event,
    Finding,
    HourlyResult,
    IdempotencyRecord,
    Incident,
    Message,
    OneTimeToken,
    PageBody,
    PageVersion,
    Revocation,
    Site,
    User,
    UserSession,
    utcnow,
)
from cloudeye.services.usability.tally import SUMS
from cloudeye.sync import retention
from cloudeye.sync.work import Work
from tests.integration.world import environment

SITES = itertools.cycle(range(1, 2100))
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
def database(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    if engine == "mariadb":
        server = request.getfixturevalue("mariadb_server")
        server.run("CREATE OR REPLACE DATABASE cloudeye_retention CHARACTER SET utf8mb4")
        made = create_engine(server.url("cloudeye_retention"), isolation_level="READ COMMITTED")
    else:
        made = create_engine(f"sqlite:///{tmp_path}/retention.sqlite3", connect_args=sqlite.CONNECT_ARGS)
    Base.metadata.create_all(made)
    with made.begin() as connection:
        connection.execute(insert(User).values(id=1, username="o", email="o@example.com", email_key="o@example.com"))
        given = {"owner_id": 1, "name": "s", "url": "https://example.com/", "interval": 60}
        # Hours that are kept have their sites for a key.
        connection.execute(
            insert(Site), [{**given, "id": number, "rolled_until": utcnow()} for number in range(1, 2200)]
        )
    yield made
    made.dispose()


@pytest.fixture
def work(database: Engine, tmp_path: Path) -> Work:
    config = Config.from_environment(environment(tmp_path, f"sqlite:///{tmp_path}/unused.sqlite3"))
    return Work(engine=database, settings=replace(config.sync), me="me", probe=lambda url: pytest.fail("no probe"))


def rows(kind: type[Any], time: datetime, number: int) -> list[dict[str, Any]]:
    """Return rows that are as old, or expire, at the time."""
    given: dict[type[Any], Any] = {
        CheckResult: lambda: {"site_id": 1, "checked_at": time, "state": "up"},
        Message: lambda: {
            "channel": "mail", "event_id": _name(), "recipient": "a@example.com", "created_at": time, "sent_at": time,
        },
        OneTimeToken: lambda: {"purpose": "reset", "token_hash": _name(), "user_id": 1, "expires_at": time},
        UserSession: lambda: {
            "id": _name(), "user_id": 1, "refresh_id": _name(), "method": "password", "expires_at": time,
        },
        Revocation: lambda: {"session_id": _name(), "expires_at": time},
        AttemptCounter: lambda: {"key": _name(), "count": 1, "expires_at": time},
        HourlyResult: lambda: {
            "site_id": next(SITES), "hour": time, "checks": 60, "down": 0, "maintenance": 0, "timed": 0,
            **dict.fromkeys(SUMS, 0.0),
        },
        Incident: lambda: {
            "site_id": 1, "started_at": time - timedelta(microseconds=next(SITES)), "ended_at": time, "cause": "",
        },
        Finding: lambda: {
            "site_id": 1, "code": "x", "subject": _name(), "kind": "visit", "severity": "low", "state": "fixed",
            "first_seen_at": time, "last_seen_at": time, "fixed_at": time,
        },
        Event: lambda: {
            "event_id": _name(), "site_id": 1, "owner_id": 1, "kind": "down", "data": {}, "created_at": time,
        },
        IdempotencyRecord: lambda: {
            "user_id": 1, "key": _name(), "fingerprint": "f", "status": 201, "body": "{}", "created_at": time,
        },
    }  # fmt: skip
    return [given[kind]() for _ in range(number)]


def _name() -> str:
    return uuid.uuid4().hex


def add(database: Engine, kind: type[Any], time: datetime, number: int = 1, **changes: Any) -> None:
    with database.begin() as connection:
        connection.execute(insert(kind), [{**row, **changes} for row in rows(kind, time, number)])


def count(database: Engine, kind: type[Any]) -> int:
    with database.connect() as connection:
        return connection.scalar(select(func.count()).select_from(kind)) or 0


def run(work: Work) -> int:
    """Run the step until it says that nothing is left; return how often."""
    for rounds in range(1, 500):
        if not retention.retain(work):
            return rounds
    raise AssertionError("it never comes to an end")


KEPT = {
    CheckResult: timedelta(days=7),
    HourlyResult: timedelta(days=400),
    Incident: timedelta(days=400),
    Finding: timedelta(days=400),
    Event: timedelta(days=90),
    Message: timedelta(days=30),
    OneTimeToken: timedelta(),
    UserSession: timedelta(),
    Revocation: timedelta(),
    AttemptCounter: timedelta(),
    IdempotencyRecord: timedelta(hours=24),
}


@pytest.mark.parametrize("kind", KEPT, ids=lambda kind: kind.__tablename__)
def test_what_is_too_old_is_deleted_and_nothing_else(database: Engine, work: Work, kind: type[Any]) -> None:
    now = utcnow()
    work.clock = lambda: now
    add(database, kind, now - KEPT[kind] - SECOND, 1203)
    add(database, kind, now - KEPT[kind] + SECOND, 5)
    largest: list[int] = []
    event.listen(database, "after_cursor_execute", lambda *given: _note(largest, given))
    run(work)
    assert count(database, kind) == 5
    assert sum(largest) == 1203
    assert max(largest) <= retention.BATCH
    assert run(work) == 1  # a minute has not passed: no table is looked at


def _note(deleted: list[int], given: tuple[Any, ...]) -> None:
    _, cursor, statement, *_ = given
    if statement.startswith("DELETE"):
        deleted.append(cursor.rowcount)


def test_a_message_that_is_still_to_be_sent_is_kept_however_old(database: Engine, work: Work) -> None:
    old = utcnow() - 60 * DAY
    add(database, Message, old, sent_at=None, next_attempt_at=utcnow())
    add(database, Message, old, sent_at=None, next_attempt_at=None, error="given up")
    run(work)
    assert count(database, Message) == 1


def test_a_table_is_looked_at_again_after_a_minute(database: Engine, work: Work) -> None:
    now = utcnow()
    work.clock = lambda: now
    run(work)
    add(database, Revocation, now - SECOND)
    work.clock = lambda: now + timedelta(seconds=59)
    run(work)
    assert count(database, Revocation) == 1
    work.clock = lambda: now + timedelta(seconds=61)
    run(work)
    assert count(database, Revocation) == 0


@pytest.mark.parametrize("kind", KEPT, ids=lambda kind: kind.__tablename__)
def test_old_rows_are_found_by_an_index(database: Engine, work: Work, kind: type[Any]) -> None:
    add(database, kind, utcnow() - 400 * DAY, 150)
    add(database, kind, utcnow() + 400 * DAY, 2000)
    on_sqlite = database.dialect.name == "sqlite"
    with database.begin() as connection:
        connection.exec_driver_sql(f"ANALYZE {'' if on_sqlite else 'TABLE '}{kind.__tablename__}")
    asked: list[tuple[str, Any]] = []
    event.listen(database, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    run(work)
    plans = [(sql, given) for sql, given in asked if f" {kind.__tablename__}" in sql]
    assert {sql.split()[0] for sql, _ in plans} == {"SELECT", "DELETE"}
    for sql, given in plans:
        # The first rows of an index are read in its order: that is a scan, ended by its limit.
        first_rows = kind in (CheckResult, HourlyResult) and sql.startswith("SELECT") and " LIMIT " in sql
        with database.connect() as connection:
            explained = connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if on_sqlite else ''}{sql}", given)
            for step in explained.mappings().all():
                if on_sqlite:
                    assert first_rows or not step["detail"].startswith("SCAN"), step["detail"]
                    assert "TEMP B-TREE" not in step["detail"]
                else:
                    assert step["type"] in ("range", "ref", "index" if first_rows else "range"), (sql, dict(step))
                    assert "filesort" not in (step["Extra"] or "")


# -- results that were not added up ------------------------------------------------------------------------------


def roll_until(database: Engine, site: int, moment: datetime | None) -> None:
    with database.begin() as connection:
        connection.execute(update(Site).where(Site.id == site).values(rolled_until=moment))


@pytest.mark.parametrize("behind", [None, 8 * DAY], ids=["never added up", "days behind"])
def test_a_result_waits_to_be_added_up_for_a_week_more(database: Engine, work: Work, behind: timedelta | None) -> None:
    now = utcnow()
    roll_until(database, 1, None if behind is None else now - behind)
    for age in (6, 7.5, 9, 13.9, 14.1):
        add(database, CheckResult, now - age * DAY)
        add(database, CheckResult, now - age * DAY, site_id=2)
    run(work)
    with database.connect() as connection:
        left = connection.execute(select(CheckResult.site_id, CheckResult.checked_at).order_by(CheckResult.id)).all()
    kept = (6, 7.5, 9, 13.9) if behind is None else (6, 7.5)
    ages = [(site, round((now - moment) / DAY, 1)) for site, moment in left]
    assert sorted(ages) == [*((1, age) for age in kept), (2, 6)]


def test_results_that_wait_do_not_hold_up_the_others(database: Engine, work: Work) -> None:
    now = utcnow()
    work.clock = lambda: now
    roll_until(database, 1, None)
    add(database, CheckResult, now - 8 * DAY, 3 * retention.BATCH)
    add(database, CheckResult, now - 8 * DAY, 700, site_id=2)
    run(work)
    assert count(database, CheckResult) == 3 * retention.BATCH
    roll_until(database, 1, now)
    work.clock = lambda: now + timedelta(seconds=61)
    run(work)
    assert count(database, CheckResult) == 0


def test_what_still_lasts_or_is_to_be_told_is_kept_however_old(database: Engine, work: Work) -> None:
    old = utcnow() - 500 * DAY
    add(database, Incident, old, ended_at=None)
    add(database, Finding, old, state="open", fixed_at=None)
    add(database, Finding, old, state="acknowledged", fixed_at=None)
    add(database, Event, old, dispatch_after=utcnow())
    run(work)
    assert [count(database, kind) for kind in (Incident, Finding, Event)] == [1, 2, 1]


def test_a_page_is_kept_as_long_as_a_version_names_it(database: Engine, work: Work) -> None:
    old = utcnow() - 2 * DAY
    with database.begin() as connection:
        bodies = [{"hash": f"{n}", "body": b"x", "size": 1, "created_at": old} for n in range(700)]
        connection.execute(insert(PageBody), [*bodies, {**bodies[0], "hash": "new", "created_at": utcnow()}])
        version = {"site_id": 1, "hash": "5", "seen_at": old}
        connection.execute(insert(PageVersion), [version, {**version, "hash": "650", "site_id": 2}])
    run(work)
    with database.connect() as connection:
        assert set(connection.scalars(select(PageBody.hash))) == {"5", "650", "new"}
