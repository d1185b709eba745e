"""The watch of a release: the log it reads, across rotations, and what it calls worse."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.access_log import AccessLog, parse
from deploy.stack import StackError, load, set_layer
from deploy.steps import ReleaseError
from deploy.watch import Tally, Traffic, worse

NOW = 1_767_268_800.0
LIMITS = load("host")["releases"]


def line(status: int = 200, seconds: str = "0.010", at: float = NOW, upstream: str = "127.0.0.1:8001") -> bytes:
    entry = {
        "time": datetime.fromtimestamp(at, UTC).isoformat(),
        "status": status,
        "upstream": upstream,
        "upstream_status": str(status),
        "upstream_seconds": seconds,
    }
    return json.dumps(entry).encode() + b"\n"


@pytest.fixture
def stack(tmp_path: Path) -> dict[str, Any]:
    values = [f"paths.nginx_log={tmp_path}", "releases.watch_seconds=2", "releases.watch_requests=20"]
    return load("host", layers=[set_layer(values)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloudeye.access.log"


def write(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(lines))


def rotate(path: Path, name: str = "") -> None:
    os.rename(path, path.with_name(name or f"{path.name}.1"))
    path.touch()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (line(), (NOW, False, 0.01)),
        (line(502, "0.001, 0.002"), (NOW, True, 0.003)),
        (line(200, "-, 0.5"), (NOW, False, 0.5)),
        (line(504, "0.25 : 0.25, -"), (NOW, True, 0.5)),
        (line(200, "", upstream=""), (NOW, False, None)),
        (line(404, "", upstream=""), (NOW, False, None)),
        (line(503), (NOW, True, 0.01)),
        (line(503, "", upstream=""), None),  # maintenance: nginx's own 503
        (b'{"time":"2026-01-01T12:00:00+00:00","status":000,"upstr', None),
        (b"[]\n", None),
        (b"\xff\xfe\n", None),
    ],
)
def test_a_line_says_how_a_request_ended(text: bytes, wanted: object) -> None:
    assert parse(text) == wanted


def test_only_what_comes_after_the_beginning_is_new(path: Path, stack: dict[str, Any]) -> None:
    write(path, line(500), line(500))
    log = AccessLog(stack)
    assert list(log.new()) == []
    write(path, line(201, "0.5"), line()[:20])
    assert [request.seconds for request in log.new()] == [0.5]
    write(path, line()[20:], line(500))
    assert [request.failed for request in log.new()] == [False, True]
    assert list(log.new()) == []


@pytest.mark.parametrize("name", ["", "cloudeye.access.log-20260101"])  # Debian's way and that of EL
def test_what_is_written_around_rotations_is_read_once(path: Path, stack: dict[str, Any], name: str) -> None:
    write(path, line())
    log = AccessLog(stack)
    write(path, line(seconds="1"))
    rotate(path, name)
    write(path, line(seconds="2"))
    assert [request.seconds for request in log.new()] == [1, 2]
    write(path, line(seconds="3"))
    rotate(path, "cloudeye.access.log.0")
    rotate(path, "cloudeye.access.log-20260102")
    write(path, line(seconds="4"))
    assert [request.seconds for request in log.new()] == [3, 4]


def test_a_log_that_comes_into_being_or_is_emptied_is_read_from_its_start(path: Path, stack: dict[str, Any]) -> None:
    log = AccessLog(stack)
    assert list(log.new()) == []
    write(path, line(), line())
    assert len(list(log.new())) == 2
    os.truncate(path, 0)
    write(path, line())
    assert len(list(log.new())) == 1


def test_the_minutes_before_are_read_backwards_and_across_a_rotation(path: Path, stack: dict[str, Any]) -> None:
    write(path, *(line(at=NOW + second, seconds=str(second)) for second in range(1000)))
    rotate(path)
    write(path, *(line(at=NOW + second, seconds=str(second)) for second in range(1000, 1100)))
    log = AccessLog(stack)
    write(path, line(at=NOW + 1100))
    rotate(path, "cloudeye.access.log.0")
    write(path, line(at=NOW + 1101))
    assert [request.seconds for request in log.before(NOW + 799, NOW + 2000, 10_000)] == list(range(1099, 798, -1))
    assert [request.seconds for request in log.before(NOW, NOW + 2000, 7)] == list(range(1099, 1092, -1))
    # What came while a release was under way counts as neither before nor after.
    assert [request.seconds for request in log.before(NOW, NOW + 1002, 4)] == [1002, 1001, 1000, 999]


def test_there_may_have_been_nothing_before(path: Path, stack: dict[str, Any]) -> None:
    assert list(AccessLog(stack).before(0, NOW, 10)) == []
    path.touch()
    assert list(AccessLog(stack).before(300, NOW, 10)) == []


def tally(seen: int, failed: int, seconds: float = 0.01) -> Tally:
    return Tally(seen, failed, [seconds] * seen)


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        pytest.param(tally(5000, 0), tally(400, 0), "", id="good"),
        pytest.param(tally(5000, 0), tally(400, 20), "20 of 400 failed (5.0 %)", id="5 per cent fail"),
        pytest.param(tally(5000, 250), tally(400, 20), "", id="as many failed before"),
        pytest.param(tally(5000, 0), tally(400, 4), "", id="one per cent is allowed"),
        pytest.param(tally(5000, 0), tally(99, 99), "", id="too few to say"),
        pytest.param(tally(0, 0), tally(400, 20), "too few requests (0)", id="nothing before"),
        pytest.param(tally(10, 5), tally(400, 20), "too few requests (10)", id="too few before"),
        pytest.param(tally(5000, 0, 0.2), tally(400, 0, 0.7), "p95 700 ms; before: 0 of 5000", id="slower"),
        pytest.param(tally(5000, 0, 0.2), tally(400, 0, 0.5), "", id="somewhat slower"),
        pytest.param(tally(5000, 0, 0.001), tally(400, 0, 0.2), "", id="slower, but below the floor"),
        pytest.param(tally(10, 0, 0.001), tally(400, 0, 5), "", id="slow, with nothing to hold it against"),
    ],
)
def test_what_is_worse(before: Tally, now: Tally, verdict: str) -> None:
    said = worse(before, now, LIMITS)
    assert (verdict in said) if verdict else not said


def test_p95_is_the_time_of_the_nearest_rank() -> None:
    assert Tally(20, 0, [second / 1000 for second in range(1, 21)]).p95 == 19
    assert Tally(1, 0, [0.5]).p95 == 500


class Visitors:
    """Writes lines as nginx would, until the block ends."""

    def __init__(self, path: Path, status: int) -> None:
        self._path, self._status, self._end = path, status, threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._end.wait(0.01):
            write(self._path, line(self._status, at=time.time()))


def test_a_watch_that_finds_it_worse_says_the_figures_and_ends_early_when_it_is_gross(
    path: Path, stack: dict[str, Any]
) -> None:
    write(path, *(line(at=time.time() - 10) for _ in range(50)))
    stack["releases"]["watch_seconds"] = 60
    traffic = Traffic(stack)
    started = time.monotonic()
    with Visitors(path, 500), pytest.raises(ReleaseError, match=r"failed \(100.0 %\).*before: 0 of 50 failed"):
        traffic.watch(print)
    assert time.monotonic() - started < 30
    assert traffic.count()["failed"] == traffic.count()["seen"] > 20


def test_a_watch_of_good_requests_and_one_of_none_pass(path: Path, stack: dict[str, Any]) -> None:
    said: list[str] = []
    quiet = Traffic(stack)
    quiet.watch(said.append)
    assert said[0].startswith("0 of 0 failed")
    with Visitors(path, 200):
        traffic = Traffic(stack)
        traffic.watch(said.append)
    assert "0.0 %" in said[-1]
    assert traffic.count()["failed"] == 0


def test_the_limits_of_a_watch_are_checked() -> None:
    assert load("host", layers=[set_layer(["releases.watch_seconds=0"])])["releases"]["watch_seconds"] == 0
    assert load("host", layers=[set_layer(["releases.watch_errors=0.5"])])["releases"]["watch_errors"] == 0.5
    with pytest.raises(StackError, match="watch_requests"):
        load("host", layers=[set_layer(["releases.watch_requests=0"])])
