"""schemathesis tries the served stack with what its description allows and with what it does not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.conftest import BIN, ROOT, LocalStack

HERE = Path(__file__).resolve().parent
SHORT, LONG = 40, 240  # seconds of one run
PASSWORD = "tried in every way"
# All that is tried comes from one address and for one account; that attempts are counted is proved elsewhere.
PLENTY = "1000000 per minute"
COUNTED = ("login_address", "login_account", "register_address", "reset_address", "reset_account")


@pytest.fixture(scope="module")
def patient(stack: LocalStack) -> Iterator[LocalStack]:
    """The stack without limits of attempts, and without sync: it would visit the sites that are made up."""
    stack.command("up", *(part for name in COUNTED for part in ("--set", f"attempts.{name}={PLENTY}")))
    stack.supervisorctl("stop", "sync:*")
    yield stack
    stack.supervisorctl("start", "sync:*")
    stack.command("up")


def summary_of(stack: LocalStack, role: str, seconds: int, tmp_path: Path, *options: str) -> str:
    """Let somebody of a role try everything; return what schemathesis says at the end."""
    token = stack.admin_token()
    body = {"username": "trier", "email": f"trier-{role}-{seconds}@example.com", "password": PASSWORD, "role": role}
    status, answer, _ = stack.ask("POST", "/api/v1/users", body, token)
    assert status == 201, answer
    _, me, _ = stack.ask("GET", "/api/v1/auth/me", token=token)
    environment = {
        "SCHEMATHESIS_HOOKS": "tests.stack.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
        "TRIED_URL": stack.url,
        "TRIED_EMAIL": body["email"],
        "TRIED_PASSWORD": PASSWORD,
        "TRIED_IDS": f"{me['data']['user']['id']},{answer['data']['user']['id']}",
    }
    line = [str(BIN / "schemathesis"), "--no-color", "--config-file", str(HERE / "schemathesis.toml")]
    line += ["run", f"{stack.url}/api/openapi.json", "--max-time", str(seconds), "--continue-on-failure", *options]
    run = subprocess.run(
        line,
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds + 300,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    return "=== SUMMARY" + run.stdout.rpartition("= SUMMARY")[2]


@pytest.mark.parametrize("role", ["admin", "user"])
def test_schemathesis_finds_no_fault_as(patient: LocalStack, role: str, tmp_path: Path) -> None:
    # The same cases each time: a change is judged by them, and not by luck. In full, others are tried each time.
    summary = summary_of(patient, role, SHORT, tmp_path, "--seed", "1")
    print(summary)
    assert "passed" in summary


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", ["admin", "user"])
def test_schemathesis_finds_no_fault_in_minutes_as(patient: LocalStack, role: str, tmp_path: Path) -> None:
    print(summary_of(patient, role, LONG, tmp_path))


def test_the_description_lists_each_status_and_no_more(patient: LocalStack) -> None:
    """schemathesis takes any status for described where there is a default, so there must be none."""
    _, described, _ = patient.ask("GET", "/api/openapi.json")
    assert described["openapi"] == "3.1.0"
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if method != "parameters":
                assert "default" not in operation["responses"], (method, path)
