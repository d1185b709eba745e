"""What a look at a site means for its state: retries before it is down, incidents, windows of maintenance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cloudeye.sync.work import Claimed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be written of a site. `went_down` and `came_up` say that its state changed to that with this look."""

    state: str
    state_since: datetime
    failures: int
    failing_since: datetime | None
    retry: bool = False  # look again soon, before it counts as down
    went_down: bool = False
    came_up: bool = False


def judge(site: Claimed, up: bool, at: datetime, maintenance: bool) -> Verdict:
    """Judge a look at a site.

    Args:
        site: as it was before.
        up: whether the look found it up.
        at: when the look began.
        maintenance: whether one of its windows was open then. A failure in it is expected: it counts for nothing, and
            a site that was up stays so until it fails after the window.
    """
    since = site.state_since or at
    if up:
        changed = site.state != "up"
        return Verdict("up", at if changed else since, 0, None, came_up=site.state == "down")
    if maintenance:
        return Verdict(site.state, since, 0, None)
    failures = site.failures + 1
    failing_since = site.failing_since or at
    if site.state == "down":
        return Verdict("down", since, failures, failing_since)
    if failures <= site.retries:
        return Verdict(site.state, since, failures, failing_since, retry=True)
    return Verdict("down", failing_since, failures, failing_since, went_down=True)
