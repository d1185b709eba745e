"""Finished hours are added up once, by however many processes, whatever moment they are killed at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, insert, select, update

from cloudeye import sqlite
from cloudeye.config import Config
from cloudeye.models import Base, CheckResult, HourlyResult, Site, User
from cloudeye.services.usability.sketch import Sketch
from cloudeye.sync import claims, rollup
from cloudeye.sync.work import Work
from tests.integration.world import environment

pytestmark = pytest.mark.long

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HOUR_BEGAN = datetime(2026, 11, 21, 19, tzinfo=UTC)
NOW = HOUR_BEGAN + HOUR + 5 * MINUTE
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def url(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if engine == "mariadb":
        server = request.getfixturevalue("mariadb_server")
        server.run("CREATE OR REPLACE DATABASE cloudeye_rollup CHARACTER SET utf8mb4")
        return str(server.url("cloudeye_rollup"))
    return f"sqlite:///{tmp_path}/rollup.sqlite3"


def connect(url: str) -> Engine:
    if url.startswith("sqlite"):
        return create_engine(url, connect_args=sqlite.CONNECT_ARGS)
    return create_engine(url, isolation_level="READ COMMITTED")


@pytest.fixture
def database(url: str) -> Iterator[Engine]:
    made = connect(url)
    Base.metadata.create_all(made)
    with made.begin() as connection:
        connection.execute(insert(User).values(id=1, username="o", email="o@example.com", email_key="o@example.com"))
    yield made
    made.dispose()


def make_work(database: Engine, folder: Path, now: datetime = NOW) -> Work:
    config = Config.from_environment(environment(folder, f"sqlite:///{folder}/unused.sqlite3"))
    work = Work(engine=database, settings=replace(config.sync), me="me", probe=lambda ask: pytest.fail("no probe"))
    work.clock = lambda: now
    return work


@pytest.fixture
def work(database: Engine, tmp_path: Path) -> Work:
    return make_work(database, tmp_path)


def add_site(database: Engine, number: int = 1, **values: Any) -> None:
    given = {"owner_id": 1, "name": "s", "url": "https://example.com/", "interval": 60, **values}
    with database.begin() as connection:
        connection.execute(insert(Site).values(id=number, **given))


def add(database: Engine, *moments: datetime, site: int = 1, **values: Any) -> None:
    given = {"site_id": site, "state": "up", "latency_ms": 100.0, "total_ms": 120.0, **values}
    with database.begin() as connection:
        connection.execute(insert(CheckResult), [{**given, "checked_at": moment} for moment in moments])


def step(work: Work) -> bool:
    """Let the step have its turn now."""
    work.rolling.next = None
    return rollup.rollup(work)


def finish(work: Work) -> int:
    """Run the step until it finds nothing to do; return how often it did something."""
    for times in range(500):
        step(work)
        if work.rolling.next == work.clock() + rollup.IDLE:
            return times
    raise AssertionError("it never comes to an end")


def hours(database: Engine) -> dict[tuple[int, datetime], int]:
    """The number of checks of each hour of each site."""
    with database.connect() as connection:
        rows = connection.execute(select(HourlyResult.site_id, HourlyResult.hour, HourlyResult.checks))
        return {(site, hour): checks for site, hour, checks in rows}


def rolled_until(database: Engine, site: int = 1) -> datetime | None:
    with database.connect() as connection:
        return connection.scalar(select(Site.rolled_until).where(Site.id == site))


def test_an_hour_is_added_up(database: Engine, work: Work) -> None:
    add_site(database)
    phases = {"dns_ms": 1.0, "connect_ms": 2.0, "tls_ms": 3.0, "first_byte_ms": 90.0}
    add(database, HOUR_BEGAN, HOUR_BEGAN + 20 * MINUTE, **phases)
    add(database, HOUR_BEGAN + 30 * MINUTE, latency_ms=200.0, total_ms=None)  # as an older release wrote it
    add(database, HOUR_BEGAN + 40 * MINUTE, state="down", latency_ms=900.0)
    add(database, HOUR_BEGAN + 41 * MINUTE, state="down", latency_ms=None, total_ms=5000.0)
    add(database, HOUR_BEGAN + HOUR - timedelta(microseconds=1), maintenance=True, state="down", latency_ms=None)
    add(database, HOUR_BEGAN + HOUR)
    finish(work)
    with database.connect() as connection:
        row = dict(connection.execute(select(HourlyResult.__table__)).mappings().one())
    latencies = row.pop("latencies")
    assert row == {
        "site_id": 1,
        "hour": HOUR_BEGAN,
        "checks": 5,
        "down": 2,
        "maintenance": 1,
        "timed": 2,
        "latency_ms": 200.0,
        "dns_ms": 2.0,
        "connect_ms": 4.0,
        "tls_ms": 6.0,
        "first_byte_ms": 180.0,
        "total_ms": 240.0,
    }
    assert Sketch(latencies).quantiles([0.5, 1]) == [pytest.approx(100, rel=0.01), pytest.approx(200, rel=0.01)]
    assert rolled_until(database) == HOUR_BEGAN + HOUR


@pytest.mark.parametrize(
    ("later", "added_up"),
    [(timedelta(), False), (60 * SECOND, False), (64 * SECOND, False), (65 * SECOND, True), (HOUR, True)],
)
def test_an_hour_is_added_up_once_no_result_of_it_can_come(
    database: Engine, work: Work, later: timedelta, added_up: bool
) -> None:
    """The longest probe of these tests takes 5 s."""
    assert work.settings.total_timeout == 5
    assert timedelta(seconds=claims.CLAIM_MARGIN) < rollup.GRACE
    add_site(database)
    add(database, HOUR_BEGAN)
    work.clock = lambda: HOUR_BEGAN + HOUR + later
    finish(work)
    assert hours(database) == ({(1, HOUR_BEGAN): 1} if added_up else {})


@pytest.mark.parametrize(
    ("claimed_until", "added_up"),
    [(NOW + SECOND, True), (NOW - SECOND, False), (NOW - 59 * MINUTE, False), (NOW - 61 * MINUTE, True)],
    ids=["claimed now", "just expired", "expired long ago", "given up"],
)
def test_a_result_that_is_still_held_back_is_waited_for(
    database: Engine, work: Work, claimed_until: datetime, added_up: bool
) -> None:
    add_site(database, claimed_by="somebody", claimed_until=claimed_until)
    add(database, HOUR_BEGAN)
    finish(work)
    assert hours(database) == ({(1, HOUR_BEGAN): 1} if added_up else {})
    if not added_up:
        with database.begin() as connection:
            connection.execute(update(Site).values(claimed_by=None, claimed_until=None))
        add(database, HOUR_BEGAN + 59 * MINUTE)
        finish(work)
        assert hours(database) == {(1, HOUR_BEGAN): 2}


def test_hours_without_results_leave_no_row_and_are_not_looked_at_again(database: Engine, work: Work) -> None:
    add_site(database)
    add_site(database, 2)
    add(database, HOUR_BEGAN - 30 * HOUR, HOUR_BEGAN - 5 * HOUR, site=2)
    finish(work)
    assert hours(database) == {(2, HOUR_BEGAN - 30 * HOUR): 1, (2, HOUR_BEGAN - 5 * HOUR): 1}
    assert rolled_until(database, 1) == rolled_until(database, 2) == HOUR_BEGAN + HOUR
    assert finish(work) == 0
    asked: list[str] = []
    event.listen(database, "before_cursor_execute", lambda *given: asked.append(given[2]))
    work.rolling.next = NOW + rollup.IDLE
    work.clock = lambda: NOW + rollup.IDLE - SECOND
    assert rollup.rollup(work) is False
    assert asked == []


def test_a_site_that_was_added_is_added_up_from_its_first_result_on(database: Engine, work: Work) -> None:
    finish(work)
    add_site(database)
    finish(work)
    assert rolled_until(database) == HOUR_BEGAN + HOUR
    add(database, HOUR_BEGAN + HOUR + 10 * MINUTE)
    work.clock = lambda: NOW + HOUR
    finish(work)
    assert hours(database) == {(1, HOUR_BEGAN + HOUR): 1}


def test_one_step_is_bounded_and_tells_whether_a_site_is_behind(database: Engine, work: Work) -> None:
    for number in range(1, 102):
        add_site(database, number, rolled_until=HOUR_BEGAN if number > 1 else HOUR_BEGAN - 3 * DAY)
        add(database, HOUR_BEGAN + MINUTE, site=number)
    add(database, *(HOUR_BEGAN - number * HOUR for number in range(1, 71)))
    before = 0
    while True:
        more = step(work)
        made = len(hours(database))
        assert made - before <= rollup.BATCH
        behind = rolled_until(database)
        assert behind is not None
        assert more or behind >= HOUR_BEGAN
        if made == before and work.rolling.next == NOW + rollup.IDLE:
            break
        before = made
    assert before == 101 + 70


def test_it_rests_between_steps_unless_hours_behind(database: Engine, work: Work) -> None:
    for number in range(1, 70):
        add_site(database, number, rolled_until=HOUR_BEGAN)
    work.rolling.next = None
    assert rollup.rollup(work) is False
    rested = work.rolling.next
    assert rested is not None
    assert rested > NOW
    with database.begin() as connection:
        connection.execute(update(Site).values(rolled_until=HOUR_BEGAN - HOUR))
    work.rolling.next = None
    assert rollup.rollup(work) is True
    assert work.rolling.next == NOW


def test_what_cannot_be_read_costs_its_hour_and_holds_up_nobody(
    database: Engine, work: Work, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_site(database)
    add_site(database, 2)
    for site in (1, 2):
        add(database, HOUR_BEGAN - HOUR, HOUR_BEGAN, site=site)
    real = rollup.add_results

    def refuse(connection: Any, tally: Any, site_id: int, hour: datetime) -> None:
        if (site_id, hour) == (1, HOUR_BEGAN - HOUR):
            raise ValueError("poisoned")
        real(connection, tally, site_id, hour)

    monkeypatch.setattr(rollup, "add_results", refuse)
    finish(work)
    assert hours(database) == {(1, HOUR_BEGAN): 1, (2, HOUR_BEGAN): 1, (2, HOUR_BEGAN - HOUR): 1}
    assert [getattr(record, "site", None) for record in caplog.records] == [1]


def test_an_hour_can_be_added_up_anew(database: Engine, work: Work) -> None:
    add_site(database)
    add(database, HOUR_BEGAN)
    finish(work)
    add(database, HOUR_BEGAN + MINUTE)  # by hand, say from a copy
    with database.begin() as connection:
        connection.execute(update(Site).values(rolled_until=None))
    finish(work)
    assert hours(database) == {(1, HOUR_BEGAN): 2}


def test_a_site_removed_meanwhile_is_no_trouble(database: Engine, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        add_site(database, number)
        add(database, HOUR_BEGAN, site=number)
    real = rollup._write

    def remove_first(connection: Any, rolled: Any) -> None:
        monkeypatch.setattr(rollup, "_write", real)
        with connect(str(database.url.render_as_string(False))).begin() as other:
            other.execute(Site.__table__.delete().where(Site.id == 1))
        real(connection, rolled)

    monkeypatch.setattr(rollup, "_write", remove_first)
    finish(work)
    assert hours(database) == {(2, HOUR_BEGAN): 1}


def test_who_was_overtaken_counts_nothing(database: Engine, work: Work, tmp_path: Path) -> None:
    """Another process adds the same hours up between reading and writing."""
    for number in range(1, 11):
        add_site(database, number)
        add(database, HOUR_BEGAN, HOUR_BEGAN + MINUTE, site=number)
    other = make_work(database, tmp_path)
    inner = rollup._add_up
    reached: list[int] = []

    def overtake(*given: Any) -> Any:
        found = inner(*given)
        if given[0] is work and not reached:
            reached.append(1)
            finish(other)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollup, "_add_up", overtake)
        sent: list[str] = []
        event.listen(database, "before_cursor_execute", lambda *given: sent.append(given[2]))
        finish(work)
    assert reached
    assert hours(database) == {(number, HOUR_BEGAN): 2 for number in range(1, 11)}
    assert sum(statement.startswith("INSERT") for statement in sent) == 1


# For each number it reads it forks a process that adds up, and that kills itself before the statement or commit of this
# number; it tells how that one ended.
ANOTHER_PROCESS = """
    import os, signal, sys
    from datetime import datetime
    from pathlib import Path
    from sqlalchemy import event
    from tests.integration.test_rollup import connect, finish, make_work
    url, folder, now = sys.argv[1:]

    def run(left):
        engine = connect(url)
        work = make_work(engine, Path(folder), datetime.fromisoformat(now))

        def count(*given):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(engine, "before_cursor_execute", count)
        event.listen(engine, "commit", count)
        finish(work)

    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                run(int(line))
                status = 0
            finally:
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def another_process(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ANOTHER_PROCESS), url, str(folder), NOW.isoformat()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src"), *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert read(process) == "ready"
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(120)


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str], die: int = 0) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{die}\n")
    process.stdin.flush()


def test_several_processes_count_each_result_once(database: Engine, url: str, tmp_path: Path) -> None:
    for number in range(1, 151):
        add_site(database, number, rolled_until=HOUR_BEGAN - HOUR if number % 2 else None)
        add(database, *(HOUR_BEGAN + place * MINUTE for place in range(-60, 60)), site=number)
    with ExitStack() as stack:
        several = [stack.enter_context(another_process(url, tmp_path / str(number))) for number in range(3)]
        for process in several:
            go(process)
        assert [read(process) for process in several] == ["0", "0", "0"]
    expected = {(number, HOUR_BEGAN + back): 60 for number in range(1, 151) for back in (-HOUR, timedelta())}
    assert hours(database) == expected


def test_whatever_moment_it_is_killed_at_nothing_is_half_done(database: Engine, url: str, tmp_path: Path) -> None:
    for number in range(1, 4):
        add_site(database, number)
        add(database, HOUR_BEGAN - HOUR, HOUR_BEGAN, HOUR_BEGAN + MINUTE, site=number)
    expected = {(n, hour): c for n in range(1, 4) for hour, c in ((HOUR_BEGAN - HOUR, 1), (HOUR_BEGAN, 2))}
    seen = []
    with another_process(url, tmp_path / "killed") as process:
        for die in range(1, 60):
            with database.begin() as connection:
                connection.execute(HourlyResult.__table__.delete())
                connection.execute(update(Site).values(rolled_until=None))
            go(process, die)
            status = int(read(process))
            if status == 0:
                break
            assert status == -signal.SIGKILL
            with database.connect() as connection:
                moved = set(connection.scalars(select(Site.id).where(Site.rolled_until == HOUR_BEGAN + HOUR)))
            there = hours(database)
            assert there == {place: count for place, count in expected.items() if place[0] in moved}
            seen.append(len(there))
    assert status == 0
    assert seen[0] == 0
    assert seen[-1] == len(expected)
    assert len(seen) >= 8
    assert len(hours(database)) == len(expected)
