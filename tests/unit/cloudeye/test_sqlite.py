"""SQLite as the application opens it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cloudeye import sqlite


def connect(folder: Path) -> sqlite3.Connection:
    """Open the file as the engine does."""
    return sqlite3.connect(folder / "a.sqlite3", **sqlite.CONNECT_ARGS)


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    """A connection to a file with one table."""
    found = connect(tmp_path)
    found.cursor().execute("CREATE TABLE numbers (n INTEGER UNIQUE)")
    found.commit()
    return found


@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)])
def test_each_connection_is_set_up_to_lose_nothing(connection: sqlite3.Connection, pragma: str, value: object) -> None:
    assert connection.cursor().execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_nobody_else_can_read_its_files(connection: sqlite3.Connection, tmp_path: Path) -> None:
    connection.cursor().execute("INSERT INTO numbers VALUES (1)")
    connection.commit()
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.glob("a.sqlite3*")}
    assert modes == {"a.sqlite3": "0o600", "a.sqlite3-wal": "0o600", "a.sqlite3-shm": "0o600"}


def test_a_further_connection_takes_no_lock_away_from_the_others_of_its_process(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    connect(tmp_path).close()
    # Whoever closes a file last takes its log away: another process must see that it is not the last one.
    write = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('INSERT INTO numbers VALUES (2)'); "
    write += "c.commit(); c.close()"
    subprocess.run([sys.executable, "-c", write, str(tmp_path / "a.sqlite3")], check=True)
    assert (tmp_path / "a.sqlite3-wal").exists()
    connection.cursor().execute("INSERT INTO numbers VALUES (3)")
    connection.commit()
    assert connection.cursor().execute("SELECT count(*) FROM numbers").fetchone() == (2,)


def test_a_read_opens_no_transaction_and_a_write_does(connection: sqlite3.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("  select * from numbers")
    assert not connection.in_transaction
    cursor.execute("INSERT INTO numbers VALUES (1)")
    assert connection.in_transaction
    connection.rollback()
    assert cursor.execute("SELECT count(*) FROM numbers").fetchone() == (0,)


def test_who_has_read_can_write_after_another_has_written(connection: sqlite3.Connection, tmp_path: Path) -> None:
    cursor, other = connection.cursor(), connect(tmp_path)
    cursor.execute("SELECT * FROM numbers").fetchall()
    other.cursor().executemany("INSERT INTO numbers VALUES (?)", [(1,), (2,)])
    other.commit()
    cursor.execute("INSERT INTO numbers VALUES (3)")
    connection.commit()
    assert cursor.execute("SELECT sum(n) FROM numbers").fetchone() == (6,)


def test_a_reader_is_not_kept_waiting_by_a_writer(connection: sqlite3.Connection, tmp_path: Path) -> None:
    writer = connect(tmp_path)
    writer.cursor().execute("INSERT INTO numbers VALUES (1)")
    assert connection.cursor().execute("SELECT count(*) FROM numbers").fetchone() == (0,)
    writer.commit()
    assert connection.cursor().execute("SELECT count(*) FROM numbers").fetchone() == (1,)


def test_a_writer_waits_for_another_and_then_writes(connection: sqlite3.Connection, tmp_path: Path) -> None:
    first = connect(tmp_path)
    first.cursor().execute("INSERT INTO numbers VALUES (1)")
    threading.Timer(0.3, first.commit).start()
    connection.cursor().execute("INSERT INTO numbers VALUES (2)")
    connection.commit()
    assert connection.cursor().execute("SELECT count(*) FROM numbers").fetchone() == (2,)


def test_a_writer_gives_up_in_the_end(
    connection: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    other = connect(tmp_path)
    other.cursor().execute("INSERT INTO numbers VALUES (1)")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        connection.cursor().execute("INSERT INTO numbers VALUES (2)")
    other.rollback()


def test_other_errors_are_not_tried_again(connection: sqlite3.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("INSERT INTO numbers VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError):
        cursor.execute("INSERT INTO numbers VALUES (1)")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        cursor.execute("SELECT * FROM letters")


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import sqlite3, sys, gevent
from cloudeye import sqlite
def connect(): return sqlite3.connect(sys.argv[1], **sqlite.CONNECT_ARGS)
setup = connect(); setup.cursor().execute("CREATE TABLE t (n)"); setup.commit()
holder = connect(); holder.cursor().execute("INSERT INTO t VALUES (0)")
turns = []
def write():
    mine = connect(); mine.cursor().execute("INSERT INTO t VALUES (1)"); mine.commit(); turns.append("written")
def other():
    for _ in range(5):
        gevent.sleep(0.01); turns.append("other")
    holder.commit()
gevent.joinall([gevent.spawn(write), gevent.spawn(other)], raise_error=True)
print(" ".join(turns))
"""


def test_a_greenlet_that_waits_for_the_lock_lets_the_others_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GREENLETS, str(tmp_path / "g.sqlite3")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(sqlite.__file__).parents[1])},
    )
    assert done.stdout.split() == ["other"] * 5 + ["written"]
