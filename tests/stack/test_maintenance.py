"""`stack maintenance` over the running stack: who gets which answer, and what survives what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.conftest import LocalStack


@pytest.fixture
def held(stack: LocalStack) -> Iterator[LocalStack]:
    stack.command("maintenance", "on", "--message", "We are moving <house>.", "--until", "1h")
    yield stack
    stack.command("maintenance", "off")


def test_the_app_is_not_asked_and_everybody_is_told_why(held: LocalStack, token: str) -> None:
    logs = [Path(held.values["paths"]["log"], f"api-{port}.access.log") for port in held.values["api"]["ports"]]
    before = [log.stat().st_size if log.exists() else 0 for log in logs]
    code, body, headers = held.ask("GET", "/api/v1/sites", token=token, Accept="text/html")
    assert (code, body) == (503, {"status": "error", "data": None, "message": "We are moving <house>."})
    assert 3590 <= int(headers["Retry-After"]) <= 3600 * 1.2
    assert held.ask("POST", "/api/v1/sites", {"name": "x"}, token)[0] == 503
    code, page, headers = held.ask("GET", "/", Accept="text/html")
    assert code == 503
    assert "We are moving &lt;house&gt;." in page
    assert headers["Content-Type"] == "text/html"
    assert [log.stat().st_size if log.exists() else 0 for log in logs] == before
    # what watches the stack, and the status pages with what they need
    assert {held.ask("GET", path)[0] for path in ("/ping", "/healthz", "/readyz", "/static/style.css")} == {200}
    assert held.ask("GET", "/status/none-of-this-name")[0] == 404


def test_it_is_seen_by_status_and_outlives_another_up(held: LocalStack) -> None:
    found = json.loads(held.command("maintenance", "status", "--json").stdout)
    assert (found["on"], found["message"], found["allow"]) == (True, "We are moving <house>.", [])
    assert "maintenance is on since" in held.command("maintenance", "status").stdout
    nginx = next(
        row for row in json.loads(held.command("status", "--json").stdout)["processes"] if row["name"] == "nginx"
    )
    assert (nginx["healthy"], "maintenance" in nginx["detail"]) == (True, True)
    assert "until" in held.command("status").stdout
    held.command("up")
    assert held.ask("GET", "/api/v1/sites")[0] == 503


def test_an_allowed_address_reaches_the_app(held: LocalStack, token: str) -> None:
    held.command("maintenance", "on", "--allow", "127.0.0.1")
    assert held.ask("GET", "/api/v1/sites", token=token)[0] == 200


def test_off_is_off_and_again_is_nothing_new(stack: LocalStack, token: str) -> None:
    assert json.loads(stack.command("maintenance", "on", "--json").stdout)["changed"]
    assert not json.loads(stack.command("maintenance", "on", "--json").stdout)["changed"]
    assert json.loads(stack.command("maintenance", "off", "--json").stdout) == {"changed": True, "on": False}
    assert "nothing changed" in stack.command("maintenance", "off").stdout
    assert stack.ask("GET", "/api/v1/sites", token=token)[0] == 200


def test_what_does_not_fit_is_refused_while_it_goes_on_as_it_was(held: LocalStack) -> None:
    refused = held.command("maintenance", "on", "--allow", "10.0.0.1/8", check=False)
    assert (refused.returncode, "--allow '10.0.0.1/8'" in refused.stderr) == (2, True)
    assert held.ask("GET", "/api/v1/sites")[1]["message"] == "We are moving <house>."
