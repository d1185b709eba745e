"""What becomes of a run that was cut off, by a kill or a power cut, as its journal tells.

Before `current` was about to move, the run is undone: each change in the journal is taken back, the last one first, by
the same functions as after a failure. From there on it is finished: every process had passed its gate on the target.
Then each process that does not serve the release it is pointed at (it was being restarted) is restarted. All of it
may be cut off again and started anew.

The engine that wrote the journal does this, as it knows best what it did; this one calls it when it is another.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy import instances, journal, ledger, procfs, sections, tree
from deploy.instances import Supervisor
from deploy.journal import FORMAT, Journal, Unfinished
from deploy.layout import Host, actor, now
from deploy.lock import INHERITED, lock
from deploy.render import TREE
from deploy.rolling import complete
from deploy.steps import Outcome, ReleaseError, Run, Say
from deploy.undo import Place


@dataclass(frozen=True)
class Resumed:
    """What a resume did, or would do: `verdict` is nothing, undone, done or failed, and `message` says the rest."""

    verdict: str
    message: str
    outcome: Outcome


def resume(host: Host, say: Say, *, wait: float = 0.0, dry_run: bool = False) -> Resumed:
    """Undo or finish the run that was cut off on a host, if one was.

    Args:
        host: where.
        say: takes one line of progress.
        wait: how many seconds to wait for the lock.
        dry_run: only tell what would be done.

    Raises:
        ReleaseError: when some of it could not be done; the journal stays, so that it can be tried again.
    """
    if dry_run:
        left = journal.read(host.journal)
        current = host.pointed(host.current)
        outcome = Outcome(False, current, current)
        if left is None:
            return Resumed("nothing", "there is nothing to resume", outcome)
        back = [f"  {change.what}" for change in reversed(left.changes.values())] if not left.finishes else []
        return Resumed("done" if left.finishes else "undone", "\n".join([_plan(left), *back]), outcome)
    with lock(host, "resume", say, wait=wait) as held:
        return first(host, held, say)


def first(host: Host, held: int, say: Say) -> Resumed:
    """Undo or finish the run that was cut off, if one was, before anything else is done.

    Args:
        host: where; its lock is held.
        held: the lock's descriptor.
        say: takes one line of progress.

    Raises:
        ReleaseError: when some of it could not be done.
    """
    left = journal.read(host.journal)
    if left is None:
        host.journal.unlink(missing_ok=True)  # cut off before its first line was whole
        current = host.pointed(host.current)
        return Resumed("nothing", "there is nothing to resume", Outcome(False, current, current))
    say(_plan(left))
    engine = Path(left.engine)
    if engine != TREE and _is_ours(host, engine) and (engine / "deploy" / "resume.py").is_file():
        return _by_another(host, engine, held, say)
    if left.format > FORMAT:
        raise ReleaseError(
            f"{host.journal} was written by a newer engine, which is gone ({engine}); unpack that release there again"
        )
    return _carry_out(host, left, say)


def _plan(left: Unfinished) -> str:
    cut = "the host was restarted" if left.boot != procfs.boot() else "its engine was killed"
    will = f"going on to {left.target}" if left.finishes else f"going back to {left.before or 'what was before'}"
    step = f" in step {left.step}" if left.step else ""
    return f"{left.action} {left.what} by {left.actor} since {left.since}: {cut}{step}; {will}"


def _is_ours(host: Host, engine: Path) -> bool:
    return engine.parent in (host.releases.resolve(), host.incoming.resolve())


def _by_another(host: Host, engine: Path, held: int, say: Say) -> Resumed:
    """Have the engine that wrote the journal carry it out, under the lock held here."""
    say(f"by the engine of that run, {engine}")
    result = subprocess.run(
        [sys.executable, "-P", "-m", "deploy.resume", str(host.root), host.account or ""],
        env={**os.environ, "PYTHONPATH": str(engine), INHERITED: str(held)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[held],
        check=False,
    )
    try:
        said = json.loads(result.stdout.splitlines()[-1])
        # The other engine may say more than this one knows of.
        outcome = {name: said["outcome"][name] for name in Outcome.__dataclass_fields__ if name in said["outcome"]}
        resumed = Resumed(said["verdict"], said["message"], Outcome(**outcome))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ReleaseError(f"the engine in {engine} ended with status {result.returncode}") from error
    if resumed.verdict == "failed":
        failure = ReleaseError(resumed.message)
        failure.outcome = resumed.outcome
        raise failure
    return resumed


def _carry_out(host: Host, left: Unfinished, say: Say) -> Resumed:
    record = Journal(host.journal, left.run)
    place = Place(host, tree.stack_of(host, left.target)) if left.target else None
    run = Run(say, record, place.perform if place else None, left.changes)
    problems: list[str] = []
    verdict = "done" if left.finishes else "undone"
    if left.finishes:
        try:
            complete(run, host, tree.open_release(host, left.target))
        except ReleaseError as error:
            verdict, problems = "failed", [f"{left.target} could not be finished: {error.message}"]
            problems += run.take_back()
    else:
        problems += run.take_back()
    problems += _settle(host, run)
    tidy(host, place.stack if place else None)
    current = host.pointed(host.current)
    message = f"{left.action} {left.what} was cut off" + (f" in step {left.step}" if left.step else "")
    ended = "finished" if verdict == "done" else "taken back" if left.changes else "it had changed nothing"
    message += f"; {ended}: {current or 'nothing'} is current"
    outcome = Outcome(True, current, left.before, [asdict(step) for step in run.steps])
    if problems:
        verdict, message = "failed", "\n".join([message, *problems])
    if left.run not in (entry.get("run") for entry in ledger.read(host.ledger).entries):
        line: dict[str, Any] = {"time": now(), "action": "resume", "what": f"{left.action} {left.what}"}
        line |= {"actor": actor(), "host": socket.gethostname(), "run": left.run, "step": left.step}
        line |= {"outcome": verdict, "message": message, "previous": left.before, "current": current}
        ledger.append(host.ledger, {**line, "steps": outcome.steps})
    if problems:
        failure = ReleaseError(message)
        failure.outcome = outcome
        raise failure
    record.close()
    return Resumed(verdict, message, outcome)


def _settle(host: Host, run: Run) -> list[str]:
    """Have every process serve the release it is pointed at; return what could not be."""
    current = host.pointed(host.current)
    if not current:
        return []
    try:
        stack = tree.stack_of(host, current)
        supervisor = Supervisor(stack)
        if not supervisor.answers():
            run.say("starting supervisord")
            sections.start_supervisord(stack, supervisor)
    except ReleaseError as error:
        return [error.message]
    problems = []
    for process in instances.with_pointer(stack):
        release = instances.serves(host, process)
        if not release:
            instances.point(host, process, current)
        try:
            if instances.settle(stack, supervisor, process, release or current):
                run.say(f"{process['name']}: restarted")
        except (ReleaseError, OSError) as error:
            problems.append(f"{process['name']}: {error}")
    return problems


def tidy(host: Host, stack: Mapping[str, Any] | None) -> None:
    """Take away what was made aside and had not got its name yet."""
    aside = [*host.instances.glob(".*.new"), *host.root.glob(".*.new")]
    if stack:
        aside += Path(stack["supervisor"]["programs"]).glob(".*.conf.*")
        aside.append(Path(stack["nginx"].get("closing", host.root / ".closing")))  # of a reload that did not come
        aside += Path(stack["paths"]["nginx_conf"], "conf.d").glob(f".{stack['stack']['name']}.conf.*")
    for path in aside:
        path.unlink(missing_ok=True)
    for folder in (host.releases, host.venvs, host.incoming):
        for path in (*folder.glob(".*.new"), *folder.glob(".*.old")):
            shutil.rmtree(path, ignore_errors=True)


def _main(root: str, account: str) -> int:
    """Carry a journal out for another engine, which holds the lock; the last line of output is what was done."""

    def say(line: str) -> None:
        print(f"  {line}", file=sys.stderr, flush=True)

    importlib.import_module("deploy.release")  # with every module that knows how a kind of change is taken back
    host = Host(Path(root), account or None)
    try:
        resumed = resume(host, say)
    except ReleaseError as error:
        resumed = Resumed("failed", error.message, error.outcome)
    print(json.dumps(asdict(resumed)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
