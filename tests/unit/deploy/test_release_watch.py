"""Releases that are watched after their roll, or meet maintenance; on a host in a folder."""

from __future__ import annotations

import json
import re
import time

import pytest

from deploy import journal
from deploy.build import Built
from tests.unit.cloudeye.sync_stack import wait_for
from tests.unit.deploy.bench import Bench, Client
from tests.unit.deploy.releasing import SLOW, failed, served_by, start, wait_for_line

pytestmark = pytest.mark.long


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


def test_what_a_release_did_not_watch_is_watched_later_against_the_minutes_before_it(bench: Bench) -> None:
    watched(bench, 3)
    with Client():
        time.sleep(1)
    built = halting(bench, "watched later")
    assert bench.release(built, "--no-watch")["changed"]
    assert "watch" not in [step["name"] for step in bench.recorded()[-1]["steps"]]
    with Client():
        said = bench.stack_command("watch")
    assert (said["status"], said["failed"], said["step"], said["changed"]) == (1, True, "watch", False)
    assert re.search(r"\d+ of \d+ failed \([3-7]\.\d %\).*; before: \d+ of \d+ failed", said["message"])
    # It only says so.
    assert served_by(bench, built.id)
    entry = bench.recorded()[-1]
    assert (entry["action"], entry["outcome"], entry["current"]) == ("watch", "failed", built.id)
    assert entry["requests"]["failed"] > 0
    assert f"{entry['time']}  watch    failed {built.id}" in bench.command("ledger").stdout


def test_a_good_release_passes_a_later_watch_which_is_recorded(bench: Bench) -> None:
    watched(bench, 1)
    assert bench.release(bench.edit("src/hello/wsgi.py", "pong!", "pong, later!"), "--no-watch")["changed"]
    with Client():
        assert bench.command("watch", "--account", "root").stdout == f"{bench.current()}: not worse than before\n"
    entry = bench.recorded()[-1]
    assert (entry["action"], entry["outcome"], entry["requests"]["failed"]) == ("watch", "done", 0)
    assert entry["requests"]["seen"] > 60


def test_of_a_watch_that_was_killed_a_resume_says_that_nothing_was_changed(bench: Bench) -> None:
    watched(bench, 60)
    assert bench.release(bench.edit("src/hello/wsgi.py", "pong!", "pong, unseen!"), "--no-watch")["changed"]
    current = bench.current()
    with Client():
        engine = start(bench, "watch")
        wait_for(lambda: (left := journal.read(bench.root / "journal.jsonl")) is not None and left.step == "watch")
        engine.kill()
        engine.communicate()
    said = bench.stack_command("resume")
    assert said["message"] == f"watch {current} was cut off in step watch; it had changed nothing: {current} is current"
    assert said["verdict"] == "undone"


@pytest.mark.parametrize("seconds", [60, 0])
def test_what_was_gone_back_to_is_not_watched_later_either_nor_any_without_a_watch(bench: Bench, seconds: int) -> None:
    assert bench.release(bench.edit("src/hello/wsgi.py", "pong!", "pong, gone!"), "--no-watch")["changed"]
    watched(bench, seconds)
    if seconds:
        assert bench.stack_command("rollback")["status"] == 0
    lines = len(bench.recorded())
    said = bench.stack_command("watch")
    assert (said["status"], said["changed"], said["steps"]) == (0, False, [])
    assert f"{bench.current()} is not watched" in said["stderr"]
    assert len(bench.recorded()) == lines


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
    lines = len(bench.recorded())
    assert bench.command("maintenance", "on", "--until", "1h", "--allow", "192.0.2.7").returncode == 0
    try:
        for words in (("releases",), ("ledger",), ("ledger", "verify")):
            said = bench.command(*words)
            assert (said.returncode, "maintenance is on since" in said.stdout) == (0, True), said
        with Client() as client:
            release = bench.release(bench.edit("src/hello/wsgi.py", "pong!", "pong, maintained!"))
            rollback = bench.stack_command("rollback")
        assert json.loads(bench.command("maintenance", "status", "--json").stdout)["on"]
    finally:
        assert bench.command("maintenance", "off").returncode == 0
    assert set(client.answers) == {"200", "503"}  # /ping is open
    for said in (release, rollback):
        assert (said["status"], said["requests"]["failed"]) == (0, 0)
    recorded = bench.recorded()[lines:]
    assert [entry["action"] for entry in recorded] == ["maintenance", "release", "rollback", "maintenance"]
    assert (recorded[0]["what"], recorded[0]["allow"], recorded[3]["what"]) == ("on", ["192.0.2.7/32"], "off")
    assert recorded[0]["message"] == f"on, until {recorded[0]['until']}, for all but 192.0.2.7/32"
    with Client() as client:
        pass
    assert failed(client) == {}
