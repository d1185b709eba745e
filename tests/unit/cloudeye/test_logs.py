"""Log lines: whole, JSON, without secrets, and none lost when somebody renames the file."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudeye.logs import JsonFormatter, LogFile
from cloudeye.masking import mask, mask_path, masked

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
KEY = "ce_abcdefgh1234_" + "Zz09_-" * 7 + "x"


def line_of(message: str, *arguments: object, trace: bool = False, **extra: object) -> dict[str, Any]:
    """What the formatter makes of a record."""
    record = logging.makeLogRecord({"name": "test", "msg": message, "args": arguments, "levelname": "INFO", **extra})
    record.exc_info = sys.exc_info() if trace else None
    text = JsonFormatter("api-8001-0", lambda: {"request_id": "r-1"}).format(record)
    assert len(text.splitlines()) == 1
    made: dict[str, Any] = json.loads(text)
    return made


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        (f"Authorization: Bearer {TOKEN}", "Authorization: ***"),
        ("got Bearer 0123456789abcdef from somebody", "got Bearer *** from somebody"),
        ("Basic b3duZXI6cGFzc3dvcmQ= was sent", "Basic *** was sent"),
        (f"the token {TOKEN} is old", "the token eyJ*** is old"),
        (f"key {KEY} is unknown", "key ce_abcdefgh1234_*** is unknown"),
        ("Cookie: session=abc; other=def\r\nHost: x", "Cookie: ***\r\nHost: x"),
        ("X-API-Key: whatever it is", "X-API-Key: ***"),
        ("password=hunter2&name=x", "password=***&name=x"),
        ("{'password': 'the right password', 'a': 1}", "{'password': ***, 'a': 1}"),
        ('{"refresh_token": "abc", "a": 1}', '{"refresh_token": ***, "a": 1}'),
        ("new_password: secret", "new_password: ***"),
        ("reset_token=None", "reset_token=None"),
        ("alice.smith+list@example.com wrote", "a***@example.com wrote"),
        ("GET /x?email=alice%40example.com", "GET /x?email=a***%40example.com"),
        ("of bo@example.com", "of ***@example.com"),
        ("Duplicate entry 'ann@example.com' for key 'ix'", "Duplicate entry 'a***@example.com' for key 'ix'"),
        ("<Straße@münchen.example>", "<S***@münchen.example>"),
        ("mysql+mysqldb://root:pw@db:3306/x", "mysql+mysqldb://***@db:3306/x"),
        ("redeem pZ4kq0-2fJx_9vQpZ4kq0-2fJx_9vQ0123456789abc now", "redeem *** now"),
        (
            "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd",
            "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd",
        ),
        ("APP_SECRET_KEY_FILE is not set", "APP_SECRET_KEY_FILE is not set"),
        ("a line 12:30 about nothing", "a line 12:30 about nothing"),
    ],
)
def test_what_is_a_secret_by_its_shape_or_its_name_is_hidden(text: str, logged: str) -> None:
    assert mask(text) == logged
    assert line_of(text)["message"] == logged


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/api/v1/sites/17", "/api/v1/sites/17"),
        ("/reset/pZ4kq0-2fJx_9vQpZ4kq0-2fJx_9vQ", "/reset/***"),
        ("/reset/pZ4kq0-2fJx_9vQpZ4kq0-2fJx_9vQ/done", "/reset/***/done"),
        ("/users/ann@example.com", "/users/a***@example.com"),
        (f"/x/{TOKEN}", "/x/eyJ***"),
    ],
)
def test_a_path_is_logged_without_the_tokens_in_it(path: str, logged: str) -> None:
    assert mask_path(path) == logged


def test_secrets_are_hidden_wherever_in_a_line_they_stand() -> None:
    made = line_of(
        "asked with %s",
        {"token": TOKEN, "email": "ann@example.com"},
        password="hunter2",
        given={"headers": [f"Bearer {TOKEN}"], "new_password": "hunter2", KEY: 1},
        error=ValueError("ann@example.com"),
        count=3,
    )
    assert TOKEN not in str(made)
    assert KEY not in str(made)
    assert "hunter2" not in str(made)
    assert "ann@" not in str(made)
    assert (made["count"], made["request_id"], made["process"]) == (3, "r-1", "api-8001-0")


def test_a_trace_is_part_of_its_line_and_holds_no_secret() -> None:
    try:
        raise ValueError(f"cannot do\nwith {TOKEN} of ann@example.com")
    except ValueError:
        made = line_of("unexpected error", trace=True)
    assert "ValueError: cannot do\nwith eyJ*** of a***@example.com" in made["trace"]
    assert "test_logs.py" in made["trace"]


@pytest.mark.parametrize("odd", ["two\nlines", "a\u2028b", "a\x85b", "\udcff", "\x1b[31m", "名字"])
def test_no_character_of_a_client_ends_a_line_early_or_stops_it_from_being_written(odd: str, tmp_path: Path) -> None:
    handler = LogFile(tmp_path / "log")
    handler.setFormatter(JsonFormatter("api"))
    handler.handle(logging.makeLogRecord({"msg": odd}))
    handler.close()
    text = (tmp_path / "log").read_bytes()
    assert text.count(b"\n") == 1
    assert json.loads(text)["message"] == odd


def test_only_text_is_masked() -> None:
    assert masked([1, 2.5, True, None, "bo@x.org", ("a",)]) == [1, 2.5, True, None, "***@x.org", ["a"]]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    """A log that is written to."""
    handler = LogFile(tmp_path / "access.log")
    yield handler
    handler.close()


def test_a_line_on_its_way_into_a_log_that_was_deleted_meanwhile_goes_into_the_next(
    file: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = Path(file.path), os.write

    def stand_still(descriptor: int, line: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        path.unlink()  # as a rotation does once it has packed a renamed log
        return write(descriptor, line)

    monkeypatch.setattr(os, "write", stand_still)
    file.append(b"one\n")
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_renamed_log_is_followed_by_a_new_one_with_the_next_line(file: LogFile) -> None:
    path = Path(file.path)
    file.handle(logging.makeLogRecord({"msg": "first"}))
    path.rename(f"{path}.1")
    file.handle(logging.makeLogRecord({"msg": "second"}))
    path.rename(f"{path}.2")
    path.write_text("made by whoever rotates\n")
    file.handle(logging.makeLogRecord({"msg": "third"}))
    assert Path(f"{path}.1").read_text() == "first\n"
    assert Path(f"{path}.2").read_text() == "second\n"
    assert path.read_text() == "made by whoever rotates\nthird\n"


def test_a_line_that_cannot_be_written_is_said_and_raises_nothing(
    file: LogFile, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(file.path).parent
    Path(file.path).unlink()
    moved = folder.rename(f"{folder}-gone")
    try:
        file.handle(logging.makeLogRecord({"msg": "lost"}))
        assert "a line could not be written" in caplog.text
    finally:
        moved.rename(folder)
    file.handle(logging.makeLogRecord({"msg": "kept"}))
    assert Path(file.path).read_text() == "kept\n"


def append(path: str, writer: int, lines: int) -> None:
    """Write numbered lines of different lengths, as one of several processes."""
    handler = LogFile(path)
    handler.setFormatter(JsonFormatter(f"writer-{writer}"))
    for number in range(lines):
        handler.handle(logging.makeLogRecord({"msg": "x" * (number % 977), "writer": writer, "number": number}))
    handler.close()


def test_of_four_processes_that_write_while_the_log_is_renamed_no_line_is_lost_or_torn(tmp_path: Path) -> None:
    path, lines = tmp_path / "access.log", 3000
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append, args=(str(path), writer, lines)) for writer in range(4)]
    for writer in writers:
        writer.start()
    renamed = 0
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            path.rename(tmp_path / f"access.log.{renamed}")
            renamed += 1
        writers[0].join(0.005)
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert renamed > 5
    found = [json.loads(line) for part in tmp_path.iterdir() for line in part.read_bytes().split(b"\n")[:-1]]
    assert sorted((line["writer"], line["number"]) for line in found) == [
        (writer, number) for writer in range(4) for number in range(lines)
    ]
