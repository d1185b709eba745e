"""Events: what is written down when something changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert, select
from sqlalchemy.orm import Session

from cloudeye.models import EVENT_KINDS, Base, Event, Site, User
from cloudeye.services import events

AT = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path}/events.sqlite3")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(User(id=1, username="owner", email="owner@example.com"))
        session.commit()
    with engine.connect() as connection:
        connection.execute(insert(Site).values(id=7, owner_id=1, name="Example", url="http://a.example", interval=60))
        yield connection
    engine.dispose()


def add(connection: Connection, **given: Any) -> Event:
    """Add an event and read it back."""
    name = events.add(connection, **{"site_id": 7, "owner_id": 1, "kind": "down", "at": AT, **given})
    return Session(connection).scalars(select(Event).where(Event.event_id == name)).one()


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_an_event_waits_for_others_that_may_come_with_it(connection: Connection, kind: str) -> None:
    event = add(connection, kind=kind)
    assert (event.kind, event.created_at, event.dispatch_after) == (kind, AT, AT + events.WINDOW)


def test_an_event_that_nobody_is_told_of_waits_for_nothing(connection: Connection) -> None:
    event = add(connection, kind="page", told=False, restored=True)
    assert (event.dispatch_after, event.data) == (None, {"restored": True, "told": False})


def test_each_event_has_a_name_of_its_own(connection: Connection) -> None:
    assert len({add(connection).event_id for _ in range(50)}) == 50


def test_times_in_the_data_are_written_in_utc(connection: Connection) -> None:
    since = datetime(2026, 11, 21, 21, 30, tzinfo=timezone(timedelta(hours=1)))
    assert add(connection, since=since, cause="x").data == {"since": "2026-11-21T20:30:00Z", "cause": "x"}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"kind": "sideways"}, ValueError),
        ({"severity": "enormous"}, ValueError),
        ({"since": datetime(2026, 1, 1)}, ValueError),
    ],
)
def test_an_event_that_nobody_could_read_is_refused(
    connection: Connection, wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        add(connection, **wrong)
    assert connection.scalars(select(Event.id)).all() == []


def test_an_event_is_gone_with_the_transaction_that_was_its_reason(connection: Connection) -> None:
    connection.commit()
    add(connection)
    connection.rollback()
    assert connection.scalars(select(Event.id)).all() == []
