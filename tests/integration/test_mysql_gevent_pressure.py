"""The driver under pressure: queries that are given up, a server that restarts, a pool that is empty."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import MySQLdb
import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from cloudeye.mysql_gevent import Connection
from cloudeye.mysql_hub import SLOTS
from cloudeye.transactions import retry_idempotent
from tests.integration.mariadb import MariaDB

SIZE = 4  # connections of a pool


def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
    """Open a connection for SQLAlchemy."""
    return Connection(*arguments, **options)


@pytest.fixture
def engine(mariadb_server: MariaDB) -> Iterator[Engine]:
    """A pool of the driver's connections, and two rows to quarrel about."""
    mariadb_server.run("CREATE OR REPLACE TABLE cloudeye.pressed (id INT PRIMARY KEY, a INT)")
    mariadb_server.run("INSERT INTO cloudeye.pressed VALUES (1, 0), (2, 0)")
    engine = create_engine(mariadb_server.url(), isolation_level="READ COMMITTED", pool_size=SIZE, max_overflow=0)
    event.listen(engine, "do_connect", connect)
    ask(engine, "SELECT 1")
    yield engine
    engine.dispose()


def ask(engine: Engine, statement: str) -> Any:
    """Run a statement in a session of its own."""
    with Session(engine) as session:
        rows = session.execute(text(statement)).all()
        session.commit()
        return rows


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        gevent.sleep(0.05)
    return True


def running(server: MariaDB, mark: str) -> bool:
    """Tell whether the server works on a statement that contains a mark."""
    query = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE %s AND id <> CONNECTION_ID()"
    return bool(server.run(query, f"%{mark}%")[0][0])


class TookTooLongError(Exception):
    """A deadline as an application might have it."""


def killed(engine: Engine, statement: str) -> None:
    greenlet = gevent.spawn(ask, engine, statement)
    gevent.sleep(0.3)
    greenlet.kill()


def timed_out(engine: Engine, statement: str) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.3):
        ask(engine, statement)


def timed_out_by_an_error(engine: Engine, statement: str) -> None:
    with pytest.raises(OperationalError) as error, gevent.Timeout(0.3, TookTooLongError):
        ask(engine, statement)
    # An ordinary exception does not tell SQLAlchemy that the connection is lost: that it learns by its rollback.
    causes, cause = [], error.value
    while cause is not None:
        causes.append(type(cause))
        cause = cause.__context__
    assert TookTooLongError in causes


@pytest.mark.parametrize("interrupt", [killed, timed_out, timed_out_by_an_error])
@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELECT SLEEP(30), 'given up'", id="waiting in the hub"),
        pytest.param("SELECT REPEAT('x', 70000) FROM seq_1_to_2 WHERE SLEEP(15) = 0 OR 'given up'", id="at a wait"),
        pytest.param("SELECT seq, REPEAT('given up', 900), SLEEP(seq > 20) FROM seq_1_to_50", id="reading in a thread"),
        pytest.param("UPDATE pressed SET a = 'given up' + SLEEP(30) WHERE id = 1", id="writing"),
    ],
)
def test_a_query_that_is_given_up_is_killed_and_its_connection_is_not_used_again(
    engine: Engine, mariadb_server: MariaDB, interrupt: Callable[[Engine, str], None], statement: str
) -> None:
    before = ask(engine, "SELECT CONNECTION_ID()")
    interrupt(engine, statement)
    after = [ask(engine, "SELECT CONNECTION_ID()") for _ in range(SIZE)]
    assert before not in after
    assert engine.pool.checkedout() == 0
    assert wait_until(lambda: not running(mariadb_server, "given up"))


def test_what_a_killed_transaction_wrote_is_rolled_back_and_unlocked_at_once(engine: Engine) -> None:
    def write() -> None:
        with Session(engine) as session:
            session.execute(text("UPDATE pressed SET a = 99 WHERE id = 1"))
            session.execute(text("SELECT SLEEP(30)"))
            session.commit()

    greenlet = gevent.spawn(write)
    gevent.sleep(0.3)
    greenlet.kill()
    with Session(engine) as session:
        session.execute(text("SET innodb_lock_wait_timeout = 10"))
        session.execute(text("UPDATE pressed SET a = a + 1 WHERE id = 1"))
        session.commit()
    assert ask(engine, "SELECT a FROM pressed WHERE id = 1") == [(1,)]


def test_a_restart_of_the_server_costs_the_requests_in_flight_alone() -> None:
    with tempfile.TemporaryDirectory(prefix="ce-") as folder, MariaDB(Path(folder)) as server:
        engine = create_engine(server.url(), pool_size=SIZE, max_overflow=0)
        event.listen(engine, "do_connect", connect)
        ask(engine, "SELECT 1")
        flying = [gevent.spawn(ask, engine, "SELECT SLEEP(30)") for _ in range(SIZE)]
        gevent.sleep(0.5)
        gevent.get_hub().threadpool.apply(server.stop)
        gevent.joinall(flying, timeout=10)
        assert [type(greenlet.exception) for greenlet in flying] == [OperationalError] * SIZE
        with pytest.raises(OperationalError):
            ask(engine, "SELECT 1")
        gevent.get_hub().threadpool.apply(server.start)
        assert [ask(engine, f"SELECT {number}") for number in range(20)] == [[(number,)] for number in range(20)]
        engine.dispose()


# gevent's patches are for a whole process, so what needs them (the locks of SQLAlchemy's pool) runs in one of its own.
PATCHED = """
from gevent import monkey
monkey.patch_all()
import json, random, sys, time
from collections import Counter
import gevent
from gevent.pool import Pool
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import TimeoutError
from cloudeye.mysql_gevent import Connection

engine = create_engine(sys.argv[1], pool_size=4, max_overflow=0, pool_timeout=0.5)
event.listen(engine, "do_connect", lambda _dialect, _record, args, options: Connection(*args, **options))

def ask(statement):
    with engine.connect() as connection:
        return connection.execute(text(statement)).scalar()
"""

EMPTY_POOL = """
waited, ticks = [], []

def hold():
    began = time.monotonic()
    try:
        ask("SELECT SLEEP(2)")
    except TimeoutError:
        waited.append(time.monotonic() - began)

def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.01)

ticker = gevent.spawn(tick)
gevent.joinall([gevent.spawn(hold) for _ in range(10)])
ticker.kill()
print(json.dumps({"waited": waited, "ticks": len(ticks), "out": engine.pool.checkedout()}))
"""

QUESTIONS = """
outcomes = Counter(right=0, wrong=0, late=0, none=0)
dice = random.Random(4711)

def one(number):
    try:
        with gevent.Timeout(dice.uniform(0.001, 0.3)):
            # Not SLEEP: to kill one takes MariaDB up to two seconds, in which the others pile up.
            answer = ask(f"SELECT {number} WHERE BENCHMARK({dice.randrange(30_000)}, MD5('x')) = 0")
            outcomes["right" if answer == number else "wrong"] += 1
    except gevent.Timeout:
        outcomes["late"] += 1
    except TimeoutError:
        outcomes["none"] += 1
    except Exception as error:
        outcomes[repr(error)] += 1

pool = Pool(8)
for number in range(600):
    pool.spawn(one, number)
pool.join()
print(json.dumps(outcomes))
"""


def in_patched_process(code: str, server: MariaDB) -> Any:
    """Run some code with gevent's patches and a pool, and return what it prints as JSON."""
    command = [sys.executable, "-c", PATCHED + code, server.url()]
    source = str(Path(__file__).parents[2] / "src")
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, env={"PYTHONPATH": source})
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_who_finds_the_pool_empty_waits_for_a_bounded_time_while_others_run(mariadb_server: MariaDB) -> None:
    found = in_patched_process(EMPTY_POOL, mariadb_server)
    assert len(found["waited"]) == 6
    assert min(found["waited"]) >= 0.5
    assert max(found["waited"]) < 2  # before the connections come back
    assert found["ticks"] > 50
    assert found["out"] == 0


def test_nobody_ever_gets_the_answer_to_another_ones_question(mariadb_server: MariaDB) -> None:
    outcomes = in_patched_process(QUESTIONS, mariadb_server)
    assert outcomes["wrong"] == 0
    assert outcomes["right"] > 0
    assert outcomes["late"] > 0
    assert set(outcomes) == {"right", "wrong", "late", "none"}
    assert sum(outcomes.values()) == 600


def test_connects_that_are_given_up_do_not_pile_up_at_a_server_that_stands_still(mariadb_server: MariaDB) -> None:
    def connect_at_once() -> Connection:
        return Connection(unix_socket=mariadb_server.socket, user="root")

    connect_at_once().close()
    assert mariadb_server.process is not None
    before = len(os.listdir("/proc/self/fd"))
    mariadb_server.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(10 * SLOTS):
            with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
                connect_at_once()
        left_behind = len(os.listdir("/proc/self/fd")) - before
    finally:
        mariadb_server.process.send_signal(signal.SIGCONT)
    assert 0 < left_behind <= SLOTS
    for _ in range(2 * SLOTS):  # the slots are free again
        connect_at_once().close()
    assert wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_a_transaction_that_loses_a_deadlock_is_run_again(engine: Engine) -> None:
    tries: Counter[str] = Counter()

    def transfer(name: str, first: int, second: int) -> None:
        with Session(engine) as session:

            def unit() -> None:
                tries[name] += 1
                session.execute(text(f"UPDATE pressed SET a = a + 1 WHERE id = {first}"))
                gevent.sleep(0.2 if tries[name] == 1 else 0)
                session.execute(text(f"UPDATE pressed SET a = a + 1 WHERE id = {second}"))

            retry_idempotent(session, unit)

    both = [gevent.spawn(transfer, "up", 1, 2), gevent.spawn(transfer, "down", 2, 1)]
    gevent.joinall(both, timeout=30, raise_error=True)
    assert sorted(tries.values()) == [1, 2]
    assert ask(engine, "SELECT a FROM pressed ORDER BY id") == [(2,), (2,)]


@pytest.mark.parametrize(("number", "times"), [(1213, 3), (1205, 3), (1062, 1), (2006, 1)])
def test_only_locks_are_worth_another_try_and_only_so_many(engine: Engine, number: int, times: int) -> None:
    tries = []

    def unit() -> None:
        tries.append(1)
        raise OperationalError("UPDATE", {}, MySQLdb.OperationalError(number, "said the server"))

    with Session(engine) as session, pytest.raises(DBAPIError, match=str(number)):
        retry_idempotent(session, unit)
    assert len(tries) == times


def test_what_a_failed_unit_wrote_is_rolled_back(engine: Engine) -> None:
    with Session(engine) as session:

        def unit() -> None:
            session.execute(text("UPDATE pressed SET a = 7"))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            retry_idempotent(session, unit)
        session.commit()
    assert ask(engine, "SELECT DISTINCT a FROM pressed") == [(0,)]
