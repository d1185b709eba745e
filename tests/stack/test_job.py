"""The main job end to end: a site registered through nginx is probed, and its state read back through nginx."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stack.conftest import LocalStack
from tests.stack.site import website


def state_of(stack: LocalStack, token: str, site: int) -> dict[str, Any]:
    status, body, _ = stack.ask("GET", f"/api/v1/sites/{site}/usability", token=token)
    assert status == 200, body
    usability: dict[str, Any] = body["data"]["usability"]
    return usability


def wait_for(read: Callable[[], dict[str, Any]], state: str, *, seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    seen = read()
    while seen["state"] != state and time.monotonic() < deadline:
        time.sleep(0.2)
        seen = read()
    return seen


@pytest.fixture
def add_site(stack: LocalStack, token: str) -> Callable[[str], int]:
    def add(url: str) -> int:
        status, body, _ = stack.ask("POST", "/api/v1/sites", {"name": url, "url": url, "interval": 1}, token)
        assert status == 201, body
        return int(body["data"]["site"]["id"])

    return add


def test_a_site_is_seen_up_then_down_then_up_again(
    stack: LocalStack, token: str, add_site: Callable[[str], int]
) -> None:
    with website() as port:
        site = add_site(f"http://127.0.0.1:{port}/")
        up = wait_for(lambda: state_of(stack, token, site), "up")
        assert (up["state"], up["status_code"]) == ("up", 200)
        assert up["latency_ms"] > 0
        assert up["last_checked_at"]
    down = wait_for(lambda: state_of(stack, token, site), "down")
    assert (down["state"], down["status_code"]) == ("down", None)
    assert down["error"]
    with website(port):
        assert wait_for(lambda: state_of(stack, token, site), "up")["state"] == "up"


def test_a_name_that_does_not_resolve_is_down_with_its_reason(
    stack: LocalStack, token: str, add_site: Callable[[str], int]
) -> None:
    site = add_site("http://no-such-host.invalid/")
    down = wait_for(lambda: state_of(stack, token, site), "down")
    assert down["state"] == "down"
    assert "no-such-host.invalid" in down["error"] or "name" in down["error"].lower()


def test_killing_sync_loses_no_site(stack: LocalStack, token: str, add_site: Callable[[str], int]) -> None:
    with website() as port:
        site = add_site(f"http://127.0.0.1:{port}/")
        assert wait_for(lambda: state_of(stack, token, site), "up")["state"] == "up"
        pid = int(Path(stack.values["paths"]["run"], "sync.pid").read_text())
        stack.supervisorctl("signal", "KILL", "sync")
    assert wait_for(lambda: state_of(stack, token, site), "down", seconds=90)["state"] == "down"
    assert int(Path(stack.values["paths"]["run"], "sync.pid").read_text()) != pid


def test_the_page_shows_the_sites_and_their_state_in_a_browser(
    stack: LocalStack, token: str, add_site: Callable[[str], int], tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    with website() as port, sync_playwright() as playwright:
        url = f"http://127.0.0.1:{port}/"
        site = add_site(url)
        wait_for(lambda: state_of(stack, token, site), "up")
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*flags, "--disable-sync"])
        page = browser.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        elsewhere: list[str] = []
        page.on("request", lambda asked: elsewhere.append(asked.url) if not asked.url.startswith(stack.url) else None)
        page.goto(f"{stack.url}/")
        page.get_by_label("E-mail").fill(stack.values["app"]["admin_email"])
        password = Path(stack.values["paths"]["secrets"], "admin_password").read_text().strip()
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        row = page.get_by_role("row").filter(has_text=url)
        row.wait_for()
        assert "up" in row.inner_text().lower()
        page.goto(f"{stack.url}/api/docs")
        page.get_by_text("/api/v1/sites").first.wait_for()
        browser.close()
    assert problems == []
    assert elsewhere == []
