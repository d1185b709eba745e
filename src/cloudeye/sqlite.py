"""SQLite with many greenlets and several processes on one file.

Three habits of the standard driver do not suit that, and this module replaces them:

* SQLite's busy handler sleeps inside the C library and so holds up every greenlet of the process. Here it
  is off; a busy answer is tried again after ``time.sleep``, which under gevent sleeps in the hub.
* The driver opens a deferred transaction, which reads first and may then find that it cannot write because
  somebody else has (SQLITE_BUSY_SNAPSHOT; waiting does not help). Here the first statement that writes opens
  the transaction with BEGIN IMMEDIATE, and a read outside of one is a transaction of its own, so readers
  hold nothing. What a unit of work sees is thus like READ COMMITTED on a server.
* A commit is on the disk before it is reported (``synchronous=FULL``); in WAL mode that is one fsync. How long that
  takes is the disk's affair, so under gevent it happens in a thread. Statements run where they are: they find what
  they need in memory, and cost more to hand over than to run.

See https://www.sqlite.org/wal.html, https://www.sqlite.org/lang_transaction.html and
https://www.sqlite.org/rescode.html#busy_snapshot.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

BUSY_SECONDS = 10.0
FIRST_WAIT, LONGEST_WAIT = 0.001, 0.05

_READS = frozenset({"SELECT", "PRAGMA", "EXPLAIN", "VALUES"})
_CONTROLS = frozenset({"BEGIN", "COMMIT", "END", "ROLLBACK"})
_Result = TypeVar("_Result")


def _patiently(act: Callable[[], _Result]) -> _Result:
    """Call again, while the database is busy, for at most BUSY_SECONDS."""
    deadline = time.monotonic() + BUSY_SECONDS
    wait = FIRST_WAIT
    while True:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        wait = min(wait * 2, LONGEST_WAIT)


def _aside(act: Callable[[], _Result]) -> _Result:
    """Call in a thread where the others go on meanwhile."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("socket"):
        return act()
    results, errors = _threads().apply(_outcome, (act,))
    if errors:
        raise errors[0]
    result: _Result = results[0]
    return result


def _outcome(act: Callable[[], _Result]) -> tuple[list[_Result], list[Exception]]:
    """Return what came of it; gevent logs what a thread of a pool raises as a failure, and being busy is none."""
    try:
        return [act()], []
    except Exception as error:
        return [], [error]


@cache
def _threads() -> Any:
    # Of its own: behind a queue of passwords to be hashed, everybody would wait for the write lock.
    from gevent.threadpool import ThreadPool

    return ThreadPool(2)


class Cursor(sqlite3.Cursor):
    """A cursor that opens a writing transaction where one is needed, and waits in the hub for it."""

    def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
        """Run one statement."""
        self._prepare(sql)
        return self._run(lambda: super(Cursor, self).execute(sql, parameters))

    def executemany(self, sql: str, parameters: Any, /) -> Cursor:
        """Run one statement for each row of parameters."""
        self._prepare(sql)
        return self._run(lambda: super(Cursor, self).executemany(sql, parameters))

    def _prepare(self, sql: str) -> None:
        connection = self.connection
        word = sql.lstrip()[:9].split(None, 1)[0].upper() if sql.strip() else ""
        if not connection.in_transaction and word not in _READS and word not in _CONTROLS:
            _patiently(lambda: super(Cursor, self).execute("BEGIN IMMEDIATE"))

    def _run(self, act: Callable[[], Any]) -> Cursor:
        # Inside a transaction there is nobody to wait for: the write lock is held.
        if not self.connection.in_transaction:
            _patiently(act)
        else:
            act()
        return self


class Connection(sqlite3.Connection):
    """A connection whose cursors are the ones above, in WAL mode, with foreign keys enforced."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # SQLite would make the file readable for all; what it makes beside it has the file's permissions. A file that
        # is there must not be opened: closing it would drop the locks of this process's other connections
        # (https://www.sqlite.org/howtocorrupt.html, section 2.2).
        with suppress(OSError):
            os.close(os.open(args[0], os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        super().__init__(*args, **kwargs)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            _patiently(lambda: self.execute(f"PRAGMA {pragma}").close())  # noqa: B023 - called at once

    def cursor(self, factory: Any = Cursor) -> Any:
        """Return a cursor."""
        return super().cursor(factory)

    def commit(self) -> None:
        """Commit, if a transaction is open."""
        if self.in_transaction:
            _patiently(lambda: _aside(super(Connection, self).commit))


# isolation_level None: the driver opens no transaction by itself. timeout 0: SQLite does not sleep.
CONNECT_ARGS: dict[str, Any] = {
    "factory": Connection,
    "isolation_level": None,
    "timeout": 0,
    "check_same_thread": False,
}
