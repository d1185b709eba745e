"""The engine of a bench killed at its boundaries, and what is asked of the host afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from deploy import health
from tests.unit.deploy.bench import Bench, Client
from tests.unit.deploy.releasing import failed

KILLED = Path(__file__).with_name("killed.py")
NONE = ""


class Killer:
    """Runs commands of `stack` that end at a boundary, by its name or number."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench = bench
        self._record = folder / "boundaries"

    def run(self, boundary: str, *arguments: str, engine: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command until a boundary."""
        python, _, _, _, *line = self._bench.line(*arguments, "--account", "root", "--json")
        return subprocess.run(
            [python, "-P", str(KILLED), boundary, str(self._record), *line],
            env=self._bench.environment(engine),
            capture_output=True,
            text=True,
            timeout=300,
        )

    def kill(self, boundary: str, *arguments: str, engine: Path | None = None) -> None:
        """Run a command that must come to a boundary, and not beyond it."""
        result = self.run(boundary, *arguments, engine=engine)
        assert result.returncode == -signal.SIGKILL, f"{boundary}: {result.stderr}"

    def boundaries(self, *arguments: str, engine: Path | None = None) -> list[str]:
        """Run a command to its end; return its boundaries."""
        result = self.run(NONE, *arguments, engine=engine)
        assert result.returncode == 0, result.stderr
        return self._record.read_text("utf-8").splitlines()


def serving_by_itself(bench: Bench) -> dict[str, str]:
    """What each process serves, as soon as all of them are healthy, without anybody's help."""
    deadline = time.monotonic() + 60
    while True:
        rows = [row for row in health.check(bench.stack()) if row.name != "nginx"]
        if all(row.healthy for row in rows):
            return {row.name: row.release for row in rows}
        assert time.monotonic() < deadline, rows
        time.sleep(0.2)


def left_over(bench: Bench) -> list[str]:
    """What an unfinished run left on the host."""
    folders = (bench.root, bench.root / "instances", bench.root / "releases")
    aside = [str(path) for folder in folders for path in folder.glob(".*") if path.name != ".lock"]
    written = [name for name in ("journal.jsonl", ".lock") if (bench.root / name).exists()]
    return aside + [name for name in written if (bench.root / name).read_text("utf-8")]


def command(bench: Bench, *arguments: str, engine: Path | None = None) -> dict[str, Any]:
    """Run a command of `stack` that must end well; return what it says."""
    result = bench.command(*arguments, "--account", "root", "--json", engine=engine)
    assert result.returncode == 0, result.stderr
    return {**json.loads(result.stdout), "stderr": result.stderr}


def say(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """Print a line although pytest captures output."""
    with capsys.disabled():
        print(line, flush=True)


def figures(client: Client) -> str:
    """How many requests a client has sent, and how many failed."""
    return f"{sum(failed(client).values())} of {sum(client.answers.values())} requests failed"
