"""A site on loopback whose owner has control of it: it shows whatever token it was given."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from cloudeye.services.findings.control import PATH


class ProofServer:
    """Serves the token from a thread of its own, so that who asks may stand still meanwhile."""

    def __init__(self) -> None:
        self.token = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.token_of = lambda: self.token  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> ProofServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = cast(Any, self.server).token_of().encode() if self.path == PATH else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""
