"""Statements that are ready: they find what SQLAlchemy finds, and fail as it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import bindparam, select
from sqlalchemy.exc import OperationalError, ProgrammingError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cloudeye.api.sites import COLUMNS, ONE
from cloudeye.extensions import db
from cloudeye.models import Site
from cloudeye.ready import Ready
from tests.integration.world import World

WHOLE = {
    "name": "Example",
    "url": "https://example.com/",
    "tags": ["b", "a"],
    "timeout": 2,
    "method": "POST",
    "headers": {"X-A": "b"},
    "body": "t\u00e9xt",
    "paused": True,
    "maintenance": [{"weekdays": ["mon"], "at": "10:00", "minutes": 5, "time_zone": "UTC"}],
}


@pytest.fixture
def numbers(world: World) -> Iterator[list[int]]:
    """The numbers of two sites: with everything, and with nothing that need not be; in the application's context."""
    owner = world.log_in("owner")
    bare = {"name": "Bare", "url": "https://example.com/", "paused": True}
    answers = [owner.asks("POST", "sites", site).json["data"] for site in (WHOLE, bare)]
    assert all("site" in answer for answer in answers), answers
    found = [answer["site"]["id"] for answer in answers]
    with world.app.app_context():
        yield found


def test_they_find_what_sqlalchemy_finds(numbers: list[int]) -> None:
    ready = Ready(
        select(*COLUMNS).where(Site.id >= bindparam("least"), Site.paused == bindparam("paused")).order_by(Site.id)
    )

    for _ in range(2):  # the first time more is worked out
        found = ready.rows(least=numbers[0], paused=True)
        with db.engine.connect() as connection:
            expected = connection.execute(ready.statement, {"least": numbers[0], "paused": True}).all()
        assert [tuple(row) for row in found] == [tuple(row) for row in expected]
        assert [(row.id, row.tags, row.headers) for row in found] == [
            (row.id, row.tags, row.headers) for row in expected
        ]
        assert {type(value) for value in found[0]} == {type(value) for value in expected[0]}


def test_they_find_nothing_where_there_is_nothing(numbers: list[int]) -> None:
    assert ONE.rows(number=0) == []


def test_within_a_transaction_they_see_what_it_has_changed(numbers: list[int]) -> None:
    site = db.session.get(Site, numbers[0])
    assert site is not None
    site.name = "not committed"
    db.session.flush()

    assert ONE.rows(number=numbers[0])[0].name == "not committed"
    db.session.rollback()
    db.session.remove()
    assert ONE.rows(number=numbers[0])[0].name == "Example"


def test_what_is_wrong_with_one_is_said_as_by_sqlalchemy(numbers: list[int]) -> None:
    column: Any = select(Site.id).add_columns(db.text("no_such_column")).where(Site.id == bindparam("number"))

    with pytest.raises((ProgrammingError, OperationalError), match="no_such_column"):
        Ready(column).rows(number=1)


def test_a_connection_that_the_server_has_closed_costs_nobody_an_answer(world: World, numbers: list[int]) -> None:
    if db.engine.dialect.name == "sqlite":
        assert ONE.rows(number=numbers[0])  # there is no server
        return
    ONE.rows(number=numbers[0])
    with db.engine.connect() as other:
        with db.engine.connect() as idle:
            number = idle.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
        other.exec_driver_sql(f"KILL {number}")

    assert ONE.rows(number=numbers[0])[0].id == numbers[0]


def test_their_connections_go_back(numbers: list[int]) -> None:
    pool: Any = db.engine.pool
    before = pool.checkedout()

    ONE.rows(number=numbers[0])
    with pytest.raises((KeyError, StatementError)):
        ONE.rows()  # without its value

    assert pool.checkedout() == before


def test_where_all_connections_are_taken_they_say_so(numbers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    pool: Any = db.engine.pool
    monkeypatch.setattr(pool, "_timeout", 0.05)
    taken = [db.engine.connect() for _ in range(pool.size() + pool._max_overflow)]
    try:
        with pytest.raises(PoolTimeout):
            ONE.rows(number=numbers[0])
    finally:
        for connection in taken:
            connection.close()
