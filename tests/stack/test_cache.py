"""What nginx keeps of what is public and the same for everybody: who asks the app for it, and what is never kept."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.stack.conftest import LocalStack

CLIENTS = 200
FRESH = 5  # seconds: the app's max-age
KEPT = {"HIT", "STALE", "UPDATING"}


@pytest.fixture
def page(stack: LocalStack, token: str) -> str:
    """The path of a status page that nobody has looked at yet, with a site that nobody probes."""
    slug = uuid.uuid4().hex[:12]  # what is longer would be masked in the log
    for path, body in (
        ("sites", {"name": slug, "url": "http://127.0.0.1:9/", "paused": True, "tags": [slug]}),
        ("status-pages", {"slug": slug, "title": "Ours", "tag": slug}),
    ):
        status, answer, _ = stack.ask("POST", f"/api/v1/{path}", body, token)
        assert status == 201, answer
    return f"/status/{slug}"


def lines(stack: LocalStack, path: str) -> Iterator[dict[str, Any]]:
    """What the app has written down of requests for a path."""
    for port in stack.values["api"]["ports"]:
        log = Path(stack.values["paths"]["log"], f"api-{port}.access.log")
        for line in log.read_text().splitlines() if log.exists() else ():
            if path in line:
                yield json.loads(line)


def asked(stack: LocalStack, path: str) -> int:
    """How often the app has been asked for a path, once it has written everything down."""
    time.sleep(0.5)
    return len(list(lines(stack, path)))


def together(stack: LocalStack, path: str) -> list[tuple[int, Any, str]]:
    """Ask for a path by many clients at the same moment; return status, body and what nginx says of its cache."""
    ready = threading.Barrier(CLIENTS)

    def ask(_: int) -> tuple[int, Any, str]:
        ready.wait(60)
        status, body, headers = stack.ask("GET", path)
        return status, body, headers["X-Cache"]

    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(ask, range(CLIENTS)))


def test_of_many_who_ask_for_a_page_that_was_never_asked_for_one_asks_the_app(stack: LocalStack, page: str) -> None:
    answers = together(stack, page)
    assert {status for status, _, _ in answers} == {200}
    assert len({body for _, body, _ in answers}) == 1
    assert [cache for _, _, cache in answers].count("MISS") == 1
    assert asked(stack, page) == 1


def test_of_many_who_ask_for_a_page_that_has_expired_one_asks_the_app(stack: LocalStack, page: str) -> None:
    stack.ask("GET", page)
    time.sleep(FRESH + 1.5)
    before = asked(stack, page)
    answers = together(stack, page)
    assert {status for status, _, _ in answers} == {200}
    assert {cache for _, _, cache in answers} <= KEPT
    assert "STALE" in {cache for _, _, cache in answers}
    assert asked(stack, page) == before + 1


@pytest.mark.parametrize("below", ["", ".json", "/badge.svg"])
def test_what_is_kept_costs_the_app_nothing_whatever_a_visitor_sends(
    stack: LocalStack, token: str, page: str, below: str
) -> None:
    path = page + below
    _, first, headers = stack.ask("GET", path)
    assert headers["X-Cache"] == "MISS"
    requests = {headers["X-Request-ID"]}
    others: list[tuple[str, str, dict[str, str]]] = [
        ("GET", "", {}),
        ("GET", "?junk=1", {}),
        ("GET", "", {"Authorization": f"Bearer {token}"}),
        ("GET", "", {"Cookie": "cloudeye_session=x; language=zh_Hans"}),
        ("GET", "", {"X-API-Key": "ce_x"}),
        ("GET", "", {"Accept-Language": "zh", "Accept": "application/json"}),
        ("GET", "", {"Host": "elsewhere.example"}),
        ("GET", "", {"Cache-Control": "no-cache"}),
        ("HEAD", "", {}),
    ]
    for method, query, sent in others:
        status, body, headers = stack.ask(method, path + query, **sent)
        assert (status, headers["X-Cache"]) == (200, "HIT"), (query, sent)
        assert body == (first if method == "GET" else "")
        assert "Set-Cookie" not in headers
        assert headers.get("Vary") in (None, "Accept-Encoding")
        requests.add(headers["X-Request-ID"])
    assert len(requests) == 1 + len(others)  # each has one of its own
    assert asked(stack, path) == 1


def test_who_has_it_already_is_answered_without_it(stack: LocalStack, page: str) -> None:
    _, _, headers = stack.ask("GET", page)
    status, body, again = stack.ask("GET", page, **{"If-None-Match": headers["ETag"]})
    assert (status, body, again["X-Cache"]) == (304, "", "HIT")


def test_the_app_is_not_told_what_it_could_not_go_by(stack: LocalStack, page: str) -> None:
    stack.ask("GET", f"{page}?a=b")
    asked(stack, page)
    (line,) = lines(stack, page)
    assert (line["path"], line["user_id"]) == (page, None)


def test_a_page_that_is_not_there_is_kept_too(stack: LocalStack) -> None:
    path = f"/status/{uuid.uuid4().hex[:12]}"
    found = [stack.ask("GET", path) for _ in range(3)]
    assert [(status, headers["X-Cache"]) for status, _, headers in found] == [(404, "MISS"), (404, "HIT"), (404, "HIT")]
    assert asked(stack, path) == 1


def test_the_description_of_the_api_is_kept(stack: LocalStack) -> None:
    path = "/api/openapi.json"
    stack.ask("GET", path)
    before = asked(stack, path)
    assert {stack.ask("GET", path)[2]["X-Cache"] for _ in range(5)} <= KEPT
    assert asked(stack, path) <= before + 1


@pytest.mark.parametrize("path", ["/api/v1/sites", "/api/v1/auth/me", "/", "/status-pages", "/ping", "/api/docs"])
def test_nothing_else_is_ever_kept(stack: LocalStack, token: str, path: str) -> None:
    for _ in range(2):
        mark = uuid.uuid4().hex
        status, _, headers = stack.ask("GET", path, token=token, **{"X-Request-ID": mark})
        assert status == 200
        assert "X-Cache" not in headers
        time.sleep(0.5)
        assert len(list(lines(stack, mark))) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_reading_is_kept(stack: LocalStack, page: str, method: str) -> None:
    status, _, headers = stack.ask(method, page)
    assert (status, headers.get("X-Cache", "")) == (405, "")
    assert stack.ask("GET", page)[0] == 200


def test_a_page_that_was_looked_at_is_shown_while_the_app_is_down(stack: LocalStack, page: str) -> None:
    groups = [f"api-{port}:*" for port in stack.values["api"]["ports"]]
    first = stack.ask("GET", page)[1]
    stack.supervisorctl("stop", *groups)
    try:
        deadline = time.monotonic() + 60
        while stack.ask("GET", "/ping")[0] != 502 and time.monotonic() < deadline:
            assert stack.ask("GET", page)[:2] == (200, first)
        status, body, headers = stack.ask("GET", page)
        assert (status, body) == (200, first)
        assert headers["X-Cache"] in ("STALE", "UPDATING")
    finally:
        stack.supervisorctl("start", *groups)
    stack.command("up")
    deadline = time.monotonic() + 30
    while stack.ask("GET", page)[2]["X-Cache"] != "HIT" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert stack.ask("GET", page)[2]["X-Cache"] == "HIT"
