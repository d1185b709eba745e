"""Releases on a host in a folder: real pip, supervisord, gunicorn and nginx, under requests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from deploy.render import write_file
from tests.unit.deploy.bench import Bench, Client
from tests.unit.deploy.releasing import INSTANCES, READY, SLOW, failed, served_by, supervisorctl

pytestmark = pytest.mark.long


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
