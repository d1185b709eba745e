"""What releases leave on a host in a folder, and what they refuse of it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from deploy.instances import Supervisor
from tests.unit.deploy.bench import Bench, Client
from tests.unit.deploy.releasing import SLOW, failed, served_by

pytestmark = pytest.mark.long


def test_old_releases_go_but_never_what_is_needed(bench: Bench) -> None:
    bench.values["releases"]["keep"] = 1
    bench.write_config()
    old = bench.current()
    (bench.root / "venvs" / "unused").mkdir()
    built = bench.edit("src/hello/wsgi.py", "pong!", "pong p!")
    said = bench.release(built)
    assert said["changed"]
    assert set(os.listdir(bench.root / "releases")) == {said["release"], old}
    assert os.listdir(bench.root / "venvs") == [(bench.root / "current" / "venv").resolve().name]
    assert os.listdir(bench.root / "incoming") == [built.id]
    rows = json.loads(bench.command("releases", "--json").stdout)
    assert {row["id"]: (row["current"], row["previous"]) for row in rows} == {
        said["release"]: (True, False),
        old: (False, True),
    }


def test_each_run_that_did_something_is_one_line_of_the_record(bench: Bench) -> None:
    count = len(bench.recorded())
    old = bench.current()
    built = bench.edit("src/hello/wsgi.py", "pong!", "pong r!")
    bench.release(built)
    bench.stack_command("rollback")
    release, rollback = bench.recorded()[count:]
    assert (release["action"], release["outcome"], release["current"]) == ("release", "done", built.id)
    assert (rollback["action"], rollback["previous"], rollback["current"]) == ("rollback", built.id, old)
    assert [step["name"] for step in release["steps"]][-1] == "prune"


def test_a_ledger_whose_line_was_edited_fails_verification(bench: Bench) -> None:
    path = bench.root / "ledger.jsonl"
    text = path.read_text("utf-8")
    assert bench.command("ledger", "verify").returncode == 0
    assert bench.current() in bench.command("ledger").stdout
    path.write_text(text.replace('"outcome": "done"', '"outcome": "lost"', 1), "utf-8")
    try:
        refused = bench.command("ledger", "verify")
    finally:
        path.write_text(text, "utf-8")
    assert refused.returncode == 1
    assert "does not fit the line before" in refused.stderr


def test_a_command_runs_in_the_current_releases_environment(bench: Bench) -> None:
    code = "import hello, os, sys; print(os.environ['APP_RELEASE'], sys.prefix)"
    result = bench.command("exec", "--account", "root", "--", "python", "-c", code)
    release = bench.root / "releases" / bench.current()
    assert result.stdout.split() == [bench.current(), str(release / "venv")]
    missing = bench.command("exec", "--account", "root", "--", "not-a-command")
    assert missing.returncode == 1
    assert "not-a-command" in missing.stderr


def test_an_archive_given_by_hand_is_unpacked_and_runs_its_own_engine(bench: Bench) -> None:
    built = bench.edit("deploy/steps.py", "nothing to do", "nothing was to be done")
    result = bench.command("release", built.path, "--account", "root", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["release"] == built.id == bench.current()
    assert "nothing was to be done" in result.stderr


def test_half_an_archive_is_refused(bench: Bench, tmp_path: Path) -> None:
    old = bench.current()
    built = bench.edit("src/hello/wsgi.py", "pong!", "pong h!")
    content = Path(built.path).read_bytes()
    (tmp_path / "half.tar.gz").write_bytes(content[: len(content) // 2])
    result = bench.command("release", str(tmp_path / "half.tar.gz"), "--account", "root", "--json")
    assert result.returncode == 1
    assert "cannot be unpacked" in json.loads(result.stdout)["message"]
    assert bench.current() == old


def test_what_is_wrong_with_a_host_is_said_before_anything_is_touched(bench: Bench) -> None:
    secret = Path(bench.values["paths"]["secrets"], "secret_key")
    secret.chmod(0o644)
    releases = sorted(os.listdir(bench.root / "releases"))
    try:
        said = bench.release(bench.edit("src/hello/wsgi.py", "pong!", "pong w!"))
    finally:
        secret.chmod(0o600)
    assert (said["step"], said["changed"]) == ("preflight", False)
    assert str(secret) in said["message"]
    assert sorted(os.listdir(bench.root / "releases")) == releases


def test_a_half_built_environment_is_built_anew(fresh: Bench) -> None:
    assert fresh.first is not None
    venv = (fresh.root / "current" / "venv").resolve()
    (venv / ".complete").unlink()
    (venv / "lib" / "half").mkdir()
    said = fresh.release(fresh.first)
    assert {step["name"] for step in said["steps"] if step["changed"]} == {"venv"}
    assert not (venv / "lib" / "half").exists()
    assert served_by(fresh, fresh.first.id)


@SLOW
def test_without_supervisord_and_systemd_it_says_how_to_start_it(bench: Bench) -> None:
    old = bench.current()
    built = bench.edit("src/hello/wsgi.py", "pong!", "pong s!")
    bench.stop()
    try:
        said = bench.release(built)
        assert said["step"] == "supervisor"
        assert f"supervisord -c {bench.stack()['supervisor']['config']}" in said["message"]
        assert bench.pointers() == {old}
    finally:
        bench.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and "STARTING" in bench.command("status").stdout:
        time.sleep(0.2)
    bench.settle()
    assert served_by(bench, old)


@SLOW
def test_an_instance_stopped_while_it_boots_loses_no_request(bench: Bench) -> None:
    name = "api-21302:api-21302-0"
    rpc = Supervisor(bench.stack()).rpc
    with Client() as client:
        for number in range(24):
            rpc.stopProcess(name)
            rpc.startProcess(name, False)
            time.sleep(0.2 + number % 12 * 0.02)  # its worker is forked somewhere in between
        rpc.stopProcess(name)
        rpc.startProcess(name, True)
    assert failed(client) == {}
