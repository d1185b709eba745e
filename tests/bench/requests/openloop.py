"""An open loop: requests at a fixed rate, whether or not those before were answered. `python -m ...openloop PLAN`.

PLAN is JSON, see `Plan`. A request has a time at which it is due; its latency counts from then, also when it had to
wait because every connection was taken or because this process was late. So a server that stalls is charged for every
request that would have come meanwhile: there is no coordinated omission, and nothing to be corrected for it (G. Tene,
"How NOT to Measure Latency"). At the end a line of JSON with what came of it appears on standard output. At SIGTERM the
rest of the plan is left out.

One process on raw sockets, with prepared bytes: a few tens of microseconds of a core for each request, the same for
every contestant. How late it sent is among the figures (`late_p99`).
"""

from __future__ import annotations

import dataclasses
import gc
import json
import select
import signal
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass

MOST = 1024  # connections
AT_FIRST = 64  # of them, before the first request is due
CHUNK_END = b"\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Plan:
    """What to send, how often a second, for how many seconds, and which status is an answer.

    `address` is of loopback or of a host that a test made.
    """

    port: int
    request: str
    status: int
    rate: float
    seconds: float
    patience: float = 2.0  # seconds that an answer may take after the last request was due
    address: str = "127.0.0.1"

    def __post_init__(self) -> None:
        assert self.address.startswith(("127.", "198.18.0.")), "only loopback and this machine's test hosts"


@dataclass(frozen=True)
class Latencies:
    """What came of it, times in milliseconds."""

    rate: float
    answered: int
    errors: dict[str, int]
    p50: float
    p99: float
    max: float
    late_p99: float  # from when a request was due until it was sent
    connections: int


def rank(ordered: list[float], share: float) -> float:
    """The nearest-rank percentile of sorted values; 0 of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def is_whole(data: bytes | bytearray) -> bool:
    """Whether an answer has come in full (RFC 9112, section 6)."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(data[:end]).lower()
    place = head.find(b"\r\ncontent-length:")
    if place >= 0:
        length = int(head[place + 17 :].partition(b"\r\n")[0])
        return len(data) >= end + 4 + length
    if b"\r\ntransfer-encoding: chunked" in head:
        return data.endswith(CHUNK_END)
    return head[9:12] in (b"204", b"304")


def _is_last(data: bytearray) -> bool:
    """Whether the server says that it hangs up after this answer (RFC 9112, section 9.6)."""
    return b"\r\nconnection: close" in data[: data.find(b"\r\n\r\n")].lower()


class _Connection:
    """One connection: connecting, idle, or waiting for the answer to a request that was due at a time."""

    def __init__(self, address: str, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex((address, port))
        self.due: float | None = None
        self.connected = False
        self.data = bytearray()


class OpenLoop:
    """One run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._request = plan.request.encode("latin-1")
        self._status = b" %d " % plan.status
        self._poll = select.epoll()
        self._all: dict[int, _Connection] = {}
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[float] = deque()
        self._seconds: list[float] = []
        self._late: list[float] = []
        self._errors: Counter[str] = Counter()
        self._opened = 0
        self._total = max(1, int(plan.rate * plan.seconds))
        self._sent = 0

    def stop(self) -> None:
        """Ask for nothing more."""
        self._total = self._sent

    def run(self) -> Latencies:
        """Send everything, and wait for what is still to come."""
        try:
            self._loop()
        finally:
            for connection in self._all.values():
                connection.socket.close()
            self._poll.close()
        under_way = sum(1 for connection in self._all.values() if connection.due is not None)
        if missing := under_way + len(self._waiting):
            self._errors["unanswered"] += missing
        self._seconds.sort()
        self._late.sort()
        times = [rank(self._seconds, share) for share in (0.5, 0.99, 1.0)] + [rank(self._late, 0.99)]
        p50, p99, longest, late = (round(1000 * seconds, 2) for seconds in times)
        return Latencies(self.plan.rate, len(self._seconds), dict(self._errors), p50, p99, longest, late, self._opened)

    def _loop(self) -> None:
        rate = self.plan.rate
        for _ in range(AT_FIRST):
            self._open()
        start = time.perf_counter() + 0.05
        while self._sent < self._total or self._waiting or len(self._idle) < len(self._all):
            now = time.perf_counter()
            end = start + self._total / rate + self.plan.patience
            if now > end:
                return
            while self._sent < self._total and start + self._sent / rate <= now:
                self._waiting.append(start + self._sent / rate)
                self._sent += 1
            self._send_waiting()
            until = start + self._sent / rate if self._sent < self._total else end
            for number, events in self._poll.poll(max(0.0, min(until - time.perf_counter(), 0.05))):
                if (connection := self._all.get(number)) is not None:
                    self._happened(connection, events)

    def _open(self) -> None:
        connection = _Connection(self.plan.address, self.plan.port)
        self._all[connection.socket.fileno()] = connection
        self._opened += 1
        self._poll.register(connection.socket, select.EPOLLIN | select.EPOLLOUT)

    def _send_waiting(self) -> None:
        while self._waiting and self._idle:
            connection = self._idle.popleft()  # all in turn, as clients of their own would
            connection.due = self._waiting.popleft()
            self._late.append(time.perf_counter() - connection.due)
            try:
                connection.socket.send(self._request)  # it is short: the kernel takes all of it
            except OSError as error:
                self._lose(connection, error)
        connecting = sum(1 for connection in self._all.values() if not connection.connected) if self._waiting else 0
        for _ in range(min(len(self._waiting) - connecting, MOST - len(self._all))):
            self._open()

    def _happened(self, connection: _Connection, events: int) -> None:
        try:
            if not connection.connected:
                if failed := connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(failed, "connect")
                connection.connected = True
                self._poll.modify(connection.socket, select.EPOLLIN)
                self._idle.append(connection)
                return
            part = connection.socket.recv(262_144)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(connection, error)
            return
        if not part:
            self._lose(connection, None)
            return
        connection.data += part
        if connection.due is None or not is_whole(connection.data):
            return
        if self._status in connection.data[:16]:
            self._seconds.append(time.perf_counter() - connection.due)
        else:
            self._errors[f"status {bytes(connection.data[9:12]).decode('latin-1')}"] += 1
        connection.due = None
        if _is_last(connection.data):
            self._lose(connection, None)
            return
        connection.data.clear()
        self._idle.append(connection)

    def _lose(self, connection: _Connection, error: OSError | None) -> None:
        """A connection is gone: an error where something was asked on it or it was refused, else the server's right."""
        if connection.due is not None or not connection.connected:
            self._errors[type(error).__name__ if error else "closed"] += 1
        if connection in self._idle:
            self._idle.remove(connection)
        del self._all[connection.socket.fileno()]
        connection.socket.close()


def main(plan: str) -> None:
    """Run a plan; nothing but the figures is printed."""
    gc.disable()
    loop = OpenLoop(Plan(**json.loads(plan)))
    signal.signal(signal.SIGTERM, lambda number, frame: loop.stop())
    print(json.dumps(dataclasses.asdict(loop.run())))


if __name__ == "__main__":
    main(sys.argv[1])
