"""The lines of the access log."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]

from cloudeye.gunicorn_logs import Logger
from cloudeye.logs import DETAILS

ANSWER = SimpleNamespace(status="200 OK", sent=7)
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("APP_INSTANCE", "api-8001-0")
    config = Config()
    config.set("accesslog", str(tmp_path / "access.log"))
    return Logger(config)


def line(log: Any, environ: dict[str, Any]) -> dict[str, Any]:
    log.access(ANSWER, None, {"REQUEST_METHOD": "GET", "PATH_INFO": "/", **environ}, timedelta(milliseconds=1.234))
    text = Path(log.cfg.accesslog).read_bytes()
    assert text.isascii()
    assert text.count(b"\n") == 1
    told: dict[str, Any] = json.loads(text)
    return told


def test_a_line_says_what_was_asked_and_answered(log: Any) -> None:
    details = {"request_id": "0123456789abcdef", "user_id": 7, "route": "/api/v1/sites/<id:site_id>"}
    told = line(log, {"PATH_INFO": "/api/v1/sites/1", "REMOTE_ADDR": "198.51.100.1", DETAILS: details})
    del told["time"], told["pid"]
    assert told == {
        "level": "info",
        "process": "api-8001-0",
        "logger": "gunicorn.access",
        "message": "request",
        "method": "GET",
        "path": "/api/v1/sites/1",
        "status": 200,
        "duration_ms": 1.23,
        "bytes": 7,
        "address": "198.51.100.1",
        **details,
    }


def test_what_was_no_request_has_a_line_too(log: Any) -> None:
    told = line(log, {"REQUEST_METHOD": None, "PATH_INFO": None})
    assert (told["method"], told["route"], told["request_id"], told["user_id"]) == (None, None, None, None)


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("PATH_INFO", f"/verify/{TOKEN}", "/verify/eyJ***"),
        ("PATH_INFO", "/people/somebody@example.com", "/people/s***@example.com"),
        ("REQUEST_METHOD", TOKEN, "eyJ***"),
        ("PATH_INFO", "/\u2028".encode().decode("latin-1"), "/\u2028"),  # some readers take it for the end of a line
    ],
)
def test_nothing_that_a_client_sends_leaks_a_secret_or_ends_a_line(
    log: Any, name: str, value: str, written: str
) -> None:
    told = line(log, {name: value})
    assert told["path" if name == "PATH_INFO" else "method"] == written


def test_the_lines_of_one_turn_of_the_loop_are_written_together(log: Any) -> None:
    path, soon = Path(log.cfg.accesslog), list[Any]()
    log.gather(soon.append)
    for _ in range(3):
        log.access(ANSWER, None, {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, timedelta(0))
    assert (path.read_bytes(), len(soon)) == (b"", 1)

    soon.pop()()
    log.access(ANSWER, None, {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, timedelta(0))

    assert (path.read_bytes().count(b"\n"), len(soon)) == (3, 1)
    log.flush()
    assert path.read_bytes().count(b"\n") == 4
    soon.pop()()  # nothing is left for it
    assert path.read_bytes().count(b"\n") == 4
