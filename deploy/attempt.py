"""One run of the engine: under the lock, written into a journal, taken back when it fails, and recorded."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from deploy import ledger, procfs, resume
from deploy.journal import Journal
from deploy.layout import Host, actor, now
from deploy.lock import lock
from deploy.render import TREE
from deploy.steps import Companion, Outcome, ReleaseError, Run, Say

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def attempt(host: Host, action: str, what: str, wait: float, say: Say, *, always: bool = False) -> Iterator[Run]:
    """Hold the lock, deal with a run that was cut off, take everything back on a failure, and record the end.

    Args:
        host: where.
        action: what `stack` was told to do.
        what: with what, in a word.
        wait: how many seconds to wait for the lock.
        say: takes one line of progress.
        always: record a step that changed nothing, too.

    Raises:
        ReleaseError: of the run, after it has been taken back.
    """
    os.umask(0o022)  # everybody may read a release, only its owner may write
    with lock(host, f"{action} {what}", say, wait=wait) as held:
        _resume(host, held, say)
        before = host.pointed(host.current)
        journal = _begin(host, action, what, before)
        run = Run(say, journal)
        entry: dict[str, Any] = {"time": now(), "action": action, "what": what}
        entry |= {"actor": actor(), "host": socket.gethostname()}
        entry["run"] = journal.run
        with _signals_raise(run):
            try:
                yield run
            except ReleaseError as error:
                _ignore_signals()
                problems = run.take_back()
                if problems:
                    error.message += "\nCould not be taken back: " + "; ".join(problems)
                error.outcome = run.outcome(host.pointed(host.current), before)
                entry.update(outcome="failed", step=error.step, instance=error.instance, message=error.message)
                if _record(host, run, error.outcome, entry) and not problems:
                    journal.close()
                raise
            _ignore_signals()
            entry.update(outcome="done")
            worth = run.changed or (always and run.steps)
            if not worth or _record(host, run, run.outcome(host.pointed(host.current), before), entry):
                journal.close()


def _resume(host: Host, held: int, say: Say) -> None:
    """Undo or finish a run that was cut off. What cannot be is said and left to the run that follows."""
    try:
        resume.first(host, held, say)
    except ReleaseError as error:
        for line in error.message.splitlines():
            say(line)


def _begin(host: Host, action: str, what: str, before: str) -> Journal:
    fields = {"action": action, "what": what, "actor": actor(), "since": now(), "boot": procfs.boot()}
    try:
        return Journal.begin(host.journal, **fields, engine=str(TREE), before=before)
    except OSError as error:
        raise ReleaseError(f"{host.journal} cannot be written: {error.strerror}; nothing was changed") from error


def _record(host: Host, run: Run, outcome: Outcome, entry: dict[str, Any]) -> bool:
    """Write the run into the ledger; where that cannot be, the journal stays, and a resume writes it."""
    facts = {"migrations": outcome.migrations, "backup": outcome.backup}
    entry |= {"previous": outcome.previous, "current": outcome.release}
    entry |= {"steps": outcome.steps, "requests": outcome.requests}
    entry |= {name: fact for name, fact in facts.items() if fact}
    _tell(run, lambda companion: companion.ending(entry))
    recorded = True
    try:
        ledger.append(host.ledger, entry)
    except OSError as error:
        run.say(f"{host.ledger} cannot be written: {error.strerror}; `stack resume` will do it")
        recorded = False
    _tell(run, lambda companion: companion.recorded(entry))
    return recorded


def _tell(run: Run, what: Callable[[Companion], object]) -> None:
    """Whatever goes wrong with what goes along with a run, the run has ended as it has."""
    for companion in run.companions:
        try:
            what(companion)
        except Exception as error:
            run.say(f"{type(companion).__name__.lower()}: {type(error).__name__}: {error}")


@contextmanager
def _signals_raise(run: Run) -> Iterator[None]:
    """While inside, a signal that asks us to end is a failure, so that it is taken back like one."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        run.interrupt(f"{signal.Signals(number).name} ended it")

    handlers: dict[signal.Signals, Any] = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in SIGNALS:
        # not SIG_IGN, which the programs that we start would inherit
        signal.signal(number, lambda *_: None)
