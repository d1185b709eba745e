"""The background process itself, started as it is in production, on a real SQLite database."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gevent
import pytest
from gevent import socket
from sqlalchemy import func, insert, select, update

from cloudeye.models import CheckResult, Site, utcnow
from tests.unit.cloudeye.hostile import KINDS, hostile_process
from tests.unit.cloudeye.playback import answer, read_request, tcp_server
from tests.unit.cloudeye.sync_stack import Stack, counting_site, lateness, slots, wait_for

pytestmark = pytest.mark.long


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path)
    made.migrate()
    yield made
    made.stop()


def test_a_site_goes_up_and_down_and_its_history_says_so(stack: Stack) -> None:
    with tcp_server(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as port:
        stack.add(f"http://127.0.0.1:{port}/")
        stack.start()
        wait_for(lambda: stack.sites()[0].state == "up")
        first = stack.sites()[0]
        assert (first.status_code, first.error, first.claimed_by, first.claimed_until) == (200, None, None, None)
        assert first.latency_ms is not None
        assert first.next_check_at is not None
        assert first.last_checked_at is not None
        assert first.next_check_at > first.last_checked_at
        assert first.state_since == first.last_checked_at
        wait_for(lambda: len(stack.results()) >= 2)
        assert stack.sites()[0].state_since == first.state_since
    wait_for(lambda: stack.sites()[0].state == "down")
    last = stack.sites()[0]
    assert last.error is not None
    assert last.error.startswith("connect_refused: ")
    assert last.state_since == last.last_checked_at
    states = [result.state for result in stack.results()]
    assert states == sorted(states, reverse=True)
    assert set(states) == {"up", "down"}


def test_it_does_not_ask_private_addresses_unless_told_to(stack: Stack) -> None:
    with counting_site() as (port, hits):
        stack.add(f"http://127.0.0.1:{port}/", f"http://localhost:{port}/", f"http://[::ffff:127.0.0.1]:{port}/")
        stack.start(allow_private=0)
        wait_for(lambda: all(site.state == "down" for site in stack.sites()))
        assert [(site.error or "").split(":")[0] for site in stack.sites()] == ["refused_address"] * 3
        assert not hits


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_well_when_told_to_and_gives_back_what_it_has_not_finished(
    stack: Stack, number: signal.Signals
) -> None:
    with tcp_server(lambda sock: gevent.sleep(60)) as slow, counting_site() as (port, _):
        stack.add(f"http://127.0.0.1:{slow}/", f"http://127.0.0.1:{port}/")
        process = stack.start(total_timeout=30, read_timeout=30)
        wait_for(lambda: stack.sites()[0].claimed_by is not None and stack.sites()[1].state == "up")
        process.send_signal(number)
        wait_for(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert stack.sites()[0].claimed_by is None
    assert stack.sites()[0].state == "unknown"
    assert [line["message"] for line in stack.log()] == ["started", "stopped"]


def test_the_heartbeat_says_who_and_how_late_and_goes_on(stack: Stack) -> None:
    stack.add("http://127.0.0.1:1/")
    process = stack.start()
    wait_for(lambda: stack.heartbeat()["probed"])
    before = stack.heartbeat()
    wait_for(lambda: stack.heartbeat()["time"] != before["time"])
    beat = stack.heartbeat()
    assert (beat["pid"], beat["release"], beat["database"]) == (process.pid, "release-1", True)
    assert {"due", "lag", "running"} <= beat.keys()
    process.send_signal(signal.SIGSTOP)  # alive for the kernel, but its loop stands still
    stopped = stack.heartbeat()
    gevent.sleep(1)
    assert stack.heartbeat() == stopped
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: stack.heartbeat() != stopped)
    assert [path.name for path in stack.folder.glob("sync.heartbeat*")] == ["sync.heartbeat"]


def test_a_database_that_is_away_is_logged_once_and_waited_for(tmp_path: Path) -> None:
    stack = Stack(tmp_path)  # not migrated: no table is there
    try:
        process = stack.start()
        wait_for(lambda: stack.heartbeat()["database"] is False)
        gevent.sleep(2)  # several tries
        assert process.poll() is None
        complaints = [line for line in stack.log() if line["level"] == "error"]
        assert len(complaints) == 1
        with counting_site() as (port, _):
            stack.migrate()
            stack.add(f"http://127.0.0.1:{port}/")
            wait_for(lambda: stack.sites()[0].state == "up")
        wait_for(lambda: stack.heartbeat()["database"] is True)
        assert "the database answers again" in [line["message"] for line in stack.log()]
    finally:
        stack.stop()


def test_two_processes_share_sites_and_none_is_probed_twice_in_an_interval(stack: Stack) -> None:
    with counting_site() as (port, hits):
        stack.add(*(f"http://127.0.0.1:{port}/{number}" for number in range(50)), interval=2)
        both = [stack.start("one", concurrency=5, batch=5), stack.start("two", concurrency=5, batch=5)]
        wait_for(lambda: len(hits) == 50 and all(len(times) >= 4 for times in hits.values()), 60)
        assert all(stack.heartbeat(name)["probed"] for name in ("one", "two"))
        for process in both:
            process.terminate()
        wait_for(lambda: all(process.poll() is not None for process in both))
    results = stack.results()
    assert len(results) == sum(len(times) for times in hits.values())  # nothing was asked and not written
    places = slots(results, 2)
    assert len(set(places)) == len(places)


def test_when_one_of_two_is_killed_the_other_takes_its_sites_over(stack: Stack) -> None:
    def slow(sock: socket.socket) -> None:
        read_request(sock)
        gevent.sleep(0.5)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with tcp_server(slow) as port:
        stack.add(*(f"http://127.0.0.1:{port}/{number}" for number in range(50)), interval=2)
        one = stack.start("one", concurrency=25, batch=25)
        wait_for(lambda: len(stack.results()) > 0)
        two = stack.start("two", concurrency=25, batch=25)
        wait_for(lambda: stack.heartbeat("two")["probed"])

        def held() -> list[Site]:
            return [site for site in stack.sites() if site.claimed_by and f":{one.pid}:" in site.claimed_by]

        wait_for(held)
        one.kill()
        one.wait()
        orphans = [site.id for site in held()]
        killed = utcnow()
        assert orphans
        # Their claims expire by themselves; until then the others are watched.
        wait_for(lambda: all(s.last_checked_at and s.last_checked_at > killed for s in stack.sites()), 60)
        assert not held()
        assert two.poll() is None
    places = slots(stack.results(), 2)
    assert len(set(places)) == len(places)


def test_a_poisoned_row_waits_longer_each_time_and_the_others_are_watched(stack: Stack) -> None:
    with counting_site() as (port, hits):
        stack.add(*(f"http://127.0.0.1:{port}/{number}" for number in range(5)))
        with stack.engine.begin() as connection:
            # A time that nothing can read, in the middle of a batch.
            connection.exec_driver_sql("UPDATE sites SET state_since = 'no time at all' WHERE id = 3")
        process = stack.start()
        wait_for(lambda: all(len(hits[f"/{n}"]) >= 3 for n in (0, 1, 3, 4)))
        assert process.poll() is None
        assert "/2" not in hits
    complaints = [line for line in stack.log() if line["level"] == "error"]
    assert [line["site"] for line in complaints] == [3] * len(complaints)
    assert [line["wait"] for line in complaints] == [4.0 * 2**times for times in range(len(complaints))]
    assert complaints
    with stack.engine.connect() as connection:
        next_check_at, claimed_by = connection.execute(
            select(Site.next_check_at, Site.claimed_by).where(Site.id == 3)
        ).one()
    assert next_check_at > datetime.now(UTC)
    assert claimed_by is None


def test_hostile_sites_leave_the_others_on_schedule_and_the_hub_free(stack: Stack) -> None:
    with hostile_process(stack.folder) as urls:
        bad = [urls[name] for name, _ in KINDS]
        good = [f"{urls['good']}{number}" for number in range(40)]
        stack.add(*bad, *good)
        process = stack.start(
            concurrency=150,
            batch=150,
            SSL_CERT_FILE=str(stack.folder / "ca.pem"),
            GEVENT_MONITOR_THREAD_ENABLE="1",
            GEVENT_MAX_BLOCKING_TIME="0.5",
        )
        count = select(func.count()).select_from(CheckResult)
        with stack.engine.connect() as connection:
            wait_for(
                lambda: (
                    (connection.rollback(), connection.scalar(count.where(CheckResult.site_id > len(bad))))[1] >= 160
                )
            )
        assert process.poll() is None
        # While they are all served: what they are afterwards is another matter.
        states = {site.url: site.state for site in stack.sites()}
    late = sorted(lateness([result for result in stack.results() if result.site_id > len(bad)], 2))
    print(
        f"beside {len(bad)} hostile sites, {len(late)} probes of {len(good)} others began late by "
        f"{late[len(late) // 2] * 1000:.0f} ms (half), {late[len(late) * 99 // 100] * 1000:.0f} ms (p99)"
    )
    assert {states[url] for url in good} == {"up"}
    expected = {name: "up" if code is None else "down" for name, code in KINDS}
    assert {name: states[urls[name]] for name, _ in KINDS} == expected
    assert "appears to be blocked" not in (stack.folder / "sync.log").read_text()


def test_old_results_are_deleted_and_younger_ones_kept(stack: Stack) -> None:
    stack.add("http://127.0.0.1:1/", next_check_at=utcnow() + timedelta(days=1), rolled_until=utcnow())
    ages = [timedelta(days=9) - timedelta(minutes=number) for number in range(1500)] + [timedelta(days=6)] * 3
    with stack.engine.begin() as connection:
        now = utcnow()
        rows = [{"site_id": 1, "checked_at": now - age, "state": "up"} for age in ages]
        connection.execute(insert(CheckResult), rows)
    stack.start()
    wait_for(lambda: len(stack.results()) == 3)


def test_a_result_for_an_url_that_was_changed_meanwhile_is_dropped(stack: Stack) -> None:
    with tcp_server(
        lambda sock: (read_request(sock), gevent.sleep(1), sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n"))
    ) as slow:
        stack.add(f"http://127.0.0.1:{slow}/", interval=60)
        stack.start()
        wait_for(lambda: stack.sites()[0].claimed_by is not None)
        with stack.engine.begin() as connection:
            connection.execute(
                update(Site).values(url="http://127.0.0.1:1/", state="unknown", version=Site.version + 1)
            )
        wait_for(lambda: stack.sites()[0].state != "unknown")
    assert stack.sites()[0].state == "down"
    assert [result.state for result in stack.results()] == ["down"]


def test_a_bad_environment_is_named_and_ends_it(stack: Stack) -> None:
    process = stack.start(APP_SYNC_ALLOW_PRIVATE="", allow_private="maybe")
    assert process.wait(20) == 78
    assert "APP_SYNC_ALLOW_PRIVATE" in (stack.folder / "sync.log").read_text()
