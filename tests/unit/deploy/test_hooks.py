"""Hooks and notifications around builds and releases: real programs, a real receiver, a host in a folder."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cloudeye.services.webhooks import make_secret, sign
from deploy import hooks, notify
from deploy.hooks import MOMENTS
from deploy.stack import StackError, load, set_layer
from tests.unit.deploy.bench import Bench

pytestmark = pytest.mark.long

ENVIRONMENT = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k[:6] == 'STACK_'}))"


def tree_with(folder: Path, hook: str, text: str, mode: int = 0o755) -> Path:
    path = folder / "hooks" / hook
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return folder


def run(folder: Path, hook: str, *, timeout: float = 10, **told: str) -> tuple[hooks.Ran | None, list[str]]:
    said: list[str] = []
    return hooks.run(folder, hook, told, timeout=timeout, start=hooks.start_here, say=said.append), said


def test_a_hook_is_told_by_its_environment_and_runs_in_its_tree(tmp_path: Path) -> None:
    tree_with(tmp_path, "before-release", '#!/bin/sh\necho "$STACK_RELEASE $STACK_HOOK"; pwd\n')
    ran, said = run(tmp_path, "before-release", RELEASE="20260101T000000-abc")
    assert ran is not None
    assert (ran.status, ran.failed) == (0, "")
    assert ran.output == ["20260101T000000-abc before-release", str(tmp_path)]
    assert said[:2] == [f"before-release: {line}" for line in ran.output]


def test_no_hook_is_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "after-release") == (None, [])


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("#!/bin/sh\necho why; exit 3\n", 3, "hooks/before-switch ended with status 3"),
        ("#!/no/such/program\n", 126, "hooks/before-switch ended with status 126"),
    ],
)
def test_a_hook_that_fails_says_how(tmp_path: Path, text: str, status: int, words: str) -> None:
    ran, _ = run(tree_with(tmp_path, "before-switch", text), "before-switch")
    assert ran is not None
    assert (ran.status, ran.failed) == (status, words)
    assert ran.output


def test_a_hook_that_takes_too_long_is_killed_with_what_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    tree_with(tmp_path, "before-switch", f"#!/bin/sh\n(sleep 3; touch {mark}) &\necho begun; sleep 60\n")
    ran, _ = run(tmp_path, "before-switch", timeout=1)
    assert ran is not None
    assert (ran.status, ran.output) == (None, ["begun"])
    assert "was ended after 1 s (releases.hook_timeout)" in ran.failed
    time.sleep(3)
    assert not mark.exists()


def test_what_a_hook_leaves_in_the_background_keeps_nobody_waiting(tmp_path: Path) -> None:
    tree_with(tmp_path, "after-switch", "#!/bin/sh\nsleep 6 &\necho done\n")
    started = time.monotonic()
    ran, _ = run(tmp_path, "after-switch")
    assert ran is not None
    assert ran.output == ["done"]
    assert time.monotonic() - started < 6


def test_hooks_that_would_never_run_are_named() -> None:
    names = ["hooks/before-release", "hooks/after-relase", "hooks/README", "hooks/lib/x", "src/before-build"]
    found = hooks.problems(names, lambda name: name in ("hooks/after-relase", "hooks/lib/x"))
    assert found == [
        "hooks/after-relase is no hook's name; did you mean hooks/after-release?",
        "hooks/before-release is not executable: chmod +x hooks/before-release",
    ]


# -- on a host ------------------------------------------------------------------------------------------------------


def write_hooks(bench: Bench, **texts: str) -> None:
    for name, text in texts.items():
        tree_with(bench.repository, name.replace("_", "-"), text)
    bench.commit("hooks")


def told(line: str) -> dict[str, str]:
    values: dict[str, str] = json.loads(line)
    return values


def test_the_hooks_of_a_release_run_in_order_and_are_recorded(bench: Bench) -> None:
    old = bench.current()
    write_hooks(bench, **{moment.replace("-", "_"): f"#!/usr/bin/env python3\n{ENVIRONMENT}\n" for moment in MOMENTS})
    line = [*bench.line("build", "--json")[:4], "build", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(bench.repository)}
    result = subprocess.run(line, env=environment, cwd=bench.repository, capture_output=True, text=True, check=True)
    made = json.loads(result.stdout)
    lines = [text.partition(": ") for text in result.stderr.splitlines() if ": {" in text]
    built = {name.strip(): told(text) for name, _, text in lines}
    assert list(built) == ["before-build", "after-build"]
    assert built["after-build"]["STACK_ARCHIVE"] == made["path"]
    assert built["before-build"]["STACK_COMMIT"] == made["commit"]

    said = bench.release(bench.build())
    assert said["status"] == 0, said["stderr"]
    steps = [step["name"] for step in said["steps"]]
    assert steps.index("preflight") + 1 == steps.index("before-release") == steps.index("unpack") - 1
    assert steps.index("way back") + 1 == steps.index("before-switch") == steps.index("supervisor") - 1
    ran = bench.recorded()[-1]["hooks"]
    assert [hook["hook"] for hook in ran] == ["before-release", "before-switch", "after-switch", "after-release"]
    values = [told(hook["output"][0]) for hook in ran]
    for known in values:
        assert known["STACK_RELEASE"] == made["id"]
        assert known["STACK_PREVIOUS"] == old
        assert (known["STACK_ACTION"], known["STACK_NAME"], known["STACK_VERSION"]) == ("release", "hello", "1.0")
    assert values[0]["STACK_TREE"] == str(bench.root / "incoming" / made["id"])
    assert {known["STACK_TREE"] for known in values[1:]} == {str(bench.root / "releases" / made["id"])}

    assert not bench.release(bench.build())["changed"]  # and no hook ran
    bench.stack_command("rollback", old)
    assert bench.recorded()[-1]["action"] == "rollback"
    assert "hooks" not in bench.recorded()[-1]  # that release has none


def test_a_failing_hook_before_stops_the_release_before_anything_is_touched(bench: Bench) -> None:
    old, folders = bench.current(), sorted(os.listdir(bench.root / "releases"))
    failure = "#!/bin/sh\necho $STACK_STEP: $STACK_MESSAGE\n"
    write_hooks(bench, before_release="#!/bin/sh\necho the freeze is on; exit 1\n", on_failure=failure)
    said = bench.release(bench.build())
    assert (said["status"], said["step"], said["changed"]) == (1, "before-release", False)
    assert said["log"] == ["the freeze is on"]
    assert sorted(os.listdir(bench.root / "releases")) == folders
    assert bench.pointers() == {bench.current()} == {old}
    recorded = bench.recorded()[-1]
    assert [hook["hook"] for hook in recorded["hooks"]] == ["before-release", "on-failure"]
    assert recorded["hooks"][1]["output"] == ["before-release: hooks/before-release ended with status 1"]


def test_a_failing_hook_before_the_switch_moves_no_process_and_one_after_it_only_warns(bench: Bench) -> None:
    old = bench.current()
    write_hooks(bench, before_switch="#!/bin/sh\nexit 1\n")
    said = bench.release(bench.build())
    assert (said["step"], said["status"]) == ("before-switch", 1)
    assert bench.pointers() == {bench.current()} == {old}
    write_hooks(
        bench, before_switch="#!/bin/sh\n", after_switch="#!/bin/sh\nexit 5\n", after_release="#!/bin/sh\nexit 6\n"
    )
    built = bench.build()
    said = bench.release(built)
    assert (said["status"], bench.current()) == (0, built.id)
    assert "hooks/after-switch ended with status 5" in said["stderr"]
    assert [hook["status"] for hook in bench.recorded()[-1]["hooks"]] == [0, 5, 6]


def test_a_build_is_stopped_by_its_hook_and_by_a_hook_that_would_never_run(bench: Bench) -> None:
    write_hooks(bench, before_build="#!/bin/sh\necho tests fail; exit 1\n")
    line = [*bench.line("build")[:4], "build"]
    environment = {**os.environ, "PYTHONPATH": str(bench.repository)}
    result = subprocess.run(line, env=environment, cwd=bench.repository, capture_output=True, text=True)
    assert result.returncode == 1
    assert "hooks/before-build ended with status 1" in result.stderr
    assert "tests fail" in result.stderr
    (bench.repository / "hooks" / "before-build").rename(bench.repository / "hooks" / "before-switch")
    (bench.repository / "hooks" / "before-switch").chmod(0o644)
    bench.commit("mode")
    result = subprocess.run(line, env=environment, cwd=bench.repository, capture_output=True, text=True)
    assert result.returncode == 1
    assert "chmod +x hooks/before-switch" in result.stderr


# -- notifications --------------------------------------------------------------------------------------------------


class Receiver:
    """Answers with the statuses it was given, the last one for ever, and keeps what came."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[Mapping[str, str], bytes]] = []
        self.url = ""

    def answer(self) -> int:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    receiver = Receiver(*statuses)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
            status = receiver.answer()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", receiver.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def secret(tmp_path: Path) -> str:
    made = make_secret()
    (tmp_path / "notify_secret").write_text(f"{made}\n")
    return made


def stack_for(tmp_path: Path, url: str, *more: str) -> dict[str, Any]:
    return load("host", layers=[set_layer([f"paths.secrets={tmp_path}", f"releases.notify_url={url}", *more])])


def test_a_notification_is_signed_as_the_applications_own_webhooks_are(tmp_path: Path, secret: str) -> None:
    with receiving(204) as receiver:
        sent = notify.send(stack_for(tmp_path, receiver.url), "cloudeye-1", {"type": "release.done"})
    assert sent == notify.Delivery(1, "")
    ((headers, body),) = receiver.got
    assert json.loads(body) == {"type": "release.done"}
    assert (headers["webhook-id"], headers["user-agent"]) == ("cloudeye-1", "cloudeye-stack/1")
    assert headers["webhook-signature"] == sign(secret, "cloudeye-1", int(headers["webhook-timestamp"]), body)


@pytest.mark.parametrize(
    ("statuses", "tries", "problem"),
    [
        ([503, 429, 200], 3, ""),
        ([500], 3, "answered with status 500"),
        ([404], 1, "answered with status 404"),
        ([302], 1, "answered with status 302"),
    ],
)
def test_a_notification_is_tried_again_only_while_that_may_help(
    tmp_path: Path, secret: str, statuses: list[int], tries: int, problem: str
) -> None:
    paused: list[float] = []
    with receiving(*statuses) as receiver:
        stack = stack_for(tmp_path, receiver.url)
        assert notify.send(stack, "one", {}, sleep=paused.append) == notify.Delivery(tries, problem)
    assert len(receiver.got) == tries
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert paused == [1.0, 2.0][: tries - 1]


def test_a_receiver_that_is_not_there_or_never_answers_ends_by_itself(tmp_path: Path, secret: str) -> None:
    def ask(url: str) -> notify.Delivery:
        stack = stack_for(tmp_path, url, "releases.notify_timeout=1", "releases.notify_tries=2")
        return notify.send(stack, "one", {}, sleep=lambda _: None)

    assert "refused" in ask("http://127.0.0.1:9/").problem
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as silent:  # takes, never answers
        sent = ask(f"http://127.0.0.1:{silent.server_address[1]}/")
    assert sent.tries == 2
    assert "no answer" in sent.problem


@pytest.mark.parametrize("text", ["", "plain", "whsec_***", "whsec_c2hvcnQ="])
def test_a_secret_that_is_none_is_a_problem_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "notify_secret").write_text(text)
    sent = notify.send(stack_for(tmp_path, "http://127.0.0.1:9/"), "one", {})
    assert sent.tries == 0
    assert "the secret notify_secret" in sent.problem


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(StackError, match=r"releases\.notify_url is 'ftp://x'"):
        load("host", layers=[set_layer(["releases.notify_url=ftp://x"])])


def test_no_process_is_told_where_the_secret_lies(tmp_path: Path) -> None:
    from deploy.derive import settings

    assert "NOTIFY" not in "".join(settings(stack_for(tmp_path, "http://127.0.0.1:9/")))


def test_a_release_tells_of_its_end_and_a_receiver_that_fails_changes_nothing(bench: Bench) -> None:
    path = Path(bench.values["paths"]["secrets"], "notify_secret")
    path.touch(mode=0o600)
    path.write_text(make_secret())
    with receiving(200) as receiver:
        bench.values["releases"].update(notify_url=receiver.url, notify_tries=1)
        bench.write_config()
        built = bench.edit("src/hello/wsgi.py", "pong!", "pong n!")
        assert bench.release(built)["status"] == 0
        broken = bench.edit("src/hello/wsgi.py", "app = Flask(__name__)", "import not_there")
        assert bench.release(broken)["status"] == 1
        done, failed = (json.loads(body) for _, body in receiver.got)
        assert (done["type"], done["data"]["current"]) == ("release.done", built.id)
        assert done["data"]["name"] == "hello"
        assert (failed["type"], failed["data"]["step"]) == ("release.failed", "check")
        assert failed["data"]["current"] == built.id
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 2
        receiver.statuses = [500]
        said = bench.stack_command("rollback")
    assert said["status"] == 0
    rollback, lost = bench.recorded()[-2:]
    assert (rollback["action"], rollback["outcome"]) == ("rollback", "done")
    assert (lost["action"], lost["outcome"], lost["run"]) == ("notify", "failed", rollback["run"])
    assert "answered with status 500" in lost["message"]
    assert bench.command("ledger", "verify").returncode == 0
    assert lost["message"] in bench.command("ledger").stdout
