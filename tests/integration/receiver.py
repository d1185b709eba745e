"""A webhook's receiver of the tests' own, which can be told to refuse, and to stall."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent import socket

from tests.unit.cloudeye.playback import read_request, tcp_server

ACCEPTED = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True)
class Delivery:
    """One request that arrived whole."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float  # by the monotonic clock

    @property
    def name(self) -> str:
        """What tells this message from others."""
        return self.headers.get("webhook-id", "")

    @property
    def said(self) -> dict[str, Any]:
        """What it says."""
        said: dict[str, Any] = json.loads(self.body)
        return said


@dataclass
class Receiver:
    """What arrived, and how it is answered: by default with 204. An empty answer hangs up, None never answers."""

    port: int = 0
    deliveries: list[Delivery] = field(default_factory=list)
    answer: Callable[[Delivery], bytes | None] = lambda delivery: ACCEPTED
    open: int = 0
    most_open: int = 0

    def url(self, path: str = "/hook") -> str:
        """Return where it is reached."""
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Delivery]:
        """Return what arrived at a path."""
        return [delivery for delivery in self.deliveries if delivery.path == path]

    def handle(self, sock: socket.socket) -> None:
        """Serve a connection."""
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            head, _, body = read_request(sock).partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            if " " not in first:
                return
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            while len(body) < int(headers.get("content-length", "0")):
                more = sock.recv(65536)
                if not more:
                    return
                body += more
            delivery = Delivery(first.split(" ")[1], headers, body, time.monotonic())
            self.deliveries.append(delivery)
            said = self.answer(delivery)
            while said is None:
                if not sock.recv(4096):
                    return
                gevent.sleep(0.01)
            sock.sendall(said)
        finally:
            self.open -= 1


def status(number: int, *headers: str) -> bytes:
    """Return an answer without a body."""
    lines = [f"HTTP/1.1 {number} Whatever", "Content-Length: 0", *headers, "", ""]
    return "\r\n".join(lines).encode()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a loopback port, in the test's hub."""
    receiver = Receiver()
    with tcp_server(receiver.handle) as port:
        receiver.port = port
        yield receiver
