"""A rollback, a restart and the first release of a bare host, killed at their boundaries."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from deploy import health, journal, ledger
from deploy.instances import Supervisor
from tests.unit.deploy.bench import BESIDE, Bench, Client
from tests.unit.deploy.killing import Killer, command, figures, left_over, say, serving_by_itself
from tests.unit.deploy.releasing import failed, served_by

pytestmark = pytest.mark.long

# In the short form: the moments at which most is half done.
ROLLBACK = ("after sockets.restart api-21301:api-21301-0",)
RESTART = ("before sockets.restart api-21302:api-21302-0", "after sockets.restart sync:sync")
FIRST = ("after supervisor.addProcessGroup api-21301", "after the line passed")


@pytest.mark.timeout(7200)  # in full
def test_a_rollback_killed_at_each_boundary_serves_on_and_is_put_right(
    fresh: Bench, killer: Killer, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fresh.first is not None
    builds = {built.id: built for built in (fresh.first, fresh.edit("src/hello/wsgi.py", "pong!", "pong back!"))}

    def other() -> str:
        return next(name for name in builds if name != fresh.current())

    command(fresh, "release", str(fresh.unpack(builds[other()])))
    boundaries = list(ROLLBACK)
    if full:
        names = killer.boundaries("rollback", other())
        assert set(ROLLBACK) <= set(names)
        boundaries = [str(number) for number, _ in enumerate(names, 1)]
    with Client() as client:
        for count, boundary in enumerate(boundaries):
            before, wanted = fresh.current(), other()
            killer.kill(boundary, "rollback", wanted)
            assert set(serving_by_itself(fresh).values()) <= {before, wanted}, boundary
            left = journal.read(fresh.root / "journal.jsonl")
            finished = left.finishes if left else fresh.current() == wanted
            if count % 2:
                command(fresh, "resume")
                assert served_by(fresh, wanted if finished else before), boundary
            else:
                command(fresh, "release", str(fresh.unpack(builds[wanted])))
                assert served_by(fresh, wanted), boundary
            assert left_over(fresh) == [], boundary
    say(capsys, f"rollback: {len(boundaries)} boundaries, {figures(client)}")
    assert failed(client) == {}
    assert ledger.read(fresh.root / "ledger.jsonl").problems == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_restart_killed_at_each_boundary_serves_on_and_is_put_right(
    bench: Bench, killer: Killer, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    release = bench.current()
    boundaries = list(RESTART)
    if full:
        names = killer.boundaries("restart")
        assert set(RESTART) <= set(names)
        boundaries = [str(number) for number, _ in enumerate(names, 1)]
    with Client() as client:
        for count, boundary in enumerate(boundaries):
            killer.kill(boundary, "restart")
            assert set(serving_by_itself(bench).values()) == {release}, boundary
            command(bench, "restart" if count % 2 else "resume")
            assert served_by(bench, release), boundary
            assert left_over(bench) == [], boundary
    say(capsys, f"restart: {len(boundaries)} boundaries, {figures(client)}")
    assert failed(client) == {}
    assert ledger.read(bench.root / "ledger.jsonl").problems == []


@pytest.mark.timeout(7200)
def test_a_first_release_killed_at_each_boundary_is_taken_away_or_finished(
    bare: Bench, tmp_path: Path, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bare.first is not None
    release = bare.first.id
    killer = Killer(bare, tmp_path)
    boundaries = list(FIRST)
    if full:
        source = bare.unpack(bare.first)
        names = killer.boundaries("release", str(source), engine=source)
        assert set(FIRST) <= set(names)
        boundaries = [str(number) for number, _ in enumerate(names, 1)]
    answers = 0
    for count, boundary in enumerate(boundaries):
        if full or bare.current() == release:
            bare.strip()
        source = bare.unpack(bare.first)
        killer.kill(boundary, "release", str(source), engine=source)
        rows = [row for row in health.check(bare.stack()) if row.name != "nginx"]
        assert {row.release for row in rows if row.healthy} <= {release}, boundary
        left = journal.read(bare.root / "journal.jsonl")
        finished = left.finishes if left else bare.current() == release
        # Until then nobody was ever served: whatever is up goes.
        with Client(address=BESIDE) if finished else nullcontext() as client:
            if count % 2:
                command(bare, "release", str(bare.unpack(bare.first)), engine=source)
            else:
                command(bare, "resume", engine=source)
        if client:
            assert failed(client) == {}, boundary
            answers += sum(client.answers.values())
        assert left_over(bare) == [], boundary
        if finished or count % 2:
            assert served_by(bare, release), boundary
        else:
            assert (bare.current(), Supervisor(bare.stack()).table()) == ("current", {}), boundary
    say(capsys, f"first release: {len(boundaries)} boundaries, {answers} requests to what was finished, 0 failed")
    assert ledger.read(bare.root / "ledger.jsonl").problems == []
