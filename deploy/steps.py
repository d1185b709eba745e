"""The steps of a release: each has a name, a line of progress, a duration, and a way back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a run did; `release` is what is current now, `previous` what was before it."""

    changed: bool = False
    release: str = ""
    previous: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)


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


class Run:
    """The steps of one run, and what takes them back in reverse order."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.steps: list[Step] = []
        self._interrupted = ""
        self._back: list[tuple[str, Callable[[], object]]] = []

    @property
    def changed(self) -> bool:
        """Whether any step changed anything."""
        return any(step.changed for step in self.steps)

    def outcome(self, release: str, previous: str) -> Outcome:
        """What has been done so far."""
        return Outcome(self.changed, release, previous, [asdict(step) for step in self.steps])

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time one step; a failure in it is given its name."""
        step = Step(name)
        started = time.monotonic()
        self.steps.append(step)
        try:
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

    def undo(self, what: str, function: Callable[[], object]) -> None:
        """Remember how the change just made is taken back."""
        self._back.append((what, function))

    def interrupt(self, why: str) -> None:
        """End the run here; where Python drops the exception, as in a finaliser, at the end of the step.

        Raises:
            Interrupted: with the reason.
        """
        self._interrupted = why
        raise Interrupted(why)

    def settle(self) -> None:
        """From here on nothing is taken back any more."""
        self._back.clear()
        self._interrupted = ""

    def take_back(self) -> list[str]:
        """Take every remembered change back, the last one first; return what could not be."""
        problems = []
        while self._back:
            what, function = self._back.pop()
            self.say(f"taking back: {what}")
            try:
                function()
            except Exception as error:
                problems.append(f"{what}: {error}")
        return problems
