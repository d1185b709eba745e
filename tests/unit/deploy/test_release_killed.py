"""The engine killed at every boundary: what is served meanwhile, and that the next command puts it right."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from deploy import journal, ledger
from tests.unit.deploy.bench import Bench, Client
from tests.unit.deploy.killing import Killer, command, figures, left_over, say, serving_by_itself
from tests.unit.deploy.releasing import failed, served_by

pytestmark = pytest.mark.long

# In the short form: a moment of each kind.
SAMPLE = (
    "after the line step unpack",
    "after sockets.restart api-21301:api-21301-0",
    "before the journal goes",
)


@pytest.mark.timeout(7200)  # in full
def test_a_release_killed_at_each_boundary_serves_on_and_is_put_right(
    bench: Bench, killer: Killer, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.first is not None
    builds = {built.id: built for built in (bench.first, bench.edit("src/hello/wsgi.py", "pong!", "pong killed!"))}

    def other() -> str:
        return next(name for name in builds if name != bench.current())

    boundaries = list(SAMPLE)
    if full:
        # Once both lie on the host, every run has the same boundaries, and a number means the same one.
        for when in ("before", "after"):
            source = bench.unpack(builds[other()])
            killer.kill(f"{when} the rename to {source.name}", "release", str(source), engine=source)
            command(bench, "resume")
        command(bench, "release", str(bench.unpack(builds[other()])))
        source = bench.unpack(builds[other()])
        names = killer.boundaries("release", str(source), engine=source)
        assert set(SAMPLE) <= set(names)
        boundaries = [str(number) for number, _ in enumerate(names, 1)]
    say(capsys, f"\n{'killed':<58}  {'served then':<17}  {'then':<8} serves, requests so far")
    with Client() as client:
        for count, boundary in enumerate(boundaries):
            old, new = bench.current(), other()
            source = bench.unpack(builds[new])
            killer.kill(boundary, "release", str(source), engine=source)
            serving = serving_by_itself(bench)
            assert set(serving.values()) <= {old, new}
            left = journal.read(bench.root / "journal.jsonl")
            finished = left.finishes if left else bench.current() == new
            if count % 2:
                command(bench, "release", str(bench.unpack(builds[new])), engine=source)
                expected, how = new, "release"
            else:
                command(bench, "resume")
                expected, how = (new if finished else old), "resume"
            assert served_by(bench, expected), boundary
            assert left_over(bench) == [], boundary
            moved = f"{sum(release == new for release in serving.values())} of {len(serving)} on the new"
            name = names[int(boundary) - 1] if full else boundary
            serves = "new" if expected == new else "old"
            say(capsys, f"{name:<58}  {moved}  {how:<8} {serves}  {figures(client)}")
    say(capsys, f"{len(boundaries)} boundaries, {figures(client)}")
    assert failed(client) == {}
    assert ledger.read(bench.root / "ledger.jsonl").problems == []


@pytest.mark.timeout(7200)
def test_a_resume_that_is_killed_is_resumed(bench: Bench, killer: Killer, full: bool) -> None:
    old = bench.current()
    source = bench.unpack(bench.edit("src/hello/wsgi.py", "pong!", "pong r!"))

    def cut_off() -> None:
        killer.kill("after sockets.restart api-21302:api-21302-0", "release", str(source), engine=source)

    boundaries = ["before the rename to api-21301-0"]
    if full:
        cut_off()
        boundaries = [str(number) for number, _ in enumerate(killer.boundaries("resume", engine=source), 1)]
    with Client() as client:
        for boundary in boundaries:
            cut_off()
            killer.kill(boundary, "resume", engine=source)
            assert set(serving_by_itself(bench).values()) <= {old, source.name}
            command(bench, "resume")
            assert served_by(bench, old), boundary
            assert left_over(bench) == [], boundary
    assert failed(client) == {}


def test_what_was_cut_off_is_told_and_then_nothing_is_left_to_resume(bench: Bench, killer: Killer) -> None:
    old = bench.current()
    source = bench.unpack(bench.edit("src/hello/wsgi.py", "pong!", "pong t!"))
    killer.kill("after the rename to api-21301-0", "release", str(source), engine=source)
    assert any("stack resume" in line for line in bench.command("status").stdout.splitlines())
    before = bench.pointers()
    told = command(bench, "resume", "--dry-run")
    assert (told["verdict"], told["changed"]) == ("undone", False)
    assert "in step roll" in told["message"]
    assert f"api-21301-0 to {old}" in told["message"]
    assert bench.pointers() == before
    done = command(bench, "resume")
    assert (done["verdict"], done["release"]) == ("undone", old)
    # The engine that wrote the journal did it, not the one that was called.
    assert f"by the engine of that run, {source}" in done["stderr"]
    takeover, resumed = bench.recorded()[-2:]
    assert (takeover["action"], resumed["action"], resumed["outcome"]) == ("takeover", "resume", "undone")
    assert "it died" in takeover["message"]
    again = command(bench, "resume")
    assert (again["verdict"], again["changed"], again["message"]) == ("nothing", False, "there is nothing to resume")
    assert served_by(bench, old)


@pytest.mark.slow
def test_it_is_resumed_by_the_engine_at_hand_where_that_of_the_run_is_gone(bench: Bench, killer: Killer) -> None:
    old = bench.current()
    source = bench.unpack(bench.edit("src/hello/wsgi.py", "pong!", "pong g!"))
    killer.kill("after the rename to api-21301-0", "release", str(source), engine=source)
    source.rename(source.with_name("elsewhere"))
    assert command(bench, "resume")["verdict"] == "undone"
    assert served_by(bench, old)


@pytest.mark.parametrize("action", [pytest.param("rollback", marks=pytest.mark.slow), "restart"])
def test_each_other_command_puts_it_right_before_its_own_work(bench: Bench, killer: Killer, action: str) -> None:
    old = bench.current()
    source = bench.unpack(bench.edit("src/hello/wsgi.py", "pong!", f"pong {action}!"))
    killer.kill("after the rename to api-21301-0", "release", str(source), engine=source)
    arguments = [action, old] if action == "rollback" else [action]
    with Client() as client:
        command(bench, *arguments)
    assert served_by(bench, old)
    assert left_over(bench) == []
    assert failed(client) == {}


def test_nothing_that_the_engine_started_goes_on_without_it_or_is_left_lying(bench: Bench, tmp_path: Path) -> None:
    source = bench.unpack(bench.edit("src/hello/wsgi.py", "pong!", "pong o!"))
    line = [*bench.line("release", str(source)), "--account", "root"]
    environment = {**bench.environment(source), "TMPDIR": str(tmp_path)}
    engine = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not rehearsals(source.name):
        assert engine.poll() is None, engine.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    engine.kill()
    engine.communicate()
    assert (bench.root / "releases" / ".rehearsal.new").is_dir()
    deadline = time.monotonic() + 20
    while rehearsals(source.name):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert command(bench, "resume")["verdict"] == "undone"
    assert left_over(bench) == []
    assert list(tmp_path.iterdir()) == [], "nothing of it lies where nobody clears it"


def rehearsals(release: str) -> list[str]:
    """The processes of an instance that is being rehearsed."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            continue
        if "APP_INSTANCE=rehearsal\0" in text and f"/releases/{release}/" in text:
            found.append(path.parent.name)
    return found
