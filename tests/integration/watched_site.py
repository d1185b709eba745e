"""A site that plays back what a test wants it to be: up or down, whole or defaced, well or badly kept.

It speaks TLS under a name of its own, on a loopback port, in the hub of the test. Its visitors find its name in a
hosts(5) file and trust its authority through SSL_CERT_FILE.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gevent import socket
from gevent.server import StreamServer

from tests.unit.cloudeye.playback import DAY, NOW, Certificates, read_request

NAME = "shop.example.test"
PAGE = """<!doctype html><html lang="en"><head><title>The shop</title><script src="/shop.js"></script></head>
<body><h1>The shop</h1><p>Fine goods since 1887, sent to any place.</p><p>Visitors so far: {count}</p>
<form action="/order" method="post"><input type="hidden" name="csrf" value="{count:032x}"><button>Order</button></form>
</body></html>"""
FOREIGN_SCRIPT = '<script src="https://cdn.evil.example/skim.js"></script>'
KEPT_WELL = {
    "Content-Type": "text/html; charset=utf-8",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class WatchedSite:
    """What it plays back now; a test sets the attributes.

    Attributes:
        status: of its answers.
        defaced: whether a foreign script stands in its page.
        headers: of its answers.
        asked: how often it was asked so far; also the part of its page that moves.
    """

    def __init__(self, folder: Path) -> None:
        self.status = 200
        self.defaced = False
        self.headers = dict(KEPT_WELL)
        self.asked = 0
        self._certificates = Certificates.make(folder)
        self.hosts_file = folder / "hosts"
        self.hosts_file.write_text(f"127.0.0.1 {NAME}\n")
        self.renew(90 * DAY)
        self._server = StreamServer(("127.0.0.1", 0), self._serve)

    @property
    def ca_file(self) -> str:
        """The certificate of the authority that its own is signed by."""
        return self._certificates.ca_file

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://{NAME}:{self._server.server_port}/"

    def renew(self, left: datetime.timedelta) -> None:
        """Take a certificate that ends so far from now, and began 90 days before its end."""
        self._tls = self._certificates.server(NAME, not_before=NOW + left - 90 * DAY - DAY, not_after=NOW + left)

    @contextmanager
    def open(self) -> Iterator[WatchedSite]:
        """Serve for as long as the block lasts."""
        self._server.start()
        try:
            yield self
        finally:
            self._server.stop(timeout=0)

    def _serve(self, sock: socket.socket, _: object) -> None:
        try:
            with self._tls.wrap_socket(sock, server_side=True) as stream:
                read_request(stream)
                self.asked += 1
                body = PAGE.format(count=self.asked)
                if self.defaced:
                    body = body.replace("</body>", f"{FOREIGN_SCRIPT}</body>")
                head = [f"HTTP/1.1 {self.status} Answer", *(f"{name}: {value}" for name, value in self.headers.items())]
                stream.sendall("\r\n".join([*head, f"Content-Length: {len(body.encode())}", "", body]).encode())
        except OSError:
            pass  # a visitor that is killed hangs up
