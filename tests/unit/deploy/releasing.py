"""What the tests of releases ask of a host in a folder, and do to it."""

from __future__ import annotations

import subprocess

import pytest

from tests.unit.deploy.bench import PORTS, Bench, Client

INSTANCES = {f"api-{port}-0" for port in PORTS}
SLOW = pytest.mark.slow
READY = 'return jsonify(status="success", data={"release": os.environ["APP_RELEASE"]})'


def failed(client: Client) -> dict[str, int]:
    return {answer: count for answer, count in client.answers.items() if answer not in ("200", "201")}


def served_by(bench: Bench, release: str) -> bool:
    """Whether every process, every pointer and `current` are on a release."""
    serving = bench.serving()
    assert set(serving) == {*INSTANCES, "sync"}
    return set(serving.values()) == bench.pointers() == {bench.current()} == {release}


def supervisorctl(bench: Bench, *arguments: str) -> None:
    program = bench.root / "supervisor" / "bin" / "supervisorctl"
    subprocess.run(
        [str(program), "-c", bench.stack()["supervisor"]["config"], *arguments], check=True, capture_output=True
    )


def start(bench: Bench, *arguments: str) -> subprocess.Popen[str]:
    line = bench.line(*arguments, "--account", "root", "--json")
    return subprocess.Popen(line, env=bench.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_line(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"it ended without saying {word}")
