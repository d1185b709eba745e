"""What lists of findings cost when there are many: rows touched among two million, and plans for a hundred million."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text
from sqlalchemy.orm import Session

from cloudeye.extensions import db
from cloudeye.models import Finding, Site, utcnow
from cloudeye.services.findings import store
from cloudeye.services.findings.across import MOST_SITES, Filter, Place, findings_across
from cloudeye.services.findings.catalogue import codes_of
from cloudeye.services.findings.found import Look, find
from cloudeye.sync import scan
from tests.integration.mariadb import MariaDB
from tests.integration.world import World

USERS = 200
EACH = 50  # findings of a site
HUGE = 100_000_000
# The widest part: findings of so many sites are read for it, each with an entry of the index and one of the table.
MOST_ROWS = 4 * MOST_SITES * EACH


def fill(world: World, sites: int) -> tuple[int, int]:
    """Make sites, evenly shared by users, and EACH findings for every one; return a user and a site of theirs."""
    with world.app.app_context(), db.engine.begin() as connection:
        lite = connection.dialect.name == "sqlite"

        def sequence(length: int) -> str:
            if not lite:
                return f"seq_1_to_{length}"
            counted = f"SELECT 1 AS seq UNION ALL SELECT seq + 1 FROM s WHERE seq < {length}"
            return f"(WITH RECURSIVE s AS ({counted}) SELECT seq FROM s)"

        def run(statement: str) -> Any:
            return connection.execute(text(statement))

        now = "'2026-11-21 12:00:00'"
        run(f"""INSERT INTO users (username, email, email_key, role, active, access_version, version, created_at,
            updated_at) SELECT 'u', seq, seq, 'user', 1, 1, 1, {now}, {now} FROM {sequence(USERS)}""")
        user = run("SELECT MAX(id) FROM users").scalar_one()
        run(f"""INSERT INTO sites (owner_id, name, url, `interval`, state, open_findings, worst_severity, created_at,
            updated_at, version) SELECT {user} - seq % {USERS}, seq, 'https://example.com/', 60, 'up', 1, 'critical',
            {now}, {now}, 1 FROM {sequence(sites)}""")
        first = run("SELECT MIN(id) FROM sites").scalar_one()
        run(f"INSERT INTO site_tags (site_id, tag) SELECT id, 'shop' FROM sites WHERE (id - {first}) % 100 = 0")
        code = "'code' || (seq % 50)" if lite else "CONCAT('code', seq % 50)"
        place = "seq / 50" if lite else "seq DIV 50"
        run(f"""INSERT INTO findings (site_id, code, subject, kind, severity, state, first_seen_at, last_seen_at)
            SELECT {first} + {place}, {code}, '', 'visit', CASE WHEN seq % 1000 = 0 THEN 'critical' ELSE 'low' END,
            CASE WHEN seq % 10 = 0 THEN 'open' ELSE 'fixed' END, {now}, {now}
            FROM {sequence(sites * EACH - 1)}""")
        site = run(f"SELECT MIN(id) FROM sites WHERE owner_id = {user}").scalar_one()
    return int(user), int(site)


TABLES = ("sites", "site_tags", "findings")


def say_huge(world: World, sites: int, server: MariaDB | None) -> None:
    """Let the statistics tell of HUGE findings, and of as many sites as that takes."""
    factor = HUGE // (sites * EACH)
    with world.app.app_context():
        with db.engine.begin() as connection:
            for table in TABLES:
                connection.execute(text(f"ANALYZE {table}" if server is None else f"ANALYZE TABLE {table}"))
                if server is None:
                    _multiply_for_sqlite(connection, table, factor)
                    continue
                # Statistics are the server's own affair; the application has no right to them.
                sizes = ("n_rows", "clustered_index_size", "sum_of_other_index_sizes")
                more = ", ".join(f"{name} = {name} * {factor}" for name in sizes)
                of_table = f"database_name = 'cloudeye' AND table_name = '{table}'"
                server.run(f"UPDATE mysql.innodb_table_stats SET {more} WHERE {of_table}")
                server.run(f"FLUSH TABLE cloudeye.{table}")
        db.engine.dispose()  # what a connection knows of statistics it read when it was opened


def _multiply_for_sqlite(connection: Connection, table: str, factor: int) -> None:
    """The first number is that of all rows, the others those with the same beginning; 1 stays 1."""
    rows = connection.execute(text("SELECT idx, stat FROM sqlite_stat1 WHERE tbl = :t"), {"t": table}).all()
    for index, stat in rows:
        count, *same = stat.split()
        much = [value if int(value) <= EACH else str(int(value) * factor) for value in same]
        connection.execute(
            text("UPDATE sqlite_stat1 SET stat = :stat WHERE tbl = :t AND idx IS :i"),
            {"stat": " ".join([str(int(count) * factor), *much]), "t": table, "i": index},
        )


@pytest.fixture
def many(lasting_world: World) -> Iterator[Callable[[int], tuple[int, int]]]:
    lasting_world.populate()
    yield lambda sites: fill(lasting_world, sites)
    lasting_world.populate()
    with lasting_world.app.app_context(), db.engine.begin() as connection:
        lite = connection.dialect.name == "sqlite"
        connection.execute(text("ANALYZE" if lite else f"ANALYZE TABLE {', '.join(TABLES)}"))


@pytest.fixture
def server(engine: str, request: pytest.FixtureRequest) -> MariaDB | None:
    return request.getfixturevalue("mariadb_server") if engine == "mariadb" else None


def parts_of(user: int, site: int) -> dict[str, tuple[int | None, Place | None, Filter]]:
    """Every way to ask for a part of the list across sites."""
    return {
        "a user's": (user, None, Filter()),
        "a user's, further on": (user, Place(site + 10 * USERS, 10**9), Filter()),
        "a user's open ones": (user, None, Filter(state="open")),
        "a user's worst": (user, None, Filter(state="open", severity="critical")),
        "a user's, none": (user, None, Filter(severity="high")),
        "a user's by tag": (user, None, Filter(tag="shop")),
        "everybody's": (None, None, Filter()),
        "everybody's worst": (None, None, Filter(severity="critical")),
        "everybody's, none": (None, None, Filter(state="fixed", severity="high")),
        "everybody's by tag": (None, None, Filter(tag="shop")),
    }


def touched(session: Session, act: Callable[[], object]) -> int:
    """How many rows or entries of indexes the engine read, or for SQLite: how many hundred steps it took."""
    if session.get_bind().dialect.name == "sqlite":
        steps: list[int] = []
        raw = session.connection().connection.driver_connection
        assert raw is not None
        raw.set_progress_handler(lambda: steps.append(1), 100)
        act()
        raw.set_progress_handler(None, 0)
        return len(steps)

    def count() -> int:
        rows = session.execute(text("SHOW SESSION STATUS LIKE 'Handler_read%'")).all()
        return sum(int(value) for _, value in rows)

    before = count()
    act()
    return count() - before


@pytest.mark.slow
def test_a_part_of_the_list_touches_few_of_two_million(
    lasting_world: World, many: Callable[[int], tuple[int, int]]
) -> None:
    user, site = many(2_000_000 // EACH)
    with lasting_world.app.app_context():
        assert db.session.scalar(text("SELECT COUNT(*) FROM findings")) > 1_999_000
        for name, (whose, place, wanted) in parts_of(user, site).items():
            session = db.session()
            rows = touched(session, partial(findings_across, session, whose, place, 100, wanted))
            print(name, rows)
            assert rows < MOST_ROWS, name
        of_site = select(Finding).where(Finding.site_id == site)
        assert touched(db.session(), lambda: db.session.scalars(of_site).all()) < 10 * EACH
        look = Look((find("hsts_missing"),), codes_of("headers"))
        work = touched(db.session(), lambda: store.record(db.session.connection(), site, look, "visit", utcnow()))
        db.session.rollback()
        assert work < 50 * EACH


def test_every_statement_stays_on_an_index_with_a_hundred_million(
    lasting_world: World, many: Callable[[int], tuple[int, int]], server: MariaDB | None
) -> None:
    sites = 4_000
    user, site = many(sites)
    say_huge(lasting_world, sites, server)
    sent: list[tuple[str, Any]] = []
    with lasting_world.app.app_context():

        def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            sent.append((statement, parameters))

        event.listen(db.engine, "before_cursor_execute", note)
        try:
            for whose, place, wanted in parts_of(user, site).values():
                findings_across(db.session(), whose, place, 100, wanted)
            look = Look((find("hsts_missing"),), codes_of("headers"))
            store.record(db.session.connection(), site, look, "visit", utcnow())
            db.session.execute(select(Site.id).where(scan._due(utcnow())).order_by(Site.next_scan_at).limit(3))
            db.session.scalars(select(Finding).where(Finding.site_id == site, Finding.state == "open")).all()
        finally:
            event.remove(db.engine, "before_cursor_execute", note)
        db.session.rollback()
        reads = {statement: parameters for statement, parameters in sent if statement.startswith("SELECT")}
        assert len(reads) > 10
        for statement, parameters in reads.items():
            for line in plan(statement, parameters):
                assert not line["whole"], (line, statement)
                assert not line["sorted"] or "LIMIT" not in statement, (line, statement)


def plan(statement: str, parameters: Any) -> list[dict[str, Any]]:
    """The engine's plan, line by line: whether it reads a whole table or index, and whether it sorts."""
    with db.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            texts = [str(row[-1]) for row in rows]
            return [{"text": t, "whole": t.startswith("SCAN"), "sorted": "TEMP B-TREE" in t} for t in texts]
        found = []
        for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).mappings():
            kind, extra = row["type"], row["Extra"] or ""
            # "index" from the beginning in its own order and with a limit is a walk that ends.
            whole = kind == "ALL" or (kind == "index" and "LIMIT" not in statement)
            found.append({"text": dict(row), "whole": whole, "sorted": "filesort" in extra})
        return found
