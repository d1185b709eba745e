"""`stack logs`: one stream in the order of time, that a rotation neither breaks nor doubles."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy import logs
from deploy.logfiles import Line, LogFile, time_of
from deploy.stack import StackError, load, set_layer

BASE = 1_790_000_000.0


def entry(second: float, message: str) -> str:
    told = datetime.fromtimestamp(BASE + second, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": told, "message": message})


def write(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


def texts(lines: Any) -> list[str]:
    return [json.loads(line.text)["message"] if line.text.startswith("{") else line.text for line in lines]


@pytest.fixture
def stack(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "nginx").mkdir()
    (tmp_path / "log").mkdir()
    paths = [f"paths.log={tmp_path}/log", f"paths.nginx_log={tmp_path}/nginx"]
    return load("host", layers=[set_layer(paths)])


@pytest.fixture
def folder(stack: dict[str, Any]) -> Path:
    return Path(stack["paths"]["log"])


def shown(stack: dict[str, Any], *names: str, lines: int | None = 100, since: float | None = None) -> list[str]:
    return texts(logs.Logs(stack, names, nginx=False).shown(lines=lines, since=since))


def test_lines_of_several_logs_come_in_the_order_of_time(stack: dict[str, Any], folder: Path) -> None:
    write(folder / "sync.log", entry(2, "b"), entry(5, "e"))
    write(folder / "api-8001-0.log", entry(1, "a"), entry(4, "d"))
    write(folder / "api-8001.access.log", entry(3, "c"))
    assert shown(stack) == ["a", "b", "c", "d", "e"]
    assert shown(stack, lines=2) == ["d", "e"]
    assert shown(stack, since=BASE + 3, lines=None) == ["c", "d", "e"]


def test_a_group_means_its_processes_and_its_access_log(stack: dict[str, Any], folder: Path) -> None:
    for name in ("sync", "api-8001-0", "api-8001-1", "api-8001.access", "api-80010-0"):
        write(folder / f"{name}.log", entry(0, name))
    assert sorted(shown(stack, "api-8001")) == ["api-8001-0", "api-8001-1", "api-8001.access"]
    assert shown(stack, "api-8001-1") == ["api-8001-1"]
    with pytest.raises(StackError, match="no log of 'api-9' here; there are: api-8001-0,"):
        shown(stack, "api-9")


def test_lines_without_a_time_stay_with_the_line_before(stack: dict[str, Any], folder: Path) -> None:
    write(folder / "sync.log", entry(1, "a"), "Traceback:", "  of a", entry(4, "d"))
    write(folder / "api-8001-0.log", entry(2, "b"), entry(3, "c"))
    assert shown(stack) == ["a", "Traceback:", "  of a", "b", "c", "d"]


def test_the_times_of_supervisord_and_of_nginx_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        expected = datetime(2026, 11, 21, 8, 46, 32, tzinfo=UTC).timestamp()
        assert time_of("2026-11-21 16:46:32,075 INFO spawned") == expected
        assert time_of("2026/11/21 16:46:32 [error] 1#1: refused") == expected
        assert time_of('{"time":"2026-11-21T16:46:32+08:00","status":200}') == expected
    finally:
        monkeypatch.undo()
        time.tzset()


def test_rotated_and_compressed_files_are_read_as_far_as_is_needed(stack: dict[str, Any], folder: Path) -> None:
    (folder / "sync.log.3.gz").write_bytes(b"this is no gzip and need not be read")
    with gzip.open(folder / "sync.log.2.gz", "wt") as file:
        file.write(f"{entry(1, 'a')}\n{entry(2, 'b')}\n")
    write(folder / "sync.log.1", entry(3, "c"))
    write(folder / "sync.log", entry(4, "d"))
    assert shown(stack, lines=3) == ["b", "c", "d"]
    assert shown(stack, since=BASE + 2, lines=None) == ["b", "c", "d"]
    assert shown(stack, since=BASE + 2, lines=1) == ["d"]


def test_nginxs_logs_of_the_site_are_shown_when_asked_for(stack: dict[str, Any], folder: Path) -> None:
    write(folder / "sync.log", entry(1, "a"))
    write(Path(stack["paths"]["nginx_log"], "cloudeye.access.log"), entry(2, "b"))
    write(Path(stack["paths"]["nginx_log"], "another.access.log"), entry(3, "c"))
    assert shown(stack) == ["a"]
    assert texts(logs.Logs(stack, ["sync"], nginx=True).shown(lines=9, since=None)) == ["a", "b"]


def rotate(path: Path) -> None:
    """As logrotate does it: older ones move up, the file is renamed, and a new one made."""
    for number in (3, 2, 1):
        if Path(f"{path}.{number}").exists():
            os.rename(f"{path}.{number}", f"{path}.{number + 1}")
    os.rename(path, f"{path}.1")
    path.touch()


def test_following_goes_on_across_rotations_also_two_between_two_looks(tmp_path: Path) -> None:
    path = tmp_path / "sync.log"
    write(path, entry(0, "before"))
    followed = LogFile(path)
    assert texts(followed.last(5)) == ["before"]
    write(path, entry(1, "a"))
    assert texts(followed.new()) == ["a"]
    with path.open("a", encoding="utf-8") as late:
        rotate(path)
        write(path, entry(2, "b"))
        rotate(path)
        write(path, entry(3, "c"))
        late.write(f"{entry(2, 'written late')}\n")
        late.flush()
        assert texts(followed.new()) == ["written late", "b", "c"]
        late.write(f"{entry(3, 'and later')}\n")
    write(path, entry(4, "d"))
    assert texts(followed.new()) == ["and later", "d"]
    followed.close()


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "sync.log"
    path.write_text("whole\nha", "utf-8")
    followed = LogFile(path)
    assert texts(followed.last(5)) == ["whole"]
    assert followed.new() == []
    write(path, "lf")
    assert texts(followed.new()) == ["half"]
    followed.close()


def test_no_line_is_lost_or_doubled_while_a_writer_writes_and_its_log_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    write(path, "0")
    followed = LogFile(path)
    seen = texts(followed.last(5))

    def work() -> None:
        for number in range(1, 4001):
            with path.open("a") as file:
                file.write(f"{number}\n")
            if number % 400 == 0:
                rotate(path)

    writer = threading.Thread(target=work)
    writer.start()
    while writer.is_alive():
        seen += texts(followed.new())
    seen += texts(followed.new())
    followed.close()
    assert sorted(map(int, seen)) == list(range(4001))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("2026-09-21T13:52:20+00:00", 1060)],
)
def test_since_takes_ages_and_times(text: str, seconds: float) -> None:
    assert logs.moment(text, BASE + 1000) == pytest.approx(BASE + 1000 - seconds)


def test_since_takes_a_time_of_today_and_refuses_anything_else() -> None:
    now = time.time()
    assert logs.moment("0:00", now) <= now < logs.moment("0:00", now) + 90000
    for text in ("yesterday", "10", "10w", "25:00"):
        with pytest.raises(StackError, match="an age such as 10m"):
            logs.moment(text, now)


def test_a_line_for_programs_is_always_json() -> None:
    assert logs.shown(Line(BASE, "sync", entry(0, "a")), 9, as_json=True) == entry(0, "a")
    plain = json.loads(logs.shown(Line(BASE, "supervisord", "spawned"), 9, as_json=True))
    assert (plain["log"], plain["message"]) == ("supervisord", "spawned")
    assert logs.shown(Line(BASE, "sync", "x"), 6, as_json=False) == "sync   | x"
