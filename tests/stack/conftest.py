"""The whole stack of profile `test` in this checkout, brought up once by the real command."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mariadb import MariaDB
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"


class LocalStack:
    """The running stack, as a person in the checkout sees it."""

    def __init__(self, **overrides: Any) -> None:
        self.sets = [
            part for key, value in overrides.items() for part in ("--set", f"{key.replace('__', '.')}={value}")
        ]
        self.values: dict[str, Any] = json.loads(self.command("show", "--json").stdout)
        self.url: str = self.values["nginx"]["url"]

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `stack COMMAND --profile test ...`."""
        name, *rest = arguments
        line = [str(BIN / "stack"), name, "--profile", "test", *self.sets, *rest]
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
                raw, status, got = answer.read(), answer.status, dict(answer.headers)
                text = (gzip.decompress(raw) if got.get("Content-Encoding") == "gzip" else raw).decode()
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
def stack_on_mariadb() -> Iterator[LocalStack]:
    """Another stack beside that of profile test, on a MariaDB server of its own."""
    password = "of the tests' own"
    folder = ROOT / "data" / "test-mariadb"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="ce-") as short, MariaDB(Path(short), free_port()) as server:
        server.run("CREATE USER cloudeye@'127.0.0.1' IDENTIFIED BY %s", password)
        server.run("GRANT ALL ON cloudeye.* TO cloudeye@'127.0.0.1'")
        (folder / "secrets").mkdir(parents=True, mode=0o700)
        (folder / "secrets" / "database_password").write_text(password)
        running = LocalStack(
            database__engine="mysql",
            database__port=server.port,
            api__ports="[18003, 18004]",
            nginx__http_port=18081,
            nginx__https_port=18444,
            **{
                f"paths__{key}": folder / below
                for key, below in {
                    "root": "", "etc": "etc", "secrets": "secrets", "log": "log", "data": "", "run": "run",
                    "nginx_log": "log", "nginx_conf": "etc/nginx", "nginx_cache": "run/nginx-cache",
                }.items()
            },
        )  # fmt: skip
        try:
            running.command("up")
            yield running
        finally:
            running.command("down")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "mariadb"])
def each_stack(request: pytest.FixtureRequest) -> LocalStack:
    """The stack on either engine, one after the other."""
    found: LocalStack = request.getfixturevalue("stack" if request.param == "sqlite" else "stack_on_mariadb")
    return found


@pytest.fixture(scope="session")
def token(stack: LocalStack) -> str:
    return stack.admin_token()
