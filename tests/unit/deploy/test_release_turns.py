"""Releases that meet each other, a signal, or sections that changed; on a host in a folder."""

from __future__ import annotations

import json
import signal

import pytest

from tests.unit.deploy.bench import Bench, Client
from tests.unit.deploy.releasing import SLOW, failed, served_by, start, wait_for_line

pytestmark = pytest.mark.long


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
        said = [process.communicate() for process in (running, waiting)]
    assert refused["status"] == 1
    assert f"(pid {running.pid})" in refused["message"]
    assert f"release {first.id}" in refused["message"]
    assert running.returncode == waiting.returncode == 0, said
    assert failed(client) == {}
    assert served_by(bench, second.id)
    assert [entry["current"] for entry in bench.recorded()[-2:]] == [first.id, second.id]


def test_an_engine_that_is_no_more_needed_outlives_its_own_release(bench: Bench) -> None:
    """It was waiting in what was current then, say, while another one went on to the next."""
    old = bench.current()
    assert bench.release(bench.edit("src/hello/wsgi.py", "pong!", "pong 3!"))["changed"]
    bench.values["releases"]["keep"] = 1
    bench.write_config()
    newest = bench.edit("src/hello/wsgi.py", "pong 3!", "pong 4!")
    engine = bench.root / "releases" / old
    said = bench.command("release", str(bench.unpack(newest)), "--account", "root", "--json", engine=engine)
    assert said.returncode == 0, said.stderr
    assert served_by(bench, newest.id)
    assert engine.is_dir()
    assert bench.release(bench.edit("src/hello/wsgi.py", "pong 4!", "pong 5!"))["changed"]
    assert not engine.exists()


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
