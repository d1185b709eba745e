"""The line before the pool of connections, waited in by threads; under gevent see test_mysql_gevent_pressure.py."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.util.queue import Empty, Full

from cloudeye.pool import Line, Pool

ONE, TWO, THREE = object(), object(), object()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def waiting(line: Line, threads: ThreadPoolExecutor, timeout: float | None = 20) -> Future[Any]:
    """Somebody who has taken their place in the line."""
    before = len(line._waiting)
    future = threads.submit(line.get, True, timeout)
    until = time.monotonic() + 20
    while len(line._waiting) == before:
        assert time.monotonic() < until
        time.sleep(0.001)
    return future


def put(line: Line, *entries: Any) -> None:
    for entry in entries:
        line.put(entry)


def test_who_came_first_is_served_first(threads: ThreadPoolExecutor) -> None:
    line = Line()
    first, second = waiting(line, threads), waiting(line, threads)
    put(line, ONE, TWO)
    assert (first.result(20), second.result(20)) == (ONE, TWO)


def test_who_asks_meanwhile_does_not_take_what_another_waited_for(threads: ThreadPoolExecutor) -> None:
    line = Line()
    first = waiting(line, threads)
    put(line, ONE)
    with pytest.raises(Empty):
        line.get(block=False)
    assert first.result(20) is ONE


@pytest.mark.parametrize(("lifo", "order"), [(True, [TWO, ONE]), (False, [ONE, TWO])])
def test_free_ones_are_handed_out_in_the_order_that_was_asked_for(lifo: bool, order: list[object]) -> None:
    line: Any = Line(5, use_lifo=lifo)
    put(line, ONE, TWO)
    assert [line.get_nowait(), line.get_nowait()] == order
    assert line.empty()


def test_no_more_are_kept_than_may_be() -> None:
    line: Any = Line(2)
    put(line, ONE, TWO)
    assert (line.qsize(), line.full()) == (2, True)
    with pytest.raises(Full):
        line.put_nowait(THREE)


def test_who_waited_too_long_is_told_and_forgotten(threads: ThreadPoolExecutor) -> None:
    line: Any = Line()
    gone = waiting(line, threads, timeout=0.01)
    assert isinstance(gone.exception(20), Empty)
    put(line, ONE)
    assert line.get_nowait() is ONE


KILLED = """
from cloudeye.pool import Line
line = Line()
first, second = gevent.spawn(line.get), gevent.spawn(line.get)
gevent.sleep(0)
first.kill(block=False)
if not {gone}:
    line.put("it")
gevent.sleep(0)
if {gone}:
    line.put("it")
assert second.get(timeout=5) == "it"
assert not line._waiting
"""


@pytest.mark.parametrize("gone", [True, False])
def test_what_was_handed_to_a_greenlet_that_is_killed_goes_to_the_next(gone: bool) -> None:
    code = "from gevent import monkey; monkey.patch_all(); import gevent\n" + KILLED.format(gone=gone)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={"PYTHONPATH": os.pathsep.join(sys.path)})


def test_a_pool_hands_a_connection_that_comes_back_to_who_waits(threads: ThreadPoolExecutor) -> None:
    plain = {"check_same_thread": False}
    engine = create_engine(
        "sqlite://",
        poolclass=Pool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=20,
        connect_args=plain,
    )
    taken = engine.connect()
    entered = threading.Event()

    def ask() -> int:
        entered.set()
        with engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT 7").scalar_one())

    asked = threads.submit(ask)
    assert entered.wait(20)
    taken.close()
    assert asked.result(20) == 7


def test_a_pool_without_a_free_connection_says_so_in_time() -> None:
    engine = create_engine("sqlite://", poolclass=Pool, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect(), pytest.raises(PoolTimeout):
        engine.connect()
