"""The line before the pool of database connections: who has waited longest is next.

SQLAlchemy's own queue wakes whoever waits, but whoever asks before they run takes what they were woken for, and they
go to the end of the line. When many wait, some then do so until they are told that the server is busy, while others
never wait at all. Here a connection that comes back is handed to the first in the line.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util.queue import Empty, Full, QueueCommon

if TYPE_CHECKING:
    _Queue = QueueCommon[ConnectionPoolEntry]
else:
    _Queue = QueueCommon


class _Turn:
    """One who waits, for whom a lock is opened when something was handed over."""

    def __init__(self) -> None:
        self.entry: ConnectionPoolEntry | None = None
        self.come = threading.Lock()
        self.come.acquire()


class Line(_Queue):
    """What SQLAlchemy's pools keep their free connections in, in its own terms (``sqlalchemy.util.queue``).

    Args:
        maxsize: so many are kept; any number where it is not above 0.
        use_lifo: hand out first what came back last.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        self.maxsize, self.use_lifo = maxsize, use_lifo
        self._lock = threading.Lock()
        self._free: deque[ConnectionPoolEntry] = deque()  # empty while anybody waits
        self._waiting: deque[_Turn] = deque()

    def put(self, item: ConnectionPoolEntry, block: bool = True, timeout: float | None = None) -> None:
        """Hand an entry to the first in the line, or keep it.

        Raises:
            Full: nobody waits, and as many as may be are kept; whether to block is not looked at.
        """
        with self._lock:
            if self._waiting:
                turn = self._waiting.popleft()
                turn.entry = item
                turn.come.release()
            elif 0 < self.maxsize <= len(self._free):
                raise Full
            else:
                self._free.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> ConnectionPoolEntry:
        """Take an entry.

        Args:
            block: wait for one where there is none.
            timeout: so many seconds; None for ever.

        Raises:
            Empty: there is none, or none came in time.
        """
        with self._lock:
            if self._free:
                return self._free.pop() if self.use_lifo else self._free.popleft()
            if not block:
                raise Empty
            turn = _Turn()
            self._waiting.append(turn)
        try:
            turn.come.acquire(timeout=-1 if timeout is None else timeout)
        except BaseException:
            # A greenlet was killed while it waited, and cannot use what it may have been handed just then.
            self._leave(turn)
            if turn.entry is not None:
                self.put(turn.entry)
            raise
        self._leave(turn)
        if turn.entry is None:
            raise Empty
        return turn.entry

    def _leave(self, turn: _Turn) -> None:
        with self._lock:
            if turn.entry is None:
                self._waiting.remove(turn)

    def put_nowait(self, item: ConnectionPoolEntry) -> None:
        """Hand over or keep an entry."""
        self.put(item)

    def get_nowait(self) -> ConnectionPoolEntry:
        """Take an entry, if there is one."""
        return self.get(block=False)

    def qsize(self) -> int:
        """Return how many are kept."""
        return len(self._free)

    def empty(self) -> bool:
        """Tell whether none is kept."""
        return not self._free

    def full(self) -> bool:
        """Tell whether no more are kept."""
        return 0 < self.maxsize <= len(self._free)


class Pool(QueuePool):
    """SQLAlchemy's pool with that line before it."""

    _queue_class = Line
