"""What gunicorn writes down, with its settings of gunicorn.conf.py, while secrets pass through it in every way."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.derive import settings as settings_of
from deploy.stack import load
from tests.integration.world import PASSWORD, World
from tests.ports import free_port

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3Iiwicm9sZSI6ImFkbWluIn0.c2lnbmF0dXJlLW9mLWEtdG9rZW4"
KEY = "ce_abcdefgh1234_" + "Qx7_-" * 8 + "Qx7"
ONE_TIME = "pZ4kq0-2fJx_9vQpZ4kq0-2fJx_9vQ0123456789abc"
ADDRESS = "somebody.long@example.com"
HUSH = "correct horse battery staple"
SECRETS = (TOKEN, TOKEN.split(".")[2], KEY, KEY[-30:], ONE_TIME, ADDRESS, "somebody.long%40", HUSH, "horse battery")

# The application with one more view, which fails in the ways in which code fails: with what it was given in its words.
FAULTY = """
import logging, warnings
import gevent
from flask import request
from cloudeye.wsgi import app

@app.route("/fail/<path:rest>", methods=["GET", "POST"])
def fail(rest):
    given = f"{rest} {dict(request.headers)} {request.args.to_dict()} {request.get_json(silent=True)}"
    logging.getLogger("somebody").warning("asked with %s", given, extra={"given": dict(request.headers)})
    warnings.warn(given)
    gevent.spawn(int, given)
    gevent.sleep(0)
    raise RuntimeError(given + "\\nand a second line")
"""


@dataclass
class Served:
    """A running instance and its logs."""

    client: httpx.Client
    port: int
    master: subprocess.Popen[bytes]
    output: Path
    access: Path

    def lines(self) -> list[dict[str, Any]]:
        """Every line of both logs; each must be JSON."""
        text = self.output.read_text() + self.access.read_text()
        return [json.loads(line) for line in text.splitlines()]

    def access_line(self, request_id: str) -> dict[str, Any]:
        """The line about one request; it is written when the answer has been sent."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = [json.loads(line) for line in self.access.read_text().splitlines() if request_id in line]
            if found:
                assert len(found) == 1
                return dict(found[0])
            time.sleep(0.05)
        raise AssertionError(f"no line about {request_id}")


@pytest.fixture
def served(world: World, tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "faulty.py").write_text(FAULTY)
    port = free_port()
    environment = {
        **os.environ,
        **settings_of(load("test")),
        **world.settings,
        "APP_WSGI": "faulty:app",
        "APP_INSTANCE": "api-18001-0",
        "GUNICORN_RUN_DIR": str(tmp_path),
        "GUNICORN_LOG_DIR": str(tmp_path),
        "GUNICORN_LOGLEVEL": "debug",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(tmp_path), *sys.path]),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "-b", f"127.0.0.1:{port}"]
    with (tmp_path / "output").open("wb") as output:
        master = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=ROOT / "src")
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
    made = Served(client, port, master, tmp_path / "output", tmp_path / "api-18001.access.log")
    try:
        end = time.monotonic() + 30
        while True:
            try:
                if client.get("/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert time.monotonic() < end, made.output.read_text()[-3000:]
            time.sleep(0.1)
        yield made
    finally:
        client.close()
        master.terminate()
        master.wait(30)


def test_a_request_is_one_line_that_says_who_asked_for_what_and_how_long_it_took(served: Served, world: World) -> None:
    body = {"email": "owner@example.com", "password": PASSWORD}
    token = served.client.post("/api/v1/auth/login", json=body).json()["data"]["access_token"]
    answer = served.client.get("/api/v1/sites?per_page=5", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    line = served.access_line(answer.headers["X-Request-ID"])
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/sites", 200)
    assert line["route"].rstrip("/") == "/api/v1/sites"
    assert (line["user_id"], line["process"]) == (world.ids["owner"], "api-18001-0")
    assert line["duration_ms"] > 0
    assert line["bytes"] == len(answer.content)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_an_unexpected_error_is_told_with_its_trace_under_the_id_of_its_request(served: Served) -> None:
    answer = served.client.get("/fail/now")
    assert answer.status_code == 500
    assert "Traceback" not in answer.text
    about = [line for line in served.lines() if line.get("request_id") == answer.headers["X-Request-ID"]]
    assert [line for line in about if "RuntimeError" in line.get("trace", "")]
    assert served.access_line(answer.headers["X-Request-ID"])["status"] == 500


def raw(port: int, request: bytes) -> None:
    """Send what no client library would."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        connection.recv(65536)


def test_no_line_of_any_log_holds_a_token_a_password_or_a_whole_address(served: Served) -> None:
    before = len(served.lines())
    client = served.client
    body = {
        "email": ADDRESS,
        "username": ADDRESS,
        "password": HUSH,
        "new_password": HUSH,
        "token": ONE_TIME,
        "key": KEY,
    }
    query = {"email": ADDRESS, "token": TOKEN, "password": HUSH, "api_key": KEY}
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "X-API-Key": KEY,
        "Cookie": f"session={ONE_TIME}; csrf={TOKEN}",
        "Referer": f"https://example.com/?token={ONE_TIME}&email={ADDRESS}",
        "User-Agent": f"{ADDRESS} {TOKEN}",
        "X-Request-ID": KEY[:60],
    }
    paths = [
        "/",
        "/api/v1/users",
        "/api/v1/auth/login",
        "/api/v1/auth/register",
        "/api/v1/sites",
        "/fail/here",
        "/none",
    ]
    paths += [f"{path.rstrip('/')}/{part}" for path in paths for part in (TOKEN, KEY, ONE_TIME, ADDRESS, f"{KEY}/x")]
    asked = 0
    for path in paths:
        for method in ("GET", "POST"):
            for given in (headers, {**headers, "Authorization": "Basic c29tZWJvZHk6Y29ycmVjdCBob3JzZQ=="}):
                client.request(method, path, params=query, headers=given, json=body)
                asked += 1
    client.post("/api/v1/auth/login", headers=headers, content=f'{{"password": "{HUSH}", "email": "{ADDRESS}"')
    raw(served.port, f"GET /?token={TOKEN}&email={ADDRESS} HTTP/9.9\r\nCookie: a={ONE_TIME}\r\n\r\n".encode())
    raw(served.port, f"GET / HTTP/1.1\r\nAuthorization Bearer {TOKEN}\r\n\r\n".encode())
    raw(served.port, f"G@T /{ADDRESS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    served.master.send_signal(signal.SIGUSR1)
    served.master.terminate()
    served.master.wait(30)
    lines = served.lines()
    assert len(lines) - before > asked, "there is a line for each request, and more for the failures"
    text = served.output.read_text() + served.access.read_text()
    for secret in SECRETS:
        leaking = [line for line in text.splitlines() if secret in line]
        assert leaking == [], f"{secret} stands in {len(leaking)} lines, first: {leaking[0][:2000]}"
    loggers = {line["logger"] for line in lines}
    assert loggers >= {"gunicorn.access", "gunicorn.error", "cloudeye.errors", "somebody", "py.warnings", "cloudeye"}


def test_a_signal_to_reopen_loses_nothing_and_a_renamed_log_is_followed_by_another(served: Served) -> None:
    for _ in range(3):
        served.access.rename(f"{served.access}.{time.monotonic_ns()}")
        served.master.send_signal(signal.SIGUSR1)
        ids = [served.client.get("/ping").headers["X-Request-ID"] for _ in range(5)]
        for request_id in ids:
            served.access_line(request_id)
    assert len(list(served.access.parent.glob("api-18001.access.log*"))) == 4
