"""A small website of the tester's own, to be watched."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"fine\n")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def website(port: int = 0, address: str = "127.0.0.1") -> Iterator[int]:
    """Serve a page at an address of this machine while the block lasts; yields the port."""
    server = http.server.ThreadingHTTPServer((address, port), _Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
