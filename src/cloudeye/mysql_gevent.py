"""MySQL connections that never block a gevent worker.

gevent runs many requests in one thread. Each lives in a *greenlet*, a function that can be paused; the *hub* runs them
in turn. Whoever waits for the network pauses and the hub goes on with another, if Python's sockets do the waiting.
mysqlclient waits in C, where gevent cannot pause it: a query of one second stops the whole worker for one second. So:

1. Send the query: it fits the kernel's send buffer, so this takes no time. (A long one is sent in a thread.)
2. Wait in the hub until the socket has something to read. This is the long part, and others run meanwhile.
3. Look at what has come without taking it (``MSG_PEEK``). MySQL's packets have their length in front, so it is
   easy to tell whether the *whole* answer is there. If so, C reads it and has nothing to wait for.
4. If not (a large result; TLS, where nothing can be seen), C reads it in a thread of gevent's pool and the hub goes
   on. A plain "wait until readable, then read" would stop the worker here.

docs/driver.md lists what does which; mysql_protocol.py says when a transaction begins. A greenlet may be killed or
timed out (``gevent.Timeout``) while it waits, and its answer would be taken for that to the next query. So the
connection is closed at once, later calls say "gone away", and the query is killed on the server.
"""

from __future__ import annotations

import _socket  # the kernel's sockets; those of ``socket`` are gevent's and wait in the hub
import contextlib
import os
from collections.abc import Callable
from functools import partialmethod
from typing import Any

from MySQLdb import NotSupportedError, OperationalError, ProgrammingError
from MySQLdb.connections import Connection as Plain

from cloudeye.mysql_hub import GONE_AWAY, LOST, Rows, worker
from cloudeye.mysql_protocol import IN_TRANSACTION, needs_transaction, reads_alone_after

SEND = 16 * 1024  # bytes; the kernel's smallest send buffer
REFUSED = {"local_infile", "local_infile_dir", "read_default_file", "read_default_group"}  # files may allow it


class Connection(Plain):  # type: ignore[misc]  # MySQLdb has no types
    """A connection of mysqlclient, the same but for how it waits and that it refuses LOAD DATA LOCAL."""

    _connecting = True  # in a thread, where the methods below are the plain ones
    _visible = True  # the server's packets can be seen on the socket; not with TLS or compression
    _busy = _whole = _lazy = _reads_alone = False
    _status: int | None = None  # the server's flags after the last answer; None: not seen
    _socket: Any = None  # a second handle on the connection's socket, to look and to hang up

    def __init__(self, *args: Any, autocommit: bool | None = False, **options: Any) -> None:
        if refused := REFUSED & {name for name, value in options.items() if value}:
            raise NotSupportedError(f"LOAD DATA LOCAL is refused: with {refused} a server may ask for our files")
        options = {"connect_timeout": 10, "read_timeout": 0} | options | {"local_infile": 0}
        self._arguments = args, options
        self._in_thread(super().__init__, *args, autocommit=None, **options)
        self._socket = _socket.socket(fileno=os.dup(self.fileno()))
        self._number, self._connecting = self.thread_id(), False
        self.ping()
        self._visible = self._status is not None
        if autocommit is not None:
            self.autocommit(autocommit)

    def _check(self) -> None:
        if self._busy:
            raise ProgrammingError("two greenlets use one connection at the same time")
        if self._socket is None and not self._connecting:
            raise OperationalError(GONE_AWAY, "the connection is closed, perhaps because a query was interrupted")

    def _in_thread(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._check()
        self._busy, job = True, None
        try:
            job = (worker().begin_connecting if self._connecting else worker().begin)(call, *args, **options)
            value, error = job.get()
        except BaseException:
            self.give_up(job)
            raise
        finally:
            self._busy = False
        if error is not None:
            raise error
        return value

    def _exchange(self, text: bytes) -> None:
        self._check()
        if len(text) > SEND:
            self._in_thread(super().send_query, text)
        else:
            super().send_query(text)
        self._busy, timeout = True, self._arguments[1]["read_timeout"] or None
        try:
            self._whole, self._status = worker().wait_for_answer(self._socket, timeout, self._visible)
        except BaseException:
            self.give_up()
            raise
        finally:
            self._busy = False
        self.read(super().read_query_result)

    def read(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call what reads the answer: here if all of it has come, else in a thread."""
        return call(*args) if self._whole or self._connecting else self._in_thread(call, *args)

    def give_up(self, job: Any = None) -> None:
        """Close without reading what is still to come, after ``job`` in a thread; have the query killed."""
        end, self._socket, self._status = self._socket, None, None
        if end is not None:
            with contextlib.closing(end), contextlib.suppress(OSError):
                end.shutdown(_socket.SHUT_RDWR)  # wakes the thread, if one is reading
            worker().kill(self._number, *self._arguments)
        if job is not None:
            # Closing what was never opened would crash in C.
            job.rawlink(lambda done: None if self._connecting and done.value[1] else Plain.close(self))
        elif end is not None:
            super().close()

    def close(self) -> None:
        """Close the connection, once or twice. A greenlet that waits on it gets an error."""
        if self._socket is not None and self._busy:
            self._socket.shutdown(_socket.SHUT_RDWR)
        elif self._socket is not None:
            super().close()
            self._socket = self._status = self._socket.close()  # None

    def query(self, query: bytes | bytearray | str) -> None:
        """Run a statement; ``store_result`` or ``use_result`` reads what it returns."""
        if self._connecting:
            super().query(query)
            return
        text = query.encode() if isinstance(query, str) else bytes(query)
        opening = self._lazy and needs_transaction(text, self._reads_alone)
        if opening and self._status is None:
            self.ping()  # its short answer has the status
            if self._status is None:
                raise OperationalError(LOST, "cannot see whether a transaction is open")
        opening = opening and not (self._status or 0) & IN_TRANSACTION
        self._exchange(b"BEGIN;" + text if opening else text)
        if opening:
            self.read(super().next_result)
        self._reads_alone = reads_alone_after(text, self._reads_alone)

    def ping(self) -> None:
        """Raise an error if the server does not answer."""
        self._exchange(b"DO 0")

    def commit(self, how: bytes = b"COMMIT") -> None:
        """Commit, where a transaction is open."""
        if self._status is None or self._status & IN_TRANSACTION:
            self.query(how)

    def rollback(self) -> None:
        """Roll back, where a transaction is open."""
        self.commit(b"ROLLBACK")

    def autocommit(self, on: bool) -> None:
        """Commit each statement by itself, or begin a transaction with the first that needs one."""
        if on and self._visible:
            self.commit()
        if super().get_autocommit() != bool(on or self._visible):
            self.query(b"SET autocommit=%d" % bool(on or self._visible))
        self._lazy = self._visible and not on

    def get_autocommit(self) -> bool:
        """Tell whether each statement commits by itself."""
        return bool(super().get_autocommit()) and not self._lazy

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Change the character set of the connection."""
        if self._connecting:
            super().set_character_set(charset, collation)
            return
        self._in_thread(super().set_character_set, charset)
        if collation:
            self.query(f"SET NAMES {charset} COLLATE {collation}")

    def store_result(self) -> Any:
        """Return the result with all its rows at hand."""
        result = self.read(super().store_result)
        return result if result is None or self._whole else Rows(self, result, stored=True)

    def use_result(self) -> Any:
        """Return the result with its rows still to be read from the server."""
        result = super().use_result()
        return result if result is None or self._whole else Rows(self, result, stored=False)

    def next_result(self) -> int:
        """Go on to the statement's next result: 0, or -1 if there is none."""
        gone = self._socket is None and not self._connecting  # a cursor asks when it is closed
        return -1 if gone else self.read(super().next_result) if self.more_results() else super().next_result()

    def discard_result(self) -> None:
        """Read and forget the current result."""
        self.read(super().discard_result)


def _threaded(self: Connection, name: str, *args: Any) -> Any:
    self._status, self._reads_alone = None, False
    return self._in_thread(getattr(super(Connection, self), name), *args)


for _name in ("change_user", "dump_debug_info", "kill", "select_db", "set_server_option", "shutdown", "stat"):
    setattr(Connection, _name, partialmethod(_threaded, _name))
