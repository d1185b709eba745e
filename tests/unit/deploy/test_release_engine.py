"""Releases on a host in a folder: real pip, supervisord, gunicorn and nginx, under requests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from deploy.build import Built
from deploy.instances import Supervisor
from deploy.render import write_file
from tests.unit.deploy.bench import PORTS, Bench, Client

pytestmark = pytest.mark.long

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


def test_the_first_release_is_served_and_its_last_line_is_for_programs(fresh: Bench) -> None:
    assert fresh.first is not None
    said = json.loads(fresh.first_said)
    assert (said["changed"], said["release"], said["previous"]) == (True, fresh.first.id, "")
    changed = [step["name"] for step in said["steps"] if step["changed"]]
    assert {"unpack", "venv", "roll", "sync", "nginx", "current"} <= set(changed)
    assert all(step["seconds"] >= 0 for step in said["steps"])
    assert served_by(fresh, fresh.first.id)


def test_releasing_what_is_current_changes_nothing(fresh: Bench) -> None:
    pids = {row["name"]: row["pid"] for row in json.loads(fresh.command("status", "--json").stdout)["processes"]}
    lines = len(fresh.recorded())
    assert fresh.first is not None
    said = fresh.release(fresh.first)
    assert (said["status"], said["changed"]) == (0, False)
    assert not any(step["changed"] for step in said["steps"])
    after = json.loads(fresh.command("status", "--json").stdout)["processes"]
    assert {row["name"]: row["pid"] for row in after} == pids
    assert len(fresh.recorded()) == lines


def test_a_release_under_requests_loses_none_and_installs_nothing(bench: Bench) -> None:
    before = bench.current()
    built = bench.edit("src/hello/wsgi.py", "pong!", "pong again!")
    with Client() as client:
        said = bench.release(built)
    assert (said["status"], said["changed"], said["previous"]) == (0, True, before)
    assert failed(client) == {}
    assert sum(client.answers.values()) > 100
    assert served_by(bench, built.id)
    assert not next(step for step in said["steps"] if step["name"] == "venv")["changed"]
    assert (bench.root / "releases" / built.id / "venv").resolve() == (
        bench.root / "releases" / before / "venv"
    ).resolve()


def test_a_release_is_compiled_and_closed_to_writing(bench: Bench) -> None:
    release = (bench.root / "current").resolve()
    assert list((release / "src" / "hello" / "__pycache__").glob("wsgi.*.pyc"))
    paths = [release, *(path for path in release.rglob("*") if not path.is_symlink())]
    assert [str(path) for path in paths if path.stat().st_mode & 0o022] == []
    assert (release / "rendered" / "stack.json").stat().st_mode & 0o777 == 0o600


BROKEN = [
    pytest.param("app = Flask(__name__)", "import not_there", "check", "", id="does not import"),
    pytest.param(READY, "return jsonify(status='error'), 500", "rehearse", "rehearsal", id="is not ready"),
    pytest.param('"pong!")', '"pong!"), 500', "rehearse", "rehearsal", id="fails a smoke request"),
    pytest.param(
        '"""A very small application that',
        'import os\nif os.environ["APP_INSTANCE"].startswith("api-"): raise SystemExit(7)\n"""',
        "roll",
        "api-21301-0",
        id="ends when started by supervisor",
        marks=SLOW,
    ),
    pytest.param(
        READY,
        READY + ', 500 if os.environ["APP_INSTANCE"] == "api-21302-0" else 200',
        "roll",
        "api-21302-0",
        id="is not ready in the middle of the roll",
    ),
]


@pytest.mark.parametrize(("before", "after", "step", "instance"), BROKEN)
def test_a_broken_release_leaves_everything_on_the_old_one(
    bench: Bench, before: str, after: str, step: str, instance: str
) -> None:
    bench.values["timeouts"]["health"] = 6
    bench.write_config()
    old = bench.current()
    built = bench.edit("src/hello/wsgi.py", before, after)
    with Client() as client:
        said = bench.release(built)
    assert (said["status"], said["failed"]) == (1, True)
    assert (said["step"], said["instance"]) == (step, instance)
    assert said["log"]
    assert failed(client) == {}
    assert served_by(bench, old)
    assert bench.recorded()[-1]["outcome"] == "failed"


@SLOW
def test_a_background_process_that_does_not_start_takes_the_release_back(bench: Bench) -> None:
    bench.values["timeouts"]["health"] = 6
    bench.write_config()
    old = bench.current()
    said = bench.release(bench.variant("src/hello/sync/__main__.py", "raise SystemExit('no queue')\n"))
    assert (said["step"], said["instance"]) == ("sync", "sync")
    assert "no queue" in said["log"]
    assert served_by(bench, old)


def test_a_site_that_nginx_refuses_takes_the_release_back(fresh: Bench) -> None:
    old = fresh.current()
    site = Path(fresh.values["paths"]["nginx_conf"], "conf.d", "hello.conf")
    text = site.read_text()
    fresh.values["nginx"]["client_max_body"] = "one"
    fresh.write_config()
    assert fresh.first is not None
    with Client() as client:
        said = fresh.release(fresh.first)
    assert (said["step"], said["status"]) == ("nginx", 1)
    assert "client_max_body_size" in "\n".join(said["log"])
    assert site.read_text() == text
    assert failed(client) == {}
    assert served_by(fresh, old)


def test_an_archive_that_was_changed_is_refused_before_anything_else(bench: Bench) -> None:
    old, releases = bench.current(), sorted(os.listdir(bench.root / "releases"))
    folder = bench.unpack(bench.edit("src/hello/wsgi.py", "pong!", "pong?"))
    (folder / "src" / "hello" / "wsgi.py").write_text("import os\n")
    said = bench.stack_command("release", str(folder))
    assert (said["status"], said["step"], said["changed"]) == (1, "verify", False)
    assert "src/hello/wsgi.py" in said["message"]
    assert sorted(os.listdir(bench.root / "releases")) == releases
    assert served_by(bench, old)


def test_other_values_of_the_same_commit_are_a_release_of_their_own(fresh: Bench) -> None:
    assert fresh.first is not None
    before = fresh.current()
    fresh.values["app"]["settings"] = {"greeting": "hello"}
    fresh.write_config()
    said = fresh.release(fresh.first)
    assert said["changed"]
    assert said["release"].startswith(f"{fresh.first.id}-")
    assert served_by(fresh, said["release"])
    settings = (fresh.root / "current" / "rendered" / "settings.env").read_text()
    assert "APP_GREETING=hello\n" in settings
    assert not fresh.release(fresh.first)["changed"]
    back = fresh.stack_command("rollback")
    assert (back["release"], back["changed"]) == (before, True)
    assert "APP_GREETING" not in (fresh.root / "current" / "rendered" / "settings.env").read_text()


def _lose_a_pointer(bench: Bench) -> None:
    (bench.root / "instances" / "api-21302-0").unlink()


def _edit_the_site(bench: Bench) -> None:
    path = Path(bench.values["paths"]["nginx_conf"], "conf.d", "hello.conf")
    path.write_text(path.read_text().replace("keepalive_requests 100000;", "keepalive_requests 10;"))


def _edit_a_file_of_the_release(bench: Bench) -> None:
    path = bench.root / "current" / "src" / "hello" / "wsgi.py"
    path.write_text(path.read_text().replace("pong!", "edited"))


def _edit_a_rendered_file(bench: Bench) -> None:
    (bench.root / "current" / "rendered" / "settings.env").write_text("APP_NAME=other\n")


def _stop_a_process(bench: Bench) -> None:
    supervisorctl(bench, "stop", "sync")


def _lose_current(bench: Bench) -> None:
    (bench.root / "current").unlink()


def supervisorctl(bench: Bench, *arguments: str) -> None:
    program = bench.root / "supervisor" / "bin" / "supervisorctl"
    subprocess.run(
        [str(program), "-c", bench.stack()["supervisor"]["config"], *arguments], check=True, capture_output=True
    )


@pytest.mark.parametrize(
    ("break_it", "steps"),
    [
        pytest.param(_lose_a_pointer, {"roll"}, id="a missing pointer"),
        pytest.param(_edit_the_site, {"nginx"}, id="an edited site"),
        pytest.param(_edit_a_file_of_the_release, {"unpack", "roll", "sync"}, id="an edited file of the release"),
        pytest.param(_edit_a_rendered_file, {"unpack", "roll", "sync"}, id="an edited rendered file", marks=SLOW),
        pytest.param(_stop_a_process, {"sync"}, id="a stopped process"),
        pytest.param(_lose_current, {"current"}, id="a missing current"),
    ],
)
def test_what_was_changed_by_hand_is_mended_and_said(fresh: Bench, break_it: object, steps: set[str]) -> None:
    assert callable(break_it)
    assert fresh.first is not None
    break_it(fresh)
    said = fresh.release(fresh.first)
    assert (said["status"], said["changed"]) == (0, True)
    assert {step["name"] for step in said["steps"] if step["changed"]} - {"prune"} == steps
    assert served_by(fresh, fresh.first.id)
    assert not fresh.release(fresh.first)["changed"]


@SLOW
def test_going_back_and_forth_loses_no_request(bench: Bench) -> None:
    old = bench.current()
    built = bench.edit("src/hello/wsgi.py", "pong!", "pong 2!")
    bench.release(built)
    with Client() as client:
        back = bench.stack_command("rollback")
        forth = bench.stack_command("rollback", built.id)
    assert (back["release"], back["previous"]) == (old, built.id)
    assert (forth["release"], forth["previous"]) == (built.id, old)
    assert failed(client) == {}
    assert served_by(bench, built.id)


def test_going_back_to_what_is_not_there_is_refused_with_what_is(bench: Bench) -> None:
    said = bench.stack_command("rollback", "20200101T000000-0000000")
    assert (said["status"], said["changed"]) == (1, False)
    assert bench.current() in said["message"]


def test_restarting_everything_loses_no_request_and_moves_nothing(bench: Bench) -> None:
    old = bench.current()
    with Client() as client:
        said = bench.stack_command("restart")
    assert {step["name"] for step in said["steps"]} == {*INSTANCES, "sync"}
    assert failed(client) == {}
    assert served_by(bench, old)


def test_restarting_one_group_leaves_the_others_alone(bench: Bench) -> None:
    said = bench.stack_command("restart", "api-21302")
    assert [step["name"] for step in said["steps"]] == ["api-21302-0"]
    unknown = bench.stack_command("restart", "api-9")
    assert unknown["status"] == 1
    assert "api-9" in unknown["message"]


def test_only_what_started_before_a_secret_changed_is_restarted(bench: Bench) -> None:
    secrets = Path(bench.values["paths"]["secrets"])
    assert bench.stack_command("restart")["status"] == 0
    for name in ("database_password_next", "admin_password"):  # nothing that a process knows
        write_file(secrets / name, "of no concern\n", mode=0o600)
    assert bench.stack_command("restart", "--old-secrets")["steps"] == []
    write_file(secrets / "secret_key_next", "k" * 40, mode=0o600)
    first = bench.stack_command("restart", "--old-secrets", "api-21301")
    assert [step["name"] for step in first["steps"]] == ["api-21301-0"]
    then = bench.stack_command("restart", "--old-secrets")
    assert {step["name"] for step in then["steps"]} == {*INSTANCES, "sync"} - {"api-21301-0"}
    again = bench.stack_command("restart", "--old-secrets")
    assert (again["status"], again["changed"], again["steps"]) == (0, False, [])


def start(bench: Bench, *arguments: str) -> subprocess.Popen[str]:
    line = bench.line(*arguments, "--account", "root", "--json")
    return subprocess.Popen(line, env=bench.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_line(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"it ended without saying {word}")


def test_of_two_at_once_the_second_is_refused_by_name_or_waits(bench: Bench) -> None:
    first = start(bench, "restart")
    try:
        wait_for_line(first, "api-21301-0")
        refused = bench.stack_command("restart", "sync")
        waited = bench.stack_command("restart", "sync", "--wait", "60")
    finally:
        first.communicate()
    assert refused["status"] == 1
    assert f"pid {first.pid}" in refused["message"]
    assert "restart all" in refused["message"]
    assert waited["status"] == first.returncode == 0


def test_of_two_releases_at_once_one_is_refused_by_name_and_one_waits(bench: Bench) -> None:
    first = bench.edit("src/hello/wsgi.py", "pong!", "pong 1!")
    second = bench.edit("src/hello/wsgi.py", "pong 1!", "pong 2!")
    with Client() as client:
        running = start(bench, "release", str(bench.unpack(first)))
        wait_for_line(running, "preflight")
        waiting = start(bench, "release", str(bench.unpack(second)), "--wait", "120")
        refused = bench.stack_command("release", str(bench.root / "incoming" / second.id))
        running.communicate()
        waiting.communicate()
    assert refused["status"] == 1
    assert f"(pid {running.pid})" in refused["message"]
    assert f"release {first.id}" in refused["message"]
    assert running.returncode == waiting.returncode == 0
    assert failed(client) == {}
    assert served_by(bench, second.id)
    assert [entry["current"] for entry in bench.recorded()[-2:]] == [first.id, second.id]


def test_a_lock_whose_holder_was_killed_is_free(bench: Bench) -> None:
    holder = start(bench, "restart")
    wait_for_line(holder, "api-21301-0")
    holder.kill()
    holder.communicate()
    assert bench.stack_command("restart", "sync")["status"] == 0
    assert [entry["action"] for entry in bench.recorded()[-3:]] == ["takeover", "resume", "restart"]


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGINT, marks=SLOW), pytest.param(signal.SIGHUP, marks=SLOW)],
)
def test_a_signal_in_the_middle_of_the_roll_takes_it_back(bench: Bench, number: signal.Signals) -> None:
    old = bench.current()
    folder = bench.unpack(bench.edit("src/hello/wsgi.py", "pong!", f"pong {number}!"))
    with Client() as client:
        engine = start(bench, "release", str(folder))
        wait_for_line(engine, "api-21302-0: ")
        engine.send_signal(number)
        output, progress = engine.communicate()
    said = json.loads(output)
    assert engine.returncode == 1, progress
    assert said["step"] == "roll"
    assert number.name in said["message"]
    assert failed(client) == {}
    assert served_by(bench, old)


def test_after_a_kill_in_the_middle_the_next_release_finishes(bench: Bench) -> None:
    built = bench.edit("src/hello/wsgi.py", "pong!", "pong k!")
    folder = bench.unpack(built)
    engine = start(bench, "release", str(folder))
    wait_for_line(engine, "api-21302-0: ")
    engine.kill()
    engine.communicate()
    assert len(bench.pointers()) == 2
    said = bench.stack_command("release", str(folder))
    assert said["status"] == 0
    assert served_by(bench, built.id)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"api": {"ports": [21301, 21302, 21303]}}, id="one port more", marks=SLOW),
        pytest.param({"api": {"ports": [21301]}}, id="one port less"),
        pytest.param({"api": {"instances": 2}}, id="one instance more"),
        pytest.param({"timeouts": {"stopwait": 7}}, id="another stopwait", marks=SLOW),
    ],
)
def test_changed_sections_are_loaded_one_group_at_a_time_without_a_lost_request(
    fresh: Bench, values: dict[str, dict[str, object]]
) -> None:
    assert fresh.first is not None
    for section, inner in values.items():
        fresh.values[section].update(inner)
    fresh.write_config()
    with Client(keep_alive="ports" not in values.get("api", {})) as client:
        said = fresh.release(fresh.first)
    assert said["status"] == 0, said["stderr"]
    assert failed(client) == {}
    serving = fresh.serving()
    assert set(serving) == {process["name"] for process in fresh.stack()["processes"]}
    assert set(serving.values()) == {said["release"]} == fresh.pointers()
    assert {path.name for path in (fresh.root / "instances").iterdir()} == set(serving)
    assert not fresh.release(fresh.first)["changed"]


HALTING = """length = len(request.get_data())
    if next(turns) % 10 == 9:
        return jsonify(status="error"), 500
    return jsonify(status="success", data={"length": length}), 201"""


def halting(bench: Bench, name: str) -> Built:
    """A release that passes every gate, and fails one in ten of the POSTs: 5 % of what the tests ask."""
    path = bench.repository / "src" / "hello" / "wsgi.py"
    text = path.read_text("utf-8")
    after = text.replace('return jsonify(status="success", data={"length": len(request.get_data())}), 201', HALTING)
    after = after.replace(
        "app = Flask(__name__)", f"import itertools\nturns = itertools.count()  # {name}\napp = Flask(__name__)"
    )
    assert after.count("turns") == 2
    return bench.variant("src/hello/wsgi.py", after)


def watched(bench: Bench, seconds: int) -> None:
    bench.values["releases"].update(watch_seconds=seconds, watch_requests=60)
    bench.write_config()


def test_a_release_that_fails_some_requests_in_the_watch_is_taken_back(bench: Bench) -> None:
    watched(bench, 4)
    old, previous = bench.current(), (bench.root / "previous").resolve().name
    lines = len(bench.recorded())
    with Client() as client:
        time.sleep(1)
        said = bench.release(halting(bench, "taken back"))
        asked = client.answers["500"]
        time.sleep(0.5)
    assert (said["status"], said["failed"], said["step"]) == (1, True, "watch")
    assert re.search(r"\d+ of \d+ failed \([3-7]\.\d %\).*; before: 0 of \d+ failed", said["message"])
    assert served_by(bench, old)
    assert (bench.root / "previous").resolve().name == previous
    # It answered throughout, and well again afterwards.
    assert set(failed(client)) == {"500"}
    assert client.answers["500"] == asked
    (entry,) = bench.recorded()[lines:]
    assert (entry["outcome"], entry["step"], entry["current"]) == ("failed", "watch", old)
    assert entry["requests"] == said["requests"]
    assert 0 < entry["requests"]["failed"] <= asked


def test_a_good_release_passes_the_watch_and_its_requests_are_counted(bench: Bench) -> None:
    watched(bench, 2)
    built = bench.edit("src/hello/wsgi.py", "pong!", "pong, watched!")
    with Client() as client:
        time.sleep(1)
        said = bench.release(built)
    assert said["status"] == 0, said["stderr"]
    assert [step["name"] for step in said["steps"]][-3:] == ["watch", "settle", "prune"]
    assert failed(client) == {}
    assert 100 < said["requests"]["seen"] <= sum(client.answers.values())
    assert said["requests"]["failed"] == 0
    assert bench.recorded()[-1]["requests"] == said["requests"]
    (row,) = [row for row in json.loads(bench.command("releases", "--json").stdout) if row["id"] == built.id]
    assert row["requests"] == said["requests"]
    counted = f"{said['requests']['seen']} requests, 0 failed"
    assert counted in bench.command("releases").stdout
    assert counted in bench.command("ledger").stdout


def test_a_quiet_host_passes_the_watch(bench: Bench) -> None:
    watched(bench, 1)
    said = bench.release(halting(bench, "quiet"))
    assert (said["status"], said["requests"]["failed"]) == (0, 0)
    assert said["requests"]["seen"] < 60  # the engine's own questions to nginx


def test_neither_a_rollback_nor_what_changes_nothing_is_watched(bench: Bench) -> None:
    built = bench.edit("src/hello/wsgi.py", "pong!", "pong, unwatched!")
    assert bench.release(built)["changed"]
    watched(bench, 60)
    for said in (bench.release(built), bench.stack_command("rollback")):
        assert (said["status"], "watch" in [step["name"] for step in said["steps"]]) == (0, False)


@SLOW
def test_killed_while_it_is_taken_back_after_the_watch_it_is_still_taken_back(bench: Bench) -> None:
    watched(bench, 4)
    old = bench.current()
    folder = bench.unpack(halting(bench, "killed"))
    with Client():
        time.sleep(1)
        engine = start(bench, "release", str(folder))
        wait_for_line(engine, "taking back: api")
        engine.kill()
        engine.communicate()
        resumed = bench.stack_command("resume")
    assert resumed["verdict"] == "undone"
    assert served_by(bench, old)


def test_maintenance_outlives_a_release_and_a_rollback(bench: Bench) -> None:
    assert bench.command("maintenance", "on").returncode == 0
    try:
        with Client() as client:
            release = bench.release(bench.edit("src/hello/wsgi.py", "pong!", "pong, maintained!"))
            rollback = bench.stack_command("rollback")
        assert json.loads(bench.command("maintenance", "status", "--json").stdout)["on"]
    finally:
        assert bench.command("maintenance", "off").returncode == 0
    assert set(client.answers) == {"200", "503"}  # /ping is open
    for said in (release, rollback):
        assert (said["status"], said["requests"]["failed"]) == (0, 0)
    with Client() as client:
        pass
    assert failed(client) == {}


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
