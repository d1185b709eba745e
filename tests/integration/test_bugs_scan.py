"""Scans by the step and by real sync processes, on both engines: who gets one, what is kept, what a kill leaves."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloudeye.config import SyncConfig
from cloudeye.models import Event, Finding, Site, utcnow
from cloudeye.services.findings.control import PATH
from cloudeye.services.findings.proof import TextResolver
from cloudeye.services.findings.scan import Bounds
from cloudeye.services.probe import Limits, ProbeResult
from cloudeye.services.probe_wire import make_tls_context
from cloudeye.sync import scan
from cloudeye.sync.work import Work
from tests.unit.cloudeye.findings.website import FRONT, Reply, Request, Website
from tests.unit.cloudeye.sync_stack import Stack, wait_for

pytestmark = pytest.mark.long

TOKEN = "0123456789abcdef0123456789abcdef01234567"
LIMITS = Limits(True, connect_timeout=1, read_timeout=1, total_timeout=2, max_bytes=100_000, max_redirects=0)
SETTINGS = SyncConfig(
    allow_private=True, concurrency=10, connections=5, batch=10, poll_seconds=0.1, connect_timeout=1, read_timeout=1,
    total_timeout=2, max_bytes=100_000, max_redirects=0, minimum_interval=1, default_interval=60, heartbeat_seconds=1,
)  # fmt: skip
GIT = {"/.git/HEAD": Reply(b"ref: refs/heads/main\n")}
PROOF = {PATH: Reply(TOKEN.encode())}


@pytest.fixture
def stack(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    url = None
    if engine == "mariadb":
        server = request.getfixturevalue("mariadb_server")
        server.run("CREATE OR REPLACE DATABASE cloudeye_scan CHARACTER SET utf8mb4")
        url = server.url("cloudeye_scan")
    made = Stack(tmp_path, url)
    made.migrate()
    yield made
    made.stop()


def never(_: Any) -> ProbeResult:
    raise AssertionError("a scan needs no visit")


def worker(stack: Stack, me: str = "me", **bounds: Any) -> Work:
    """A process of sync as far as scans need one; without pauses."""
    look = partial(
        scan.look,
        limits=LIMITS,
        tls=make_tls_context(),
        resolver=TextResolver(timeout=1, nameservers=(("127.0.0.1", 9),)),
        bounds=Bounds(**{"pause": 0, **bounds}),
    )
    return Work(stack.engine, SETTINGS, me, never, scanner=scan.Scanner(look))


def turn(work: Work) -> None:
    """Let the step find what is due, wait for it, and let it write what was found."""
    assert work.scanner is not None
    work.scanner._looked = None
    scan.scan(work)
    work.scanner.pool.join()
    scan.scan(work)


def add(stack: Stack, port: int, **values: Any) -> int:
    due = {"control_token": TOKEN, "controlled_at": utcnow(), "next_scan_at": utcnow(), "next_check_at": None}
    stack.add(f"http://127.0.0.1:{port}/", **{**due, **values})
    return stack.sites()[-1].id


def change(stack: Stack, **values: Any) -> None:
    with stack.engine.begin() as connection:
        connection.execute(update(Site).values(**values))


def findings(stack: Stack) -> dict[str, str]:
    with Session(stack.engine) as session:
        return {row.subject: row.state for row in session.scalars(select(Finding))}


def events(stack: Stack) -> list[tuple[str, str]]:
    with Session(stack.engine) as session:
        rows = session.scalars(select(Event).where(Event.kind == "finding").order_by(Event.id))
        return [(one["change"], one["subject"]) for row in rows for one in row.data["changes"]]


# -- the step --------------------------------------------------------------------------------------------------


def test_a_site_under_proven_control_is_scanned_and_again_in_a_day(stack: Stack) -> None:
    site = Website({**GIT, **PROOF})
    with site.served() as port:
        add(stack, port)
        turn(worker(stack))
    [row] = stack.sites()
    assert findings(stack) == {"/.git/HEAD": "open"}
    assert events(stack) == [("opened", "/.git/HEAD")]
    assert (row.grade, row.score, row.open_findings) == ("C", 50, 1)
    assert (row.scan_claimed_by, row.scan_claimed_until) == (None, None)
    assert row.controlled_at is not None
    assert row.next_scan_at == row.controlled_at + scan.EVERY
    assert site.paths[0] == PATH


@pytest.mark.parametrize(
    "values", [{"next_scan_at": None}, {"next_scan_at": utcnow() + timedelta(days=1)}, {"paused": True}]
)
def test_a_site_that_is_not_due_is_left_alone(stack: Stack, values: dict[str, Any]) -> None:
    site = Website(PROOF)
    with site.served() as port:
        add(stack, port, **values)
        turn(worker(stack))
    assert site.requests == []


def test_what_is_mended_is_fixed_by_the_next_scan_and_told(stack: Stack) -> None:
    site = Website({**GIT, **PROOF})
    with site.served() as port:
        add(stack, port)
        work = worker(stack)
        turn(work)
        del site.pages["/.git/HEAD"]
        change(stack, next_scan_at=utcnow())
        turn(work)
        assert findings(stack) == {"/.git/HEAD": "fixed"}
        site.pages.update(GIT)
        change(stack, next_scan_at=utcnow())
        turn(work)
    assert findings(stack) == {"/.git/HEAD": "open"}
    assert events(stack) == [("opened", "/.git/HEAD"), ("fixed", "/.git/HEAD"), ("reopened", "/.git/HEAD")]


@pytest.mark.parametrize(
    "page", [Reply(b"another token"), Reply(b"", 404), Reply(status=302, headers=(("Location", "/t"),))]
)
def test_where_the_proof_is_gone_the_site_gets_no_further_request(stack: Stack, page: Reply) -> None:
    site = Website({**GIT, PATH: page, "/t": Reply(TOKEN.encode())})
    with site.served() as port:
        add(stack, port)
        turn(worker(stack))
        change(stack, claimed_by=None)
        turn(worker(stack))
    [row] = stack.sites()
    assert site.paths == [PATH]
    assert (row.controlled_at, row.next_scan_at, row.scan_claimed_by) == (None, None, None)
    assert findings(stack) == {}


def test_a_site_that_is_down_is_asked_again_in_an_hour_and_stays_proven(stack: Stack) -> None:
    site = Website(otherwise=lambda request: Reply(status=503))
    with site.served() as port:
        add(stack, port)
        turn(worker(stack))
    [row] = stack.sites()
    assert site.paths == [PATH]
    assert row.controlled_at is not None
    assert row.next_scan_at is not None
    assert timedelta(minutes=50) < row.next_scan_at - utcnow() <= scan.AGAIN


def test_a_scan_that_is_broken_off_fixes_nothing(stack: Stack) -> None:
    site = Website({**GIT, **PROOF})
    with site.served() as port:
        add(stack, port)
        turn(worker(stack))
        del site.pages["/.git/HEAD"]
        change(stack, next_scan_at=utcnow())
        turn(worker(stack, requests=5))
    assert findings(stack) == {"/.git/HEAD": "open"}


def test_nothing_is_told_and_nothing_asked_while_a_site_is_worked_on(stack: Stack) -> None:
    now = utcnow()
    window = {"start": (now - timedelta(hours=1)).isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
    site = Website({**GIT, **PROOF})
    with site.served() as port:
        add(stack, port, maintenance=[window])
        turn(worker(stack))
    [row] = stack.sites()
    assert site.requests == []
    assert row.next_scan_at is not None
    assert row.next_scan_at > now + timedelta(minutes=50)
    assert row.scan_claimed_by is None


@pytest.mark.parametrize(
    "meanwhile",
    [
        {"url": "http://other.test/"},
        {"control_token": "another"},
        {"control_token": None, "scan_claimed_by": None},
        {"scan_claimed_by": "somebody else"},
    ],
)
def test_what_was_changed_during_a_scan_makes_its_result_void(stack: Stack, meanwhile: dict[str, Any]) -> None:
    def during(request: Request) -> Reply | None:
        if request.path == "/.env":
            change(stack, **meanwhile)
        return None

    with Website({**GIT, **PROOF}, otherwise=during).served() as port:
        add(stack, port)
        turn(worker(stack))
    assert findings(stack) == {}
    assert events(stack) == []
    [row] = stack.sites()
    assert row.scan_claimed_by == ("somebody else" if meanwhile.get("scan_claimed_by") else None)


def test_two_processes_scan_each_site_once(stack: Stack) -> None:
    sites = [Website({**GIT, **PROOF}) for _ in range(4)]
    with sites[0].served() as a, sites[1].served() as b, sites[2].served() as c, sites[3].served() as d:
        for port in (a, b, c, d):
            add(stack, port)
        one, two = worker(stack, "one"), worker(stack, "two")
        for work in (one, two):
            scan.scan(work)
        for work in (one, two, one, two):
            turn(work)
    assert [site.paths.count(PATH) for site in sites] == [1, 1, 1, 1]
    assert one.scanner is not None
    assert two.scanner is not None
    assert (one.scanner.scanned, two.scanner.scanned) == (3, 1)


def test_a_scan_that_fails_for_our_sake_puts_its_site_off_and_no_other(stack: Stack) -> None:
    good, bad = Website({**GIT, **PROOF}), Website(PROOF)
    with good.served() as port, bad.served() as other:
        add(stack, other)
        add(stack, port)
        work = worker(stack)
        assert work.scanner is not None
        real = work.scanner.look

        def look(job: scan.Job) -> scan.Seen:
            if str(other) in job.url:
                raise RuntimeError("a fault of ours")
            return real(job)

        work.scanner.look = look
        turn(work)
    first, second = stack.sites()
    assert first.next_scan_at is not None
    assert timedelta(minutes=50) < first.next_scan_at - utcnow() < timedelta(minutes=61)
    assert (first.scan_claimed_by, second.open_findings) == (None, 1)


def test_a_row_that_cannot_be_read_is_put_off(stack: Stack) -> None:
    with Website({**GIT, **PROOF}).served() as port:
        add(stack, port)
        broken = "UPDATE sites SET redirect_paths = '{broken'"
        if stack.url.startswith("mysql"):
            broken = "SET check_constraint_checks = 0; " + broken
        with stack.engine.begin() as connection:
            for statement in broken.split("; "):
                connection.exec_driver_sql(statement)
        turn(worker(stack))
        with stack.engine.connect() as connection:
            again, by = connection.execute(select(Site.next_scan_at, Site.scan_claimed_by)).one()
    assert again > utcnow() + timedelta(minutes=50)
    assert by is None


def test_to_stop_gives_the_claims_back(stack: Stack) -> None:
    def slow(request: Request) -> Reply | None:
        gevent.sleep(0.2)
        return None

    site = Website(PROOF, otherwise=slow)
    with site.served() as port:
        add(stack, port)
        work = worker(stack)
        scan.scan(work)
        wait_for(lambda: len(site.requests) > 2)
        scan.stop(work)
        scan.scan(work)
        scan.finish(work)
        seen = len(site.requests)
        gevent.sleep(0.5)
        assert len(site.requests) <= seen + 1
    [row] = stack.sites()
    assert (row.scan_claimed_by, row.scan_claimed_until, row.grade) == (None, None, None)
    assert row.next_scan_at is not None
    assert row.next_scan_at <= utcnow()


# -- real processes --------------------------------------------------------------------------------------------


def lasting(pages: dict[str, Reply]) -> Website:
    return Website({"/": Reply(FRONT, headers=(("Content-Type", "text/html"),)), **pages})


def test_an_unproven_site_gets_nothing_but_the_one_ordinary_request(stack: Stack) -> None:
    """While another one, whose owner proved control, is visited and scanned by the same process."""
    unproven, proven = lasting(GIT), lasting({**GIT, **PROOF})
    with unproven.served() as one, proven.served() as two:
        # A token that was never proven, and even a claim to be due, open nothing.
        add(stack, one, interval=86_400, next_check_at=utcnow(), controlled_at=None, next_scan_at=None)
        add(stack, two, interval=86_400, next_check_at=utcnow())
        stack.start()
        wait_for(lambda: "/.git/HEAD" in findings(stack), 90)
        wait_for(lambda: all(site.inspected_at for site in stack.sites()))
    assert [(request.method, request.path) for request in unproven.requests] == [("GET", "/")]
    assert len(proven.requests) <= Bounds().requests + 2
    assert {request.method for request in proven.requests} == {"GET"}
    with Session(stack.engine) as session:
        kinds = {(row.site_id, row.kind) for row in session.scalars(select(Finding))}
    first, second = (site.id for site in stack.sites())
    assert kinds == {(first, "visit"), (second, "visit"), (second, "scan")}


def test_a_scan_of_a_process_that_is_killed_is_made_again_by_another(stack: Stack) -> None:
    site = lasting({**GIT, **PROOF})
    with site.served() as port:
        add(stack, port)
        first = stack.start("first")
        wait_for(lambda: len(site.requests) >= 5, 30)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert findings(stack) == {}
        [row] = stack.sites()
        assert row.scan_claimed_by is not None
        assert row.scan_claimed_until is not None
        assert row.scan_claimed_until > utcnow() + timedelta(minutes=4)  # longer than any scan takes
        change(stack, scan_claimed_until=utcnow())  # that time has passed
        stack.start("second")
        wait_for(lambda: findings(stack), 90)
    assert findings(stack) == {"/.git/HEAD": "open"}
    assert events(stack) == [("opened", "/.git/HEAD")]
    [row] = stack.sites()
    assert row.scan_claimed_by is None
    assert site.paths.count(PATH) == 2


def test_a_process_that_is_told_to_stop_during_a_scan_ends_soon(stack: Stack) -> None:
    site = lasting({**GIT, **PROOF})
    with site.served() as port:
        add(stack, port)
        process = stack.start()
        wait_for(lambda: len(site.requests) >= 3, 30)
        process.terminate()
        wait_for(lambda: process.poll() is not None, 20)
    [row] = stack.sites()
    assert process.returncode == 0
    assert (row.scan_claimed_by, row.scan_claimed_until) == (None, None)
    assert row.next_scan_at is not None
    assert row.next_scan_at <= utcnow()
