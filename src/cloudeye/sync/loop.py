"""The loop that goes from step to step, and the heartbeat that proves it does."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gevent
from gevent.event import Event
from sqlalchemy.exc import SQLAlchemyError

from cloudeye.sync.steps import STEPS, finish
from cloudeye.sync.work import Work

log = logging.getLogger("cloudeye.sync")

# Seconds that probes under way are given when the process is told to stop; others take over what is left.
STOP_GRACE = 3.0
# Seconds one step may take. A database that stands still, or a network that swallows packets, says nothing for many
# minutes; this also bounds how long the process takes to end: a step, the grace, and what finishing takes.
STEP_LIMIT = 10.0
FINISH_LIMIT = 5.0
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 15.0


@dataclass(slots=True)
class Heartbeat:
    """The file that says the loop is alive: written by the loop itself as it goes from step to step.

    JSON: time (seconds since 1970), pid, release, due (sites), lag (s), running (probes), probed, database (answers).
    """

    path: Path
    release: str
    every: float
    facts: Callable[[], dict[str, object]] = dict
    _next: float = field(default=-1.0)

    def __call__(self) -> None:
        """Write the file if it is time to. A disk that is full is logged, and is no reason to stop probing."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self.every
        beat = {"time": time.time(), "pid": os.getpid(), "release": self.release, **self.facts()}
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            fresh.write_text(json.dumps(beat) + "\n", encoding="utf-8")
            fresh.replace(self.path)
        except OSError as error:
            log.warning("the heartbeat cannot be written", extra={"path": str(self.path), "error": str(error)})


class Loop:
    """Goes from step to step until it is told to stop; trouble makes it slower, never end."""

    def __init__(self, work: Work, beat: Heartbeat) -> None:
        self.work = work
        self.beat = beat
        self.stopping = Event()
        self.down_since: float | None = None
        work.beat = beat
        beat.facts = self._facts

    def _facts(self) -> dict[str, object]:
        work = self.work
        return {
            "due": work.due,
            "lag": work.lag,
            "running": len(work.running),
            "probed": work.probed,
            "database": self.down_since is None,
        }

    def stop(self) -> None:
        """Told to by a signal: finish the step at hand."""
        self.stopping.set()
        self.work.wake.set()

    def run(self) -> None:
        """Run until `stop`, then finish."""
        back_off = FIRST_BACK_OFF
        while not self.stopping.is_set():
            self.work.wake.clear()
            if self._round():
                back_off = FIRST_BACK_OFF
                continue
            if self.down_since is None:
                back_off = FIRST_BACK_OFF
                self._wait(max(self.work.settings.poll_seconds, 0.01), self.work.wake)
            else:
                self._wait(back_off, self.stopping)
                back_off = min(back_off * 2, LONGEST_BACK_OFF)
        try:
            with gevent.Timeout(STOP_GRACE + FINISH_LIMIT):
                finish(self.work, STOP_GRACE)
        except (SQLAlchemyError, gevent.Timeout) as error:
            log.error("the last results could not be written", extra={"error": _short(error)})

    def _round(self) -> bool:
        """Each step once; whether one of them left work behind. A failure is logged when it begins."""
        more = False
        try:
            for step in STEPS:
                with gevent.Timeout(STEP_LIMIT):
                    more = step(self.work) or more
                self.beat()
                gevent.sleep(0)  # probes under way get their turn also while steps have plenty to do
                if self.stopping.is_set():
                    return False
        except (SQLAlchemyError, gevent.Timeout) as error:
            if self.down_since is None:
                self.down_since = time.monotonic()
                log.error("the database fails; trying again until it answers", extra={"error": _short(error)})
            self.beat()
            return False
        except Exception:
            log.exception("a step failed")
            self._wait(LONGEST_BACK_OFF, self.stopping)
            return False
        if self.down_since is not None:
            away = round(time.monotonic() - self.down_since, 1)
            self.down_since = None
            log.warning("the database answers again", extra={"seconds": away})
        return more

    def _wait(self, seconds: float, until: Event) -> None:
        """Wait for the event in slices shorter than the heartbeat's."""
        end = time.monotonic() + seconds
        while not until.is_set() and not self.stopping.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return
            until.wait(min(left, self.beat.every / 2))
            self.beat()


def _short(error: BaseException) -> str:
    if isinstance(error, gevent.Timeout):
        return f"no answer within {error.seconds:g} s"
    return str(getattr(error, "orig", None) or error)[:500]
