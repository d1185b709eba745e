"""The `stack` command in a checkout: what it does twice, what it refuses, what it puts right."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.stack.conftest import BIN, ROOT, LocalStack


def test_a_second_up_changes_nothing_and_says_so(stack: LocalStack) -> None:
    before = json.loads(stack.command("status", "--json").stdout)["processes"]
    said = stack.command("up").stdout
    after = json.loads(stack.command("status", "--json").stdout)["processes"]
    assert "nothing changed" in said
    assert [row["pid"] for row in before] == [row["pid"] for row in after]


def test_status_ends_0_only_when_every_process_is_healthy(stack: LocalStack) -> None:
    assert stack.command("status").returncode == 0
    stack.supervisorctl("stop", "sync")
    result = stack.command("status", "--json", check=False)
    assert result.returncode == 3
    assert [row["name"] for row in json.loads(result.stdout)["processes"] if not row["healthy"]] == ["sync"]
    assert "starting sync" in stack.command("up").stderr
    assert stack.command("status").returncode == 0


def test_secrets_are_for_their_owner_alone_and_in_no_process_list(stack: LocalStack) -> None:
    folder = Path(stack.values["paths"]["secrets"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secrets = {path: path.read_text().strip() for path in folder.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    everything = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True).stdout
    logs = "".join(path.read_text("utf-8", "replace") for path in Path(stack.values["paths"]["log"]).glob("*.log"))
    for secret in secrets.values():
        assert secret not in everything
        assert secret not in logs


def test_an_instance_answers_on_a_socket_of_its_own_which_others_cannot_reach(stack: LocalStack) -> None:
    for process in stack.values["processes"]:
        if process["kind"] == "api":
            assert stat.S_IMODE(os.stat(process["socket"]).st_mode) & 0o077 == 0


def test_a_taken_port_is_refused_by_its_key_its_holder_and_the_remedy() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = [str(BIN / "stack"), "up", "--profile", "test", "--set", f"nginx.http_port={port}"]
        line += ["--set", f"paths.run={ROOT}/data/test/run2", "--set", f"paths.etc={ROOT}/data/test/etc2"]
        result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    # the api ports are this suite's own and are refused first when its stack is up
    assert result.returncode == 1
    assert "is taken by process" in result.stderr
    assert "--set" in result.stderr


@pytest.mark.parametrize(
    ("assignment", "key"),
    [
        ("nginx.htp_port=1", "nginx.htp_port"),
        ("api.ports=[70000]", "api.ports"),
        ("api.ports=[18080]", "api.ports"),
        ("timeouts.graceful=99", "timeouts.graceful"),
        ("api.instances=[]", "api.instances"),
    ],
)
def test_a_broken_value_stops_up_and_render_with_the_keys_name_and_nothing_changed(assignment: str, key: str) -> None:
    def listing() -> list[tuple[str, float]]:
        return sorted((str(path), path.stat().st_mtime) for path in (ROOT / "data").rglob("*.conf"))

    before = listing()
    for command in (["up"], ["render", "--write"]):
        line = [str(BIN / "stack"), *command, "--profile", "test", "--set", assignment]
        result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
        assert result.returncode == 2
        assert key in result.stderr
    assert listing() == before


def test_a_folder_too_deep_for_a_unix_socket_is_refused_with_the_remedy() -> None:
    line = [str(BIN / "stack"), "up", "--profile", "test", "--set", f"paths.run=/tmp/{'d' * 90}"]
    result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert result.returncode == 2
    assert "too deep for a unix socket" in result.stderr


def test_what_a_killed_supervisord_left_behind_is_put_right(stack: LocalStack) -> None:
    pid = int(Path(stack.values["supervisor"]["pidfile"]).read_text())
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    result = stack.command("up")
    assert "left behind" in result.stderr
    assert stack.ask("GET", "/ping")[0] == 200
    assert stack.command("status").returncode == 0


def test_a_changed_value_is_applied_to_the_running_stack_and_taken_back(stack: LocalStack) -> None:
    stack.command("up", "--set", "nginx.client_max_body=2k")
    assert stack.ask("POST", "/api/v1/auth/login", {"email": "x" * 4000})[0] == 413
    stack.command("up")
    assert stack.ask("POST", "/api/v1/auth/login", {"email": "x" * 4000})[0] != 413


def test_logs_of_an_unknown_process_name_those_that_there_are(stack: LocalStack) -> None:
    result = stack.command("logs", "api-1", check=False)
    assert result.returncode == 2
    assert "sync" in result.stderr
    assert "heartbeat" in stack.command("logs", "-n", "500", "sync").stdout or stack.command("logs", "sync").stdout
