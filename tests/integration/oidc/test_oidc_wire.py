"""How the issuer is asked: over TLS that is verified, and without holding up the other requests of a worker."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import cloudeye

# Asks while a counter runs; under gevent the counter goes on meanwhile, or else the hub was held.
ASK = """
import sys
if sys.argv[2] == "gevent":
    from gevent import monkey
    monkey.patch_all()
import threading, time
from cloudeye.services import oidc_provider
ticks = 0
def count():
    global ticks
    while True:
        time.sleep(0.01)
        ticks += 1
threading.Thread(target=count, daemon=True).start()
try:
    print(oidc_provider.ask(sys.argv[1]), ticks)
except oidc_provider.Unavailable as unavailable:
    print("unavailable:", unavailable)
"""
HELD_BACK = 0.5  # seconds


class Handler(BaseHTTPRequestHandler):
    """Answers after a while."""

    def do_GET(self) -> None:
        threading.Event().wait(HELD_BACK)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"path": self.path}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that only those trust who are told to, and its key, in one file."""
    path: Path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=issuer",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{path}.key", "-out", f"{path}.crt"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    path.write_bytes(Path(f"{path}.key").read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture(scope="module")
def address(certificate: Path) -> Iterator[str]:
    """A server that speaks TLS; its address without the host."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    # Shaken hands with in the request's own thread.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f":{server.server_port}/issuer?a=b"
    server.shutdown()
    server.server_close()
    thread.join()


def ask(url: str, how: str, trusted: Path | None) -> str:
    """Ask from a process of its own; return what it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT")}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(cloudeye.__file__).parents[1]), *sys.path])
    if trusted is not None:
        environment["SSL_CERT_FILE"] = f"{trusted}.crt"
    done = subprocess.run(
        [sys.executable, "-c", ASK, url, how], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("how", ["gevent", "threads"])
def test_others_go_on_while_the_issuer_is_asked(address: str, certificate: Path, how: str) -> None:
    answer, _, ticks = ask(f"https://127.0.0.1{address}", how, certificate).rpartition(" ")
    assert answer == "(200, {'path': '/issuer?a=b'})"
    assert int(ticks) >= 5


@pytest.mark.parametrize("how", ["gevent", "threads"])
@pytest.mark.parametrize(("host", "trusting"), [("127.0.0.1", False), ("localhost", True)])
def test_an_issuer_that_cannot_be_told_from_another_is_not_asked(
    address: str, certificate: Path, how: str, host: str, trusting: bool
) -> None:
    said = ask(f"https://{host}{address}", how, certificate if trusting else None)
    assert said.startswith(f"unavailable: {host}:")
    assert "certificate verify failed" in said
