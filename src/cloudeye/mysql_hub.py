"""How the connections of mysql_gevent.py wait: in gevent's hub, or in a thread. One ``Worker`` for each hub."""

from __future__ import annotations

import _socket  # the kernel's sockets; those of ``socket`` are gevent's and wait in the hub
import contextlib
import logging
import select
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import gevent
from gevent import monkey
from gevent.event import AsyncResult
from gevent.lock import Semaphore
from gevent.socket import wait
from gevent.threadpool import ThreadPool
from MySQLdb import OperationalError
from MySQLdb.connections import Connection as Plain

from cloudeye.mysql_protocol import Answer, survey

LOOK = 40e-6  # seconds
LOOKS_IN_A_ROW = 16  # then the others get a turn
PEEK = 64 * 1024  # bytes; a longer answer is read in a thread
ROWS = 64  # turned into Python objects before the others get a turn
THREADS = 1024  # more than connections: a read that waited for a thread could hold the lock another one needs
IDLE = 60  # seconds until a thread without work ends
SLOTS = 8  # for connections that are being opened or killed, beside those in the application's pool
KILL_WITHIN = {"connect_timeout": 5, "read_timeout": 5, "write_timeout": 5}  # seconds
NO_SUCH_THREAD, NOT_CONNECTED, GONE_AWAY, LOST = 1094, 2003, 2006, 2013  # error numbers

_epoll = monkey.get_original("select", "epoll")  # that which gevent takes away, as it could block
log = logging.getLogger(__name__)


class Worker:
    """What the connections of one hub share, so those of one gunicorn worker."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._pool = ThreadPool(THREADS, hub, idle_task_timeout=IDLE)
        self._slots = Semaphore(SLOTS)
        self._waiting = 0  # greenlets that wait in the hub for an answer
        self._looks = 0  # answers in a row that came while looking for them

    def begin(self, call: Callable[..., Any], *args: Any, **options: Any) -> AsyncResult:
        """Begin a call in a thread; what is returned yields its value and its error, one of them None."""
        return self._pool.spawn(_outcome, call, args, options)

    def begin_connecting(self, call: Callable[..., Any], *args: Any, **options: Any) -> AsyncResult:
        """Begin to connect in a thread, as soon as one of the ``SLOTS`` is free.

        Who is killed or timed out while connecting leaves its thread behind, connecting. Pools do not count those:
        without a bound of its own, a server that stands still would be met with ever more connections.

        Raises:
            OperationalError: no slot came free within ``connect_timeout``.
        """
        if not self._slots.acquire(timeout=options["connect_timeout"]):
            raise OperationalError(NOT_CONNECTED, "too many connections are being opened")
        try:
            job = self.begin(call, *args, **options)
        except BaseException:
            self._slots.release()
            raise
        job.rawlink(lambda _: self._slots.release())
        return job

    def wait_for_answer(self, socket: _socket.socket, timeout: float | None, visible: bool) -> tuple[bool, int | None]:
        """Wait until an answer is there, or has at least begun, without taking anything off the socket.

        A greenlet alone in waiting looks for ``LOOK`` seconds first, since the way to the hub and back costs as
        much as the server needs to find a row by key. Beside others it never looks: the hub has better to do.

        Args:
            socket: a handle of the kernel's, not of gevent's.
            timeout: seconds of silence until OperationalError; None for ever.
            visible: the server's packets can be seen on the socket.

        Returns:
            Whether all of the answer is there, and the server's status flags after it, None if not seen.
        """
        answer = b""
        if not self._waiting and self._looks < LOOKS_IN_A_ROW:
            end = time.perf_counter() + LOOK
            while not (answer := _peek(socket)) and time.perf_counter() < end:
                pass
        self._looks = self._looks + 1 if answer else 0
        if not answer:
            self._wait(socket.fileno(), timeout)
            answer = _peek(socket)
        if not visible:
            return False, None
        there, status = survey(answer)
        if there is Answer.BEGUN:
            there, status = self._wait_for_rest(socket, timeout)
        return there is Answer.COMPLETE, status

    def _wait_for_rest(self, socket: _socket.socket, timeout: float | None) -> tuple[Answer, int | None]:
        """Go on waiting for an answer of which a part is there.

        As that part stays on the socket, the socket is readable all the time. What tells of *more* is an epoll of
        its own that reports changes only (EPOLLET, epoll(7)): itself a descriptor for which the hub can wait.
        """
        with _epoll() as news:
            news.register(socket.fileno(), select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
            while True:
                hung_up = any(change & ~select.EPOLLIN for _, change in news.poll(0))
                there, status = survey(_peek(socket))
                if there is not Answer.BEGUN or hung_up:
                    return there, status
                self._wait(news.fileno(), timeout)

    def _wait(self, descriptor: int, timeout: float | None) -> None:
        self._waiting += 1
        try:
            with contextlib.closing(self._hub.loop.io(descriptor, 1)) as readable:
                wait(readable, timeout, OperationalError(LOST, "no answer within read_timeout"))
        finally:
            self._waiting -= 1

    def kill(self, number: int, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        """End, in the background, what the server still does for a connection that was given up.

        Args:
            number: the server's number of that connection.
            args: with ``options``, how to reach the same server. An address behind which several servers
                take turns will not do: each counts its connections by itself.
        """
        gevent.spawn(self._kill, number, args, options)

    def _kill(self, number: int, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        def kill() -> None:
            with contextlib.closing(Plain(*args, **options | KILL_WITHIN)) as helper:
                helper.query(b"KILL %d" % number)

        with self._slots:
            _, error = self.begin(kill).get()
        if error is not None and error.args[:1] != (NO_SUCH_THREAD,):
            log.warning("the query of connection %d was not killed: %s", number, error)


class Rows:
    """A result that was not all there at first: its rows come through a thread, or in small portions.

    Args:
        connection: the ``mysql_gevent.Connection`` it belongs to.
        result: mysqlclient's result.
        stored: its rows are in memory; else they are still to be read from the server.
    """

    def __init__(self, connection: Any, result: Any, stored: bool) -> None:
        self._connection = connection
        self._result = result
        self._stored = stored
        self._unread = not stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._result, name)

    def fetch_row(self, maxrows: int = 1, how: int = 0) -> tuple[Any, ...]:
        """Return at most ``maxrows`` rows (0: all) as mysqlclient does."""
        if not self._stored:
            rows: tuple[Any, ...] = self._connection.read(self._result.fetch_row, maxrows, how)
            self._unread = 0 < maxrows <= len(rows)
            return rows
        taken: list[Any] = []
        wanted = maxrows or self._result.num_rows()
        while part := self._result.fetch_row(min(ROWS, wanted), how) if wanted else ():
            taken += part
            wanted -= len(part)
            gevent.sleep(0)
        return tuple(taken)

    def discard(self) -> None:
        """Read and forget the rest, if there is any. A lost connection is no error: the next query tells it."""
        if self._unread:
            self._unread = False
            with contextlib.suppress(OperationalError):
                self._connection.read(self._result.discard)

    def __del__(self) -> None:
        if self._unread:  # to free the result is to read the rest of it; on a closed connection there is none
            self._connection.give_up()


_workers: WeakKeyDictionary[Any, Worker] = WeakKeyDictionary()


def worker() -> Worker:
    """Return what belongs to the hub of the calling thread."""
    hub = gevent.get_hub()
    return _workers.get(hub) or _workers.setdefault(hub, Worker(hub))


def _peek(socket: _socket.socket) -> bytes:
    try:
        return socket.recv(PEEK, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
    except OSError:
        return b""  # nothing yet, or broken, which reading will tell


def _outcome(call: Callable[..., Any], args: Any, options: Any) -> tuple[Any, Exception | None]:
    try:
        return call(*args, **options), None
    except Exception as error:  # handed over: what a thread raises, gevent prints as well
        return None, error
