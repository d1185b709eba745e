"""A database with two million results and what goes with them, made within seconds by the engine itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, insert, text

from cloudeye.models import AlertTarget, Base, Site, SiteTag
from cloudeye.services.answer import Answer
from cloudeye.services.tamper.page import read
from cloudeye.services.usability.tally import Tally, hour_of

SITES, RESULTS, HOURS, EACH = 2000, 1000, 100, 25  # sites, and rows of each of them
EVERY = timedelta(minutes=10)  # between two results of a site
# The tables that grow without end where many sites are watched; no statement may read one of them as a whole.
BIG = ("check_results", "hourly_results", "incidents", "events", "page_versions", "findings", "outbox")


def fill(engine: Engine, owner: int, other: int, now: datetime) -> None:
    """Fill the tables.

    Args:
        engine: of a database with nothing but users in it.
        owner: has all sites but a few; one in ten sites is tagged "shop", one in a hundred "rare".
        other: has every 400th site.
        now: the newest results are of that moment.
    """
    top = hour_of(now)
    with engine.connect() as connection:
        lite = connection.dialect.name == "sqlite"
        # Every row has its site, and an index is made faster than it grows.
        connection.exec_driver_sql(
            "PRAGMA foreign_keys = OFF" if lite else "SET foreign_key_checks = 0, unique_checks = 0"
        )
        [index] = Base.metadata.tables["check_results"].indexes
        if lite:
            connection.exec_driver_sql("PRAGMA cache_size = -500000")  # KiB
            index.drop(connection)
        for start in range(1, SITES + 1, 500):
            connection.execute(insert(Site), [_site(n, owner, other, now) for n in range(start, start + 500)])
        tags = [{"site_id": n, "tag": tag} for tag, every in (("shop", 10), ("rare", 100))
                for n in range(every, SITES + 1, every)]  # fmt: skip
        connection.execute(insert(SiteTag), tags)
        connection.execute(
            insert(AlertTarget).values(
                id=1, owner_id=owner, name="hook", kind="webhook", address="https://hooks.example.com/", secret="x",
                confirmed_at=now,
            )
        )  # fmt: skip
        tally = Tally()
        for latency in (80.0, 95.5, 102.0):
            tally.add("up", False, latency, 1.0, 2.0, 3.0, 90.0, 110.0)
        page = read(Answer(200, (("content-type", "text/html"),), b"<title>x</title>", "https://x/", False)).to_bytes()
        sums = "3, 277.5, 3, 6, 9, 270, 330"
        # Both engines go through the numbers, of which the largest comes first, and for each through all sites: so rows
        # lie in the order of time, as if they had come one by one.
        together = "CROSS JOIN" if lite else "STRAIGHT_JOIN"
        for statement in (
            f"""INSERT INTO check_results (site_id, checked_at, state, latency_ms, dns_ms, connect_ms, tls_ms,
                first_byte_ms, total_ms, maintenance)
            SELECT sites.id, {_before(connection, now, "n", EVERY)}, 'up', 100, 1, 2, 3, 90, 110, 0
            FROM {_numbers(connection, RESULTS)} {together} sites""",
            f"""INSERT INTO hourly_results (site_id, hour, checks, down, maintenance, timed, latency_ms, dns_ms,
                connect_ms, tls_ms, first_byte_ms, total_ms, latencies)
            SELECT sites.id, {_before(connection, top, "n", timedelta(hours=1))}, 4, 1, 0, {sums}, :latencies
            FROM {_numbers(connection, HOURS)} {together} sites""",
            f"""INSERT INTO incidents (site_id, owner_id, started_at, ended_at, cause)
            SELECT sites.id, sites.owner_id, {_before(connection, now, "n", timedelta(hours=5))},
                CASE WHEN n > 0 OR sites.state = 'up' THEN {_before(connection, now, "n", timedelta(hours=4))} END, 'x'
            FROM {_numbers(connection, EACH)} {together} sites""",
            f"""INSERT INTO events (event_id, site_id, owner_id, kind, data, created_at, dispatch_after)
            SELECT {_name(connection, "e")}, sites.id, sites.owner_id, 'down', '{{}}',
                {_before(connection, now, "n", timedelta(hours=6))},
                CASE WHEN n = 0 AND sites.id < 50 THEN :now END
            FROM {_numbers(connection, EACH)} {together} sites""",
            "INSERT INTO page_bodies (hash, body, size, created_at)"
            f" SELECT {_name(connection, 'h')}, :page, 1, :now FROM {_numbers(connection, 1)} {together} sites",
            f"""INSERT INTO page_versions (site_id, hash, seen_at, status_code, severity)
            SELECT sites.id, {_name(connection, "h", 0)}, {_before(connection, now, "n", timedelta(hours=7))}, 200,
                CASE WHEN n > 0 THEN 'low' END
            FROM {_numbers(connection, EACH)} {together} sites""",
            f"""INSERT INTO findings (site_id, code, subject, kind, severity, state, first_seen_at, last_seen_at,
                fixed_at)
            SELECT sites.id, 'cookie_secure', {_name(connection, "c")}, 'visit',
                CASE WHEN n % 5 = 0 THEN 'high' ELSE 'low' END, CASE WHEN n < 5 THEN 'open' ELSE 'fixed' END,
                :now, :now, CASE WHEN n >= 5 THEN :now END
            FROM {_numbers(connection, EACH)} {together} sites""",
            f"""INSERT INTO outbox (channel, event_id, recipient, attempts, next_attempt_at, sent_at, created_at,
                target_id, body)
            SELECT 'webhook', {_name(connection, "m")}, 'https://hooks.example.com/', 0,
                CASE WHEN n = 0 AND sites.id < 50 THEN :now END, :now,
                {_before(connection, now, "n", timedelta(hours=1))}, 1, '{{}}'
            FROM {_numbers(connection, EACH)} {together} sites""",
        ):
            given = {"latencies": str(tally.latencies), "now": now.replace(tzinfo=None), "page": page}
            known = {name: value for name, value in given.items() if f":{name}" in statement}
            connection.execute(text(statement), known)
        if lite:
            index.create(connection)
        connection.commit()
        connection.invalidate()  # nobody is to go on with its settings


def _site(number: int, owner: int, other: int, now: datetime) -> dict[str, object]:
    due = now - timedelta(seconds=1) if number % 50 == 0 else now + timedelta(hours=1)
    return {
        "id": number,
        "owner_id": other if number % 400 == 0 else owner,
        "name": f"site {number}",
        "url": f"https://example.com/{number}",
        "interval": 600,
        "state": "down" if number % 40 == 0 else "up",
        "state_since": now - timedelta(hours=5),
        "tamper_state": "changed" if number % 30 == 0 else "unchanged",
        "tamper_severity": "high" if number % 30 == 0 else None,
        "page_hash": f"h0-{number}",
        "next_check_at": due,
        "next_scan_at": due,
        "control_token": "token",
        "controlled_at": now,
        # Most have been added up; the others are in their turn.
        "rolled_until": hour_of(now) - timedelta(hours=2 if number % 25 == 0 else 0),
    }


def _numbers(connection: Connection, number: int) -> str:
    if connection.dialect.name == "sqlite":
        steps = f"SELECT {number - 1} AS n UNION ALL SELECT n - 1 FROM steps WHERE n > 0"
        return f"(WITH RECURSIVE steps(n) AS ({steps}) SELECT n FROM steps) AS numbers"
    return f"(SELECT seq AS n FROM seq_{number - 1}_to_0) AS numbers"


def _before(connection: Connection, moment: datetime, number: str, every: timedelta) -> str:
    """Write down a moment, so many times some seconds earlier."""
    seconds = round(every.total_seconds())
    if connection.dialect.name == "sqlite":
        back = f"'-' || ({number} * {seconds}) || ' seconds'"
        return f"strftime('%Y-%m-%d %H:%M:%S.000000', '{moment:%Y-%m-%d %H:%M:%S}', {back})"
    return f"TIMESTAMPADD(SECOND, -{number} * {seconds}, '{moment:%Y-%m-%d %H:%M:%S}')"


def _name(connection: Connection, letter: str, number: int | None = None) -> str:
    parts = (f"'{letter}'", "n" if number is None else str(number), "'-'", "sites.id")
    return " || ".join(parts) if connection.dialect.name == "sqlite" else f"CONCAT({', '.join(parts)})"


def analyse(engine: Engine) -> None:
    """Let the engine look at its tables."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("ANALYZE")
            return
        for table in Base.metadata.tables:
            connection.exec_driver_sql(f"ANALYZE TABLE {table}")
