"""Sync processes that share the work of one MariaDB server, which may be restarted, stand still or be away."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest

from tests.integration.mariadb import MariaDB
from tests.unit.cloudeye.sync_stack import Stack, counting_site, slots, wait_for


@pytest.fixture
def server() -> Iterator[MariaDB]:
    with tempfile.TemporaryDirectory(prefix="ce-") as folder, MariaDB(Path(folder)) as server:
        yield server


@pytest.fixture
def stack(server: MariaDB, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path, server.url())
    made.migrate()
    yield made
    made.stop()


@contextmanager
def standing_still(server: MariaDB) -> Iterator[None]:
    """The server's sockets stay open, but nobody answers."""
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_three_processes_share_sites_and_none_is_probed_twice_in_an_interval(stack: Stack) -> None:
    with counting_site() as (port, hits):
        stack.add(*(f"http://127.0.0.1:{port}/{number}" for number in range(60)), interval=2)
        several = [stack.start(name, concurrency=5, batch=5) for name in ("one", "two", "three")]
        wait_for(lambda: len(hits) == 60 and all(len(times) >= 4 for times in hits.values()), 60)
        assert all(stack.heartbeat(name)["probed"] for name in ("one", "two", "three"))
        for process in several:
            process.terminate()
        wait_for(lambda: all(process.poll() is not None for process in several))
    assert [process.returncode for process in several] == [0, 0, 0]
    results = stack.results()
    assert len(results) == sum(len(times) for times in hits.values())
    places = slots(results, 2)
    assert len(set(places)) == len(places)
    assert [line for name in ("one", "two", "three") for line in stack.log(name) if line["level"] == "error"] == []


def test_a_server_that_is_killed_and_comes_back_is_waited_for(stack: Stack, server: MariaDB) -> None:
    with counting_site() as (port, hits):
        stack.add(*(f"http://127.0.0.1:{port}/{number}" for number in range(10)), interval=2)
        process = stack.start()
        wait_for(lambda: len(hits) == 10)
        server.stop(signal.SIGKILL)
        wait_for(lambda: stack.heartbeat()["database"] is False)
        gevent.sleep(1)
        server.start()
        seen = {path: len(times) for path, times in hits.items()}
        wait_for(lambda: all(len(times) > seen[path] for path, times in hits.items()), 40)
        assert process.poll() is None
    assert [line["level"] for line in stack.log()].count("error") == 1


def test_a_server_that_stands_still_is_waited_for(stack: Stack, server: MariaDB) -> None:
    with counting_site() as (port, hits):
        stack.add(f"http://127.0.0.1:{port}/", interval=2)
        process = stack.start()
        wait_for(lambda: hits)
        with standing_still(server):
            wait_for(lambda: stack.heartbeat()["database"] is False, 30)
        seen = len(hits["/"])
        wait_for(lambda: len(hits["/"]) > seen + 1, 40)
        assert process.poll() is None


def test_it_ends_in_time_though_the_server_stands_still(stack: Stack, server: MariaDB) -> None:
    with counting_site() as (port, hits):
        stack.add(f"http://127.0.0.1:{port}/", interval=2)
        process = stack.start()
        wait_for(lambda: hits)
        with standing_still(server):
            gevent.sleep(1)
            process.terminate()
            wait_for(lambda: process.poll() is not None, 24)  # supervisor would kill it after 25 s
        assert process.returncode == 0
