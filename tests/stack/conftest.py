"""The whole stack of profile `test` in this checkout, brought up once by the real command."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"


class LocalStack:
    """The running stack, as a person in the checkout sees it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = json.loads(self.command("show", "--json").stdout)
        self.url: str = self.values["nginx"]["url"]

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `stack COMMAND --profile test ...`."""
        name, *rest = arguments
        line = [str(BIN / "stack"), name, "--profile", "test", *rest]
        result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
        if check and result.returncode:
            raise AssertionError(f"{' '.join(line)} ended {result.returncode}:\n{result.stdout}{result.stderr}")
        return result

    def supervisorctl(self, *arguments: str) -> str:
        """Run the supervisorctl line that `make` prints, for this profile."""
        config = self.values["supervisor"]["config"]
        line = [str(BIN / "supervisorctl"), "-c", config, *arguments]
        return subprocess.run(line, capture_output=True, text=True, timeout=180, check=False).stdout

    def ask(
        self, method: str, path: str, body: Any = None, token: str = "", **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """One request through nginx: status, decoded body, headers."""
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, text, got = answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            status, text, got = error.code, error.read().decode(), dict(error.headers)
        try:
            return status, json.loads(text), got
        except ValueError:
            return status, text, got

    def admin_token(self) -> str:
        """A bearer token of the first admin, whose password lies in the secrets folder."""
        password = Path(self.values["paths"]["secrets"], "admin_password").read_text().strip()
        body = {"email": self.values["app"]["admin_email"], "password": password}
        status, answer, _ = self.ask("POST", "/api/v1/auth/login", body)
        assert status == 200, answer
        return str(answer["data"]["access_token"])


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    running = LocalStack()
    running.command("down")
    for key in ("root", "log"):
        shutil.rmtree(running.values["paths"][key], ignore_errors=True)
    running.command("up")
    yield running
    running.command("down")


@pytest.fixture(scope="session")
def token(stack: LocalStack) -> str:
    return stack.admin_token()
