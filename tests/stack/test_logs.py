"""The logs of the running stack: JSON, one line for each request, and all of them there after any rotation."""

from __future__ import annotations

import gzip
import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.load import Call, Load
from tests.stack.conftest import LocalStack
from tests.stack.test_restarts import site_posts


def generations(stack: LocalStack, name: str) -> list[Path]:
    """A log with everything that it was renamed to."""
    return sorted(Path(stack.values["paths"]["log"]).glob(f"{name}.log*"))


def text_of(path: Path) -> bytes:
    """What a log or one of its generations holds."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def lines(stack: LocalStack, name: str) -> Iterator[dict[str, Any]]:
    """Every line of a log and of its generations; each must be JSON."""
    for path in generations(stack, name):
        for line in text_of(path).splitlines(keepends=True):
            assert line.endswith(b"\n"), (path, line)
            yield json.loads(line)


def rotate(stack: LocalStack) -> None:
    """Run logrotate over the rule that the stack rendered, as its timer would when the day is over."""
    state = f"{stack.values['paths']['run']}/logrotate.state"
    rule = f"{stack.values['paths']['etc']}/logrotate.conf"
    done = subprocess.run(
        ["/usr/sbin/logrotate", "--force", "--state", state, rule], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def access_names(stack: LocalStack) -> list[str]:
    return [f"api-{port}.access" for port in stack.values["api"]["ports"]]


def test_each_port_has_an_access_log_to_which_all_its_instances_write(stack: LocalStack) -> None:
    marks = {uuid.uuid4().hex for _ in range(60)}
    for mark in marks:
        assert stack.ask("GET", "/ping", **{"X-Request-ID": mark})[0] == 200
    time.sleep(0.5)
    wrote: dict[str, set[str]] = {}
    for name in access_names(stack):
        for line in lines(stack, name):
            if line["request_id"] in marks:
                marks.discard(line["request_id"])
                wrote.setdefault(name, set()).add(line["process"])
    assert marks == set()
    assert {process for processes in wrote.values() for process in processes} <= {
        process["name"] for process in stack.values["processes"]
    }
    for name, processes in wrote.items():
        assert all(process.startswith(name.removesuffix("access").replace(".", "-")) for process in processes)


def test_every_process_writes_json_and_nothing_else(stack: LocalStack) -> None:
    for process in stack.values["processes"]:
        found = list(lines(stack, process["name"]))
        assert found, process["name"]
        assert {"time", "level", "process", "pid", "logger", "message"} <= set(found[-1])
        assert {line["process"] for line in found} == {process["name"]}


def test_what_nginx_writes_down_of_a_request_holds_no_secret(stack: LocalStack) -> None:
    token, key = f"eyJ{uuid.uuid4().hex}.{uuid.uuid4().hex}.x", f"ce_abcdefgh1234_{uuid.uuid4().hex}"
    mark = uuid.uuid4().hex
    for path in (
        f"/x/{token}",
        f"/x/{key}/y",
        "/users/somebody.long@example.com",
        "/users/somebody.long%40example.com",
    ):
        headers = {"User-Agent": f"somebody.long@example.com {token}", "X-Request-ID": key[:60]}
        stack.ask("GET", f"{path}?token={token}&email=somebody.long@example.com", token=token, **headers)
        stack.ask("GET", path, **{"X-Request-ID": mark})
    time.sleep(0.5)
    found = [line for line in lines(stack, f"{stack.values['stack']['name']}.access") if line["request_id"] == mark]
    assert [line["uri"] for line in found] == ["/***", "/***", *["/users/s***@example.com"] * 2]
    everything = "".join(path.read_text() for path in Path(stack.values["paths"]["log"]).glob("*.log"))
    for secret in (token, key, "somebody.long@", "somebody.long%40"):
        assert secret not in everything


def test_a_link_from_a_mail_that_fails_leaves_no_token_in_nginxs_error_log(stack: LocalStack) -> None:
    token, ordinary = uuid.uuid4().hex, uuid.uuid4().hex
    groups = [f"api-{port}:*" for port in stack.values["api"]["ports"]]
    stack.supervisorctl("stop", *groups)
    try:
        # Until the ports are let go, a request waits for an instance to come back.
        time.sleep(stack.values["timeouts"]["socket_release"] + 2)
        assert stack.ask("GET", f"/login?next={ordinary}")[0] == 502
        links = [f"{path}?token={token}" for path in ("/verify", "/reset", "/email")]
        assert [stack.ask("GET", link)[0] for link in links] == [502] * 3
    finally:
        stack.supervisorctl("start", *groups)
        stack.command("up")
    log = Path(stack.values["paths"]["log"], f"{stack.values['stack']['name']}.error.log").read_text()
    assert ordinary in log
    assert token not in log


@pytest.mark.timeout(180)
def test_rotation_under_requests_loses_and_tears_no_line(
    stack: LocalStack, token: str, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = f"rotated-{time.time_ns()}"
    posts, _ = site_posts(token, prefix)
    counted: set[str] = set()

    def make(client: int, number: int) -> Call:
        mark = f"{prefix}.{client}.{number}"
        counted.add(mark)
        call = Call("GET", "/ping") if number % 4 else posts(client, number)
        return Call(call.method, call.path, call.body, {**call.headers, "X-Request-ID": mark}, call.expect)

    rotations = 30 if full else 6
    found: list[dict[str, Any]] = []
    first = Path(stack.values["paths"]["log"], f"{access_names(stack)[0]}.log")
    with Load(stack.url, make, clients=8) as load:
        for _ in range(rotations):
            enough, end = load.tally.answered + 50, time.monotonic() + 20
            while load.tally.answered < enough and time.monotonic() < end:
                time.sleep(0.02)
            before = first.stat().st_ino
            rotate(stack)
            assert Path(f"{first}.1").stat().st_ino == before
            found += take_compressed(stack)  # or logrotate would delete some before they were counted
    time.sleep(1)
    for name in access_names(stack):
        found += lines(stack, name)
    about = [line for line in found if str(line["request_id"]).startswith(prefix)]
    with capsys.disabled():
        print(f"\n{rotations} rotations: {load.tally}, {len(about)} lines")
    assert load.tally.failed == 0
    assert load.tally.answered >= 50 * rotations
    assert sorted(line["request_id"] for line in about) == sorted(counted)
    assert {(line["method"], line["route"].rstrip("/"), line["status"]) for line in about} == {
        ("POST", "/api/v1/sites", 201),
        ("GET", "/ping", 200),
    }
    assert {line["process"] for line in about} == {
        process["name"] for process in stack.values["processes"] if process["kind"] == "api"
    }
    assert set(stack.supervisorctl("status").split()) & {"BACKOFF", "FATAL", "EXITED"} == set()


def take_compressed(stack: LocalStack) -> list[dict[str, Any]]:
    """Read and remove the generations of the access logs that nobody writes to any more."""
    taken: list[dict[str, Any]] = []
    for name in access_names(stack):
        for path in generations(stack, name):
            if path.suffix == ".gz":
                taken += [json.loads(line) for line in text_of(path).splitlines()]
                path.unlink()
    return taken


def test_supervisords_own_logs_go_on_in_new_files_after_a_rotation(stack: LocalStack) -> None:
    rotate(stack)
    folder = Path(stack.values["paths"]["log"])
    assert (folder / "sync.log").read_text() == ""
    stack.supervisorctl("restart", "sync")
    stack.command("up")  # waits until it is healthy
    assert "spawned: 'sync'" in (folder / "supervisord.log").read_text()
    messages = [json.loads(line)["message"] for line in (folder / "sync.log").read_text().splitlines()]
    assert messages == ["stopped", "started"]


def test_a_command_finds_the_app_by_itself_in_the_stacks_environment(stack: LocalStack) -> None:
    done = stack.command("exec", "--", "flask", "check")
    assert done.stdout.splitlines()[-1] == "migrations: complete"
    named = stack.command("exec", "--", "flask", "--app", "cloudeye.wsgi", "check")
    assert named.stdout == done.stdout
    refused = stack.command("exec", "--set", "stack.environment=production", "--", "true", check=False)
    assert (refused.returncode, "set them there" in refused.stderr) == (2, True)
