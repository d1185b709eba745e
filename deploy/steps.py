"""The steps of a release: each has a name, a line of progress, a duration, and a way back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from deploy.journal import Change, Journal

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a run did; `release` is what is current now, `previous` what was before it, `notes` what is to be known.

    `requests` says how many were `seen` while processes moved and how many of them `failed`; empty when nobody counted.
    """

    changed: bool = False
    release: str = ""
    previous: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    migrations: list[str] = field(default_factory=list)  # that ran
    backup: str = ""  # made before them
    requests: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class ReleaseError(Exception):
    """A release failed. Says in which step, at which instance if it was one, and the end of its log."""

    def __init__(self, message: str, *, instance: str = "", log: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.instance = instance
        self.log = list(log)
        self.step = ""
        self.outcome = Outcome()


class Interrupted(ReleaseError):
    """A signal asked the engine to end: what it did is taken back as after a failure."""


@dataclass
class Step:
    """One step of a run: how long it took, and whether it changed anything."""

    name: str
    seconds: float = 0.0
    changed: bool = False


class Companion(Protocol):
    """What goes along with a run, and is told of its end."""

    def ending(self, entry: dict[str, Any]) -> None:
        """Before the run is recorded; what this adds to the entry is recorded too."""

    def recorded(self, entry: Mapping[str, Any]) -> None:
        """After it."""


class Run:
    """The steps of one run, and what takes them back in reverse order.

    Args:
        say: takes one line of progress.
        journal: where each change is written down before it is made.
        undo: takes a change back, as `deploy/undo.py` knows how.
        changes: those that a run which was cut off had made, by their number in the journal.
    """

    def __init__(
        self,
        say: Say,
        journal: Journal | None = None,
        undo: Callable[[Change], object] | None = None,
        changes: Mapping[int, Change] | None = None,
    ) -> None:
        self.say = say
        self.steps: list[Step] = []
        self.facts: dict[str, Any] = {}  # of `Outcome`, for whoever asks and for the ledger
        self.companions: list[Companion] = []
        self._journal = journal
        self._undo = undo
        self._interrupted = ""
        self._counted: Callable[[], dict[str, int]] = dict
        self._requests: dict[str, int] | None = None
        self._changes = dict(changes or {})
        self._count = max(self._changes, default=-1) + 1

    @property
    def changed(self) -> bool:
        """Whether any step changed anything."""
        return any(step.changed for step in self.steps)

    def outcome(self, release: str, previous: str) -> Outcome:
        """What has been done; the requests are those until this is first asked."""
        if self._requests is None:
            self._requests = self._counted()
        steps = [asdict(step) for step in self.steps]
        return Outcome(self.changed, release, previous, steps, requests=self._requests, **self.facts)

    def count(self, requests: Callable[[], dict[str, int]]) -> None:
        """Say what counts the requests that are answered meanwhile."""
        self._counted = requests

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time one step; a failure in it is given its name."""
        step = Step(name)
        started = time.monotonic()
        self.steps.append(step)
        try:
            self._note("step", name=name)
            yield step
            if self._interrupted:
                raise Interrupted(self._interrupted)
        except Exception as error:
            step.seconds = round(time.monotonic() - started, 3)
            self.say(f"{name:<10} {step.seconds:7.2f} s  failed")
            if not isinstance(error, ReleaseError):
                # Whatever it was, what was done before it is taken back.
                error = ReleaseError(f"{type(error).__name__}: {error}")
            error.step = error.step or name
            raise error from error.__cause__
        step.seconds = round(time.monotonic() - started, 3)
        self.say(f"{name:<10} {step.seconds:7.2f} s  {'changed' if step.changed else 'nothing to do'}")

    def aim(self, release: str, undo: Callable[[Change], object]) -> None:
        """Say where the run goes, and what takes its changes back."""
        self._note("target", release=release)
        self._undo = undo

    def will_change(self, kind: str, what: str, **data: Any) -> None:
        """Write down, before it is made, a change and how it is taken back.

        Args:
            kind: what takes it back: a name in `deploy/undo.py`.
            what: it, for people: what is brought back.
            data: the arguments, which must go into JSON.
        """
        change = Change(kind, what, data)
        self._note("change", number=self._count, kind=kind, what=what, data=data)
        self._changes[self._count] = change
        self._count += 1

    def not_made(self) -> None:
        """The change announced last was not made after all."""
        number, _ = self._changes.popitem()
        self._note("undone", number=number)

    def passed(self) -> None:
        """Every process is on the target: a run that is cut off from here on is finished, no longer undone."""
        self._note("passed")

    def _note(self, event: str, **fields: Any) -> None:
        if self._journal:
            self._journal.note(event, **fields)

    def interrupt(self, why: str) -> None:
        """End the run here; where Python drops the exception, as in a finaliser, at the end of the step.

        Raises:
            Interrupted: with the reason.
        """
        self._interrupted = why
        raise Interrupted(why)

    def settle(self) -> None:
        """From here on nothing is taken back any more."""
        self._note("settled")
        self._changes.clear()
        self._interrupted = ""

    def take_back(self) -> list[str]:
        """Take every remembered change back, the last one first; return what could not be."""
        problems = []
        if self._changes:
            with suppress(OSError):  # a full disk keeps nothing from being taken back
                self._note("back")
        while self._changes:
            number, change = self._changes.popitem()
            self.say(f"taking back: {change.what}")
            try:
                if self._undo is None:
                    raise ReleaseError("nothing here knows how")
                self._undo(change)
            except Exception as error:
                problems.append(f"{change.what}: {error}")
                continue
            with suppress(OSError):  # a full disk; it would be taken back twice, which does no harm
                self._note("undone", number=number)
        return problems
