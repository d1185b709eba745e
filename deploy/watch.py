"""The watch: what nginx's log says of a release that has passed every gate, against the minutes before it.

A release that answers what it is asked at the gate may still fail for some of its visitors. So before a release counts
as done, the share of answers 5xx and the 95th percentile of the time that the app took are held against those before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.access_log import AccessLog, Request
from deploy.steps import ReleaseError

MOST = 200_000  # requests that are looked at of those before
GROSS = 10  # times releases.watch_errors: then the watch is not waited out
POLL = 1.0  # seconds between two looks


@dataclass
class Tally:
    """Requests by how they ended."""

    seen: int = 0
    failed: int = 0
    times: list[float] = field(default_factory=list)

    def add(self, requests: Iterable[Request]) -> None:
        """Count some."""
        for request in requests:
            self.seen += 1
            self.failed += request.failed
            if request.seconds is not None and len(self.times) < MOST:
                self.times.append(request.seconds)

    @property
    def share(self) -> float:
        """Of all requests those that failed, per cent."""
        return 100 * self.failed / self.seen if self.seen else 0.0

    @property
    def p95(self) -> float:
        """The time that 95 of 100 requests took at most, in ms (the nearest rank)."""
        return 1000 * sorted(self.times)[-(-95 * len(self.times) // 100) - 1] if self.times else 0.0

    def __str__(self) -> str:
        text = f"{self.failed} of {self.seen} failed ({self.share:.1f} %)"
        return f"{text}, p95 {self.p95:.0f} ms" if self.times else text


class Traffic:
    """The requests that a stack is asked while something is done to it, from the moment this object is made.

    Args:
        stack: whose; `releases.watch_*` are how it is watched.
        began: when what was before ended, in seconds since 1970; now when not given.
    """

    def __init__(self, stack: Mapping[str, Any], began: float | None = None) -> None:
        self._stack = stack
        self._limits = stack["releases"]
        self._log = AccessLog(stack)
        self._all = Tally()
        self._began = time.time() if began is None else began

    def count(self) -> dict[str, int]:
        """How many requests were answered so far, and how many of them with a 5xx; empty when nothing tells."""
        try:
            self._all.add(self._log.new())
        except OSError:
            return {}
        return {"seen": self._all.seen, "failed": self._all.failed}

    def watch(self, say: Callable[[str], None]) -> None:
        """Watch for releases.watch_seconds, and hold it against before.

        Raises:
            ReleaseError: with the figures, when it got worse.
        """
        seconds = self._limits["watch_seconds"]
        if not self.count():
            say(f"{self._log.path} cannot be read: nothing is watched")
            return
        started = time.time()
        before, now = Tally(), Tally()
        before.add(self._log.before(self._began - self._limits["watch_before"], self._began, MOST))
        # Where nginx keeps lines to itself for a while, those of the last moment come so much later.
        end = started + seconds + self._stack["nginx"].get("log_flush", 0)
        while (left := end - time.time()) > 0:
            time.sleep(min(POLL, left))
            self._take(now, since=int(started))
            enough = now.seen >= self._limits["watch_requests"]
            if enough and now.share - before.share > GROSS * self._limits["watch_errors"]:
                break
        problem = worse(before, now, self._limits)
        if problem:
            raise ReleaseError(f"after {time.time() - started:.0f} s of traffic on the new release: {problem}")
        say(f"{now}; before: {before}")

    def _take(self, now: Tally, since: int) -> None:
        new = list(self._log.new())
        self._all.add(new)
        now.add(request for request in new if request.time >= since)  # the log has whole seconds


def worse(before: Tally, now: Tally, limits: Mapping[str, Any]) -> str:
    """Say in what the requests of now are worse than those of before; empty when they are not.

    Args:
        before: those before the release.
        now: those since it is served.
        limits: section `releases` of the stack. Fewer requests than watch_requests on either side say nothing.
    """
    least = limits["watch_requests"]
    if now.seen < least:
        return ""
    known = before.seen >= least
    allowed = limits["watch_errors"] + (before.share if known else 0.0)
    if now.share > allowed:
        than = f"before: {before}" if known else f"before: too few requests ({before.seen})"
        return f"{now}; {than}; releases.watch_errors allows {limits['watch_errors']} % more"
    if min(len(before.times), len(now.times)) >= least:
        slow = max(limits["watch_floor_ms"], limits["watch_slower"] * before.p95)
        if now.p95 > slow:
            return f"{now}; before: {before}; releases.watch_slower and watch_floor_ms allow {slow:.0f} ms"
    return ""
