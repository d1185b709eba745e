"""A website of a test: pages by path, over TLS or not, and a note of each request that it got."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gevent import socket

from tests.unit.cloudeye.playback import read_request, tcp_server


@dataclass(frozen=True)
class Request:
    """What somebody asked for; header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """What they get."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


Answering = Callable[[Request], Reply | None]
NOT_FOUND = Reply(b"<title>Not found</title>", 404, (("Content-Type", "text/html"),))


@dataclass
class Website:
    """Answers by `pages`, else by `otherwise`, else with 404; every answer gets `headers` as well."""

    pages: dict[str, Reply] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    otherwise: Answering = lambda request: None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def handle(self, sock: socket.socket) -> None:
        lines = read_request(sock).decode("latin-1").split("\r\n")
        if len(lines[0].split(" ")) != 3:
            return
        method, path, _ = lines[0].split(" ")
        pairs = (line.partition(":") for line in lines[1:] if line)
        request = Request(method, path, {name.lower(): value.strip() for name, _, value in pairs})
        self.requests.append(request)
        reply = self.pages.get(path) or self.otherwise(request) or NOT_FOUND
        given = {name.lower() for name, _ in reply.headers}
        headers = [*reply.headers, *(item for item in self.headers if item[0].lower() not in given)]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        head = f"HTTP/1.1 {reply.status} X\r\n{head}Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode("latin-1") + reply.body)

    @contextmanager
    def served(self, tls: ssl.SSLContext | None = None) -> Iterator[int]:
        with tcp_server(self.handle, tls) as port:
            self.port = port
            yield port


WELL_KEPT = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; frame-ancestors 'none'"),
    ("Strict-Transport-Security", "max-age=63072000; includeSubDomains; preload"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Permissions-Policy", "camera=(), geolocation=()"),
    ("Server", "nginx"),
)
FRONT = (
    b"<!doctype html><html><head><title>Example</title><script src='/a.js'></script></head><body>Hello</body></html>"
)


def speaking(context: ssl.SSLContext, lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> ssl.SSLContext:
    """Let a server speak these versions, whatever the machine's policy says of them."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = lowest, highest
    return context
