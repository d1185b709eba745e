"""Every statement that a list or a history of the API, or a step of sync, sends stays on an index.

With two million results each statement is explained, and each SELECT carried out and its rows counted; then the engine
is told that each large table holds a hundred million rows, and explains them all once more. The statements are those
that the real views and steps send: an operation or a step that is new is asked without anybody adding it here.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import gevent
import pytest
from sqlalchemy import Connection, create_engine, func, select

from cloudeye import sqlite
from cloudeye.extensions import db
from cloudeye.models import Base, CheckResult, StatusPage, utcnow
from cloudeye.services.answer import Answer
from cloudeye.services.ask import Ask
from cloudeye.services.findings import inspect
from cloudeye.services.findings.proof import Proof
from cloudeye.services.probe import ProbeResult, Timings
from cloudeye.sync import scan
from cloudeye.sync.carriers import Post
from cloudeye.sync.steps import STEPS
from cloudeye.sync.work import Work
from tests.integration.conftest import DATABASE_PASSWORD, mariadb_url
from tests.integration.many_rows import BIG, RESULTS, SITES, analyse, fill
from tests.integration.mariadb import MariaDB
from tests.integration.plans import (
    HUNDRED_MILLION,
    MOST_READ,
    Sent,
    faults,
    listening,
    pretend,
    pretended,
    rows_read,
)
from tests.integration.test_matrix import SWITCHED_OFF, Operation, operations_of
from tests.integration.world import World, end, environment, make_world
from tests.ports import free_port

pytestmark = pytest.mark.long

# What a query is asked for beside what its description lists by name, and for whom the path's numbers stand.
SOME_VALUES = {
    "tag": ["shop", "rare", "none"],
    "q": ["site 1"],
    "site_id": ["3"],
    "email": ["o"],
    "phone": ["1"],
    "active": ["true"],
    "paused": ["false"],
    "limit": ["1"],
    "page": ["15"],
    "per_page": ["100"],
    "from": [f"{utcnow():%Y-%m}-01T00:00:00Z", "2026-01-01T00:00:00Z"],
}
LEFT_OUT = {"cursor", "to"}  # cursors are followed; an end alone changes no statement
ACTORS = ("owner", "mate", "admin")  # with nearly all of the sites, with a few, and with everybody's


@pytest.fixture(scope="module")
def server(engine: str) -> Iterator[MariaDB | None]:
    """A server of its own, which may be started anew, with memory for what is filled in."""
    if engine == "sqlite":
        yield None
        return
    options = ("--innodb-buffer-pool-size=512M", "--innodb-log-file-size=512M", "--innodb-stats-auto-recalc=OFF")
    with (
        tempfile.TemporaryDirectory(prefix="ce-") as folder,
        MariaDB(Path(folder), free_port(), options=options) as made,
    ):
        made.run("CREATE USER cloudeye@'127.0.0.1' IDENTIFIED BY %s", DATABASE_PASSWORD)
        made.run("GRANT ALL ON `cloudeye`.* TO cloudeye@'127.0.0.1'")
        yield made


@pytest.fixture(scope="module")
def full(server: MariaDB | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with two million results."""
    folder = tmp_path_factory.mktemp("many")
    if server is None:
        settings = environment(folder, f"sqlite:///{folder}/many.sqlite3")
    else:
        settings = environment(folder, mariadb_url(server), DATABASE_PASSWORD)
    world = make_world(settings)
    world.populate()
    began = time.monotonic()
    with world.app.app_context():
        fill(db.engine, world.ids["owner"], world.ids["mate"], utcnow())
        for number, tag in enumerate((None, "shop", "rare", "none"), 1):
            given = {"id": number, "slug": tag or "everything", "tag": tag, "title": "x", "language": "en"}
            db.session.add(StatusPage(owner_id=world.ids["owner"], **given))
        db.session.commit()
        assert db.session.scalar(select(func.count()).select_from(CheckResult)) == SITES * RESULTS
        db.session.rollback()
    print(f"\n{SITES * RESULTS} results within {time.monotonic() - began:.0f} s")
    yield world
    end(world.app)


@contextmanager
def planner(world: World, server: MariaDB | None) -> Iterator[Connection]:
    """A connection that may see and change how the engine plans."""
    if server is None:
        made = create_engine(world.config.database_url, connect_args=sqlite.CONNECT_ARGS)
    else:
        made = create_engine(server.url())
    with made.connect() as connection:
        yield connection
    made.dispose()


@pytest.fixture(scope="module")
def sent(full: World) -> list[Sent]:
    """Each statement that touches a large table, once for each who sends it in each of its forms."""
    found: dict[tuple[str, str], Sent] = {}
    for by, those in (*_of_api(full), *_of_status(full), *_of_steps(full)):
        for one in those:
            if one.big and one.can_be_explained:
                found.setdefault((one.form, by), replace(one, by=by))
    return list(found.values())


def _of_api(world: World) -> Iterator[tuple[str, list[Sent]]]:
    with world.app.app_context():
        engine = db.engine
    for actor in ACTORS:
        person = world.log_in(actor)
        site = 400 if actor == "mate" else 40
        with engine.connect() as connection:
            numbers = {
                f"{table.rstrip('s')}_id": connection.scalar(
                    select(func.min(Base.metadata.tables[table].c.id)).filter_by(site_id=site)
                )
                for table in ("page_versions", "findings", "events", "incidents")
            }
        numbers |= {"version_id": numbers["page_version_id"], "target_id": 1, "user_id": person.id, "site_id": site}
        numbers["page_id"] = 1
        for operation in operations_of(world).values():
            if operation.method != "GET" or operation.name in SWITCHED_OFF:
                continue
            path = operation.path.format_map(numbers)
            for query in _queries(operation):
                following: str | None = f"{path}?{urlencode(query)}"
                for _ in range(2):  # the first part of a history and the second
                    with listening(engine) as those:
                        answer = person.asks("GET", str(following))
                    allowed = (200, 400, 403, 404) if actor != "owner" else (200, 400, 403)
                    assert answer.status_code in allowed, (following, answer.text)
                    yield f"{operation.name} by {actor}?{urlencode(query)}", list(those)
                    data = answer.json.get("data") if answer.is_json else None
                    following = ((data or {}).get("paging") or {}).get("next") if isinstance(data, dict) else None
                    if following is None:
                        break


def _of_status(world: World) -> Iterator[tuple[str, list[Sent]]]:
    """Look at public pages with all of somebody's sites, with many of them, and with a few."""
    with world.app.app_context():
        engine = db.engine
    stranger = world.stranger()
    for path in ("everything", "everything.json", "everything/badge.svg", "shop/40.svg", "shop", "rare", "none"):
        with listening(engine) as those:
            assert stranger.gets(f"/status/{path}").status_code == 200, path
        yield f"status {path}", list(those)


def _queries(operation: Operation) -> Iterator[dict[str, str]]:
    """Nothing, each filter by itself, and all of them together."""
    yield {}
    together: dict[str, str] = {}
    for parameter in operation.described.get("parameters", []):
        if parameter.get("in") != "query" or parameter["name"] in LEFT_OUT:
            continue
        name = parameter["name"]
        values = parameter["schema"].get("enum") or SOME_VALUES.get(name)
        assert values, f"say in SOME_VALUES what {operation.name} is asked for with {name}"
        for value in values:
            yield {name: str(value)}
        if name not in ("page", "limit", "per_page", "from", "resolution", "format"):
            together[name] = str(values[0])
    if len(together) > 1:
        yield together


def _of_steps(world: World) -> Iterator[tuple[str, list[Sent]]]:
    """Run every step a few times, on sites that go down, come up, change and are scanned."""
    with world.app.app_context():
        engine = db.engine
    states = iter(range(10_000))

    def probe(_: Ask) -> ProbeResult:
        up = next(states) % 3 != 0
        body = b"<title>x</title><script src=https://elsewhere.example/x.js></script>"
        answer = Answer(
            200 if up else 500, (("content-type", "text/html"), ("server", "x/1.0")), body, "https://x/", False
        )
        code, said = (None, None) if up else ("http_status", "the site answered with status 500")
        return ProbeResult(
            "up" if up else "down", answer.status, 100.0, code, said, Timings(1, 2, 3, 90, 100), "192.0.2.1", "https://x/",
            0, len(body), False, answer,
        )  # fmt: skip

    def look(job: scan.Job) -> scan.Seen:
        return scan.Seen(Proof("file", False, ()), inspect(probe(Ask(job.url)), utcnow()))

    work = Work(
        engine=engine,
        settings=world.config.sync,
        me="me",
        probe=probe,
        post=Post(world.config, probe),
        scanner=scan.Scanner(look),
    )
    for _ in range(12):
        work.rolling.next = None
        for step in STEPS:
            with listening(engine) as those:
                step(work)
            yield f"{step.__module__}.{step.__name__}", list(those)
            gevent.sleep(0.01)
    work.pool.kill()


def test_the_statements_are_those_of_all_large_tables(sent: list[Sent]) -> None:
    by_table = {table: {one.by.split("?")[0] for one in sent if table in one.big} for table in BIG}
    print({table: sorted(names) for table, names in by_table.items()})
    assert all(by_table.values()), by_table
    for step in ("rollup", "retain", "write", "send", "dispatch", "scan"):
        assert any(one.by.endswith(f".{step}") for one in sent), step
    assert len(sent) > 60


@pytest.mark.timeout(300)
def test_no_statement_reads_more_than_its_share_of_two_million(
    full: World, sent: list[Sent], server: MariaDB | None
) -> None:
    if server is None:  # SQLite plans without having looked at its tables, unless somebody lets it
        with planner(full, server) as connection:
            assert _faults(connection, sent, estimates=False) == {}
    with full.app.app_context():
        analyse(db.engine)
    with planner(full, server) as connection:
        assert _faults(connection, sent, estimates=True) == {}
        reads = {}
        for one in sent:
            if one.sql.startswith("SELECT"):
                reads[f"{one.by} | {one.form}"] = rows_read(connection, one)
                connection.rollback()
    largest = sorted(reads.items(), key=lambda item: -item[1])
    for name, number in largest[:8]:
        print(f"{number:7} rows: {name[:220]}")
    assert largest[0][1] <= MOST_READ, largest[0]


def _faults(connection: Connection, sent: list[Sent], *, estimates: bool) -> dict[str, list[str]]:
    found = {f"{one.by} | {one.form}": faults(connection, one, estimates=estimates) for one in sent}
    return {name: those for name, those in found.items() if those}


def test_a_statement_without_index_would_be_found_out(full: World, server: MariaDB | None) -> None:
    without = Sent("a test", "SELECT id FROM check_results WHERE latency_ms > 5000", ())
    sorted_all = Sent("a test", "SELECT id FROM check_results WHERE state = 'down' ORDER BY latency_ms LIMIT 10", ())
    with planner(full, server) as connection:
        assert faults(connection, without, estimates=True)
        assert rows_read(connection, without) > MOST_READ
        assert rows_read(connection, sorted_all) > MOST_READ


@pytest.mark.timeout(300)
def test_plans_stay_with_a_hundred_million_rows(full: World, sent: list[Sent], server: MariaDB | None) -> None:
    with full.app.app_context():
        analyse(db.engine)
        db.engine.dispose()
    with planner(full, server) as connection:
        pretend(connection, "cloudeye")
        if server is None:
            assert _faults(connection, sent, estimates=False) == {}
    if server is not None:
        server.stop()
        server.start()
        with planner(full, server) as connection:
            assert _faults(connection, sent, estimates=False) == {}
            assert min(pretended(connection, "cloudeye").values()) > 0.9 * HUNDRED_MILLION
