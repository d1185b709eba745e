"""What people ask of a running host: its status, its logs, a console; on a host in a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from deploy.layout import Host
from deploy.lock import lock
from tests.unit.deploy.bench import Bench
from tests.unit.deploy.releasing import supervisorctl

pytestmark = pytest.mark.long


def status(bench: Bench) -> dict[str, object]:
    result = bench.command("status", "--json")
    found: dict[str, object] = json.loads(result.stdout)
    assert result.returncode == (0 if found["healthy"] else 3)
    return found


def row(found: dict[str, object], name: str) -> dict[str, object]:
    rows = found["processes"]
    assert isinstance(rows, list)
    return next(dict(line) for line in rows if line["name"] == name)


def test_status_says_what_each_process_serves_and_what_is_around_it(bench: Bench) -> None:
    found = status(bench)
    assert (found["name"], found["healthy"], found["current"], found["lock"]) == ("hello", True, bench.current(), None)
    instance = row(found, "api-21301-0")
    assert (instance["state"], instance["release"], instance["detail"]) == ("RUNNING", bench.current(), "ready")
    pid, memory = instance["pid"], instance["memory"]
    assert isinstance(pid, int)
    assert isinstance(memory, int)
    master = next(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )
    assert master < memory < 2**30  # the worker's is in it
    assert row(found, "nginx")["healthy"]
    assert found["database"] == {
        "engine": "sqlite",
        "where": str(bench.folder / "data"),
        "healthy": True,
        "detail": "reachable, says api-21301-0",
    }


def test_status_for_people_is_a_table_without_colours_in_a_pipe(bench: Bench) -> None:
    text = bench.command("status").stdout
    lines = text.splitlines()
    assert "\033" not in text
    table = [line for line in lines if " pid " in line]
    assert len({line.index(" pid ") for line in table}) == 1
    assert [line.split()[1] for line in table] == ["api-21301-0", "api-21302-0", "sync", "nginx"]
    assert any(line.split()[:2] == ["current", bench.current()] for line in lines)
    assert any(line.split() == ["lock", "free"] for line in lines)


def test_status_ends_3_and_names_what_is_stopped_or_not_of_the_release(bench: Bench) -> None:
    extra = Path(bench.stack()["supervisor"]["programs"], "extra.conf")
    extra.write_text("[program:extra]\ncommand=/bin/sleep 600\nstartsecs=0\n")
    supervisorctl(bench, "stop", "api-21302:*")
    supervisorctl(bench, "update", "extra")
    try:
        found = status(bench)
    finally:
        supervisorctl(bench, "start", "api-21302:*")
        extra.unlink()
        supervisorctl(bench, "update", "extra")
    assert not found["healthy"]
    assert not row(found, "api-21302-0")["healthy"]
    assert row(found, "extra")["detail"] == "no process of this release"
    assert row(found, "api-21301-0")["healthy"]


def test_status_names_who_holds_the_lock(bench: Bench) -> None:
    with lock(Host.of(bench.stack(), "root"), "restart sync", print):
        held = status(bench)["lock"]
    assert isinstance(held, dict)
    assert (held["pid"], held["why"]) == (os.getpid(), "restart sync")
    assert status(bench)["lock"] is None


def test_logs_of_a_host_are_one_stream(bench: Bench) -> None:
    result = bench.command("logs", "-n", "1000000", "--nginx")
    names = {line.partition(" |")[0].strip() for line in result.stdout.splitlines()}
    assert {"api-21301-0", "supervisord", "hello.access"} <= names
    assert bench.command("logs", "api-9").returncode == 2


def test_logs_are_followed_until_interrupted(bench: Bench) -> None:
    line = bench.line("logs", "-f", "-n", "1", "supervisord")
    with subprocess.Popen(line, env=bench.environment(), stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        try:
            follower.stdout.readline()  # the newest there is: it follows from here on
            supervisorctl(bench, "restart", "sync")
            said = follower.stdout.readline()
        finally:
            follower.send_signal(signal.SIGINT)
    assert said.startswith("supervisord | ")
    assert follower.returncode == 130


def test_a_console_has_the_application_loaded(bench: Bench) -> None:
    def ask(text: str, *options: str) -> str:
        return subprocess.run(
            bench.line("console", "--account", "root", *options),
            env=bench.environment(),
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    assert "hello.wsgi" in ask("print(app.import_name)\n")
    code = "import os; print(os.environ['APP_RELEASE'], 'app' in dir())\n"
    assert ask(code, "--python").split() == [bench.current(), "False"]
