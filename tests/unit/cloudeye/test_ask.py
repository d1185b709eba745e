"""What an owner may ask of a probe: statuses, headers, methods."""

from __future__ import annotations

import subprocess
import sys

import h11
import pytest

from cloudeye.phrases import find_form
from cloudeye.services.ask import (
    MAX_CUSTOM_HEADERS,
    MAX_REQUEST_BODY,
    METHODS,
    Ask,
    StatusSet,
    check_headers,
    check_request,
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("200", "200"),
        ("200-299,301,404", "200-299,301,404"),
        (" 404 , 200-299 ", "200-299,404"),
        ("200,201,202", "200-202"),
        ("200-250,240-299,300", "200-300"),
        ("200-299,250", "200-299"),
        ("999", "999"),
    ],
)
def test_statuses_are_read_into_one_normal_form(text: str, normal: str) -> None:
    statuses = StatusSet.parse(text)
    assert str(statuses) == normal
    assert StatusSet.parse(normal) == statuses


def test_a_set_contains_the_ends_of_its_ranges_and_nothing_beside_them() -> None:
    statuses = StatusSet.parse("200-299,301,404")
    assert [s for s in range(100, 1000) if statuses.contains(s)] == [*range(200, 300), 301, 404]


def test_without_a_choice_every_success_and_redirect_is_expected() -> None:
    assert [s for s in range(100, 1000) if Ask("http://x/").expected.contains(s)] == list(range(200, 400))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ",",
            "200,",
            "2xx",
            "200-",
            "-299",
            "200-299-300",
            "299-200",
            "100",
            "199-200",
            "1000",
            "200;201",
            "2 00",
        ),
        *("200 201", "+200", "\uff12\uff10\uff10", "200--299", "0", "-1", "200.5", "1e2", ",".join(["200"] * 16)),
    ],
)
def test_what_is_no_set_of_statuses_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"status|range|outside") as refused:
        StatusSet.parse(text)
    assert find_form(str(refused.value))  # so it can be translated


ALLOWED = [
    ("Authorization", "Bearer abc.def-ghi"),
    ("Cookie", "a=b; c=d"),
    ("User-Agent", "Mozilla/5.0 (ours)"),
    ("X-Empty", ""),
    ("accept", "text/html, */*;q=0.1"),
    ("Content-Type", 'application/json; charset="utf-8"'),
    ("Range", "bytes=0-99"),
    ("X-Forwarded-For", "192.0.2.1"),
]


@pytest.mark.parametrize("header", ALLOWED, ids=[name for name, _ in ALLOWED])
def test_a_header_of_ones_own_may_be_sent(header: tuple[str, str]) -> None:
    check_headers([header])
    h11.Request(method="GET", target="/", headers=[("Host", "x"), header])  # it can be, too


REFUSED = [
    *(
        (name, "x")
        for name in (
            *("Host", "host", "HOST", "Connection", "Content-Length", "content_length", "Transfer-Encoding"),
            *("Transfer_Encoding", "TE", "Trailer", "Upgrade", "Keep-Alive", "Proxy-Connection", "Expect"),
            *("Proxy-Authorization", "Accept-Encoding", "HTTP2-Settings"),
        )
    ),
    *((name, "x") for name in ("", " ", "X Y", "X:", "X:Y", " X", "X ", "X\r\nHost", "X\n", "Ü", "X\0", "(X)", "X\t")),
    *(
        ("X", value)
        for value in (
            *("a\r\nHost: evil.test", "a\nb", "a\rb", "a\r\n\r\nGET / HTTP/1.1", "a\0b", "a\x0bb", "a\x7fb", "a\tb"),
            *("\x85", "ü", "a\u2028b", "嗯", " a", "a ", "\ta", "a\n", "\ud800"),
        )
    ),
]


@pytest.mark.parametrize(
    "header", REFUSED, ids=[f"{name}: {value}".encode("ascii", "backslashreplace").decode() for name, value in REFUSED]
)
def test_a_header_is_refused_that_is_the_probes_own_or_could_break_out_of_its_line(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="header") as refused:
        check_headers([("X-Fine", "x"), header])
    assert find_form(str(refused.value))


@pytest.mark.parametrize(
    "headers",
    [
        [("X", "1"), ("x", "2")],
        [("X-Y", "1"), ("X_Y", "2")],
        [(f"X-{number}", "") for number in range(MAX_CUSTOM_HEADERS + 1)],
        [("X", "a" * 8192)],
        [("X" * 8192, "")],
        [("A", "a" * 4096), ("B", "b" * 4096)],
    ],
    ids=["twice", "twice with an underscore", "too many", "a long value", "a long name", "long together"],
)
def test_headers_are_refused_that_are_too_many_or_too_long_or_given_twice(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="header") as refused:
        check_headers(headers)
    assert find_form(str(refused.value))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_of_the_list_may_be_used(method: str) -> None:
    check_request(Ask("http://x/", method=method))


@pytest.mark.parametrize(
    "method", ["TRACE", "CONNECT", "get", "", "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", "PROPFIND"]
)
def test_any_other_method_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="method must be one of: GET, ") as refused:
        check_request(Ask("http://x/", method=method))
    assert find_form(str(refused.value))


def test_a_body_may_be_as_long_as_said_and_no_longer() -> None:
    check_request(Ask("http://x/", method="POST", body=b"x" * MAX_REQUEST_BODY))
    with pytest.raises(ValueError, match=f"longer than {MAX_REQUEST_BODY} bytes") as refused:
        check_request(Ask("http://x/", method="POST", body=b"x" * (MAX_REQUEST_BODY + 1)))
    assert find_form(str(refused.value))


def test_to_check_what_an_owner_asks_for_loads_no_machinery_of_probes() -> None:
    code = "import sys, cloudeye.services.ask; print([m for m in ('h11', 'gevent', 'dns', 'ssl') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": "src"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
