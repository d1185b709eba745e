"""When a site is probed next."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

# Multiples of the golden ratio's fraction fall evenly into [0, 1) however many there are.
_GOLDEN = (math.sqrt(5) - 1) / 2
# Seconds until the next look at a site that failed and has retries left.
RETRY_AFTER = 10.0
LONGEST_BACK_OFF = 3600.0


def next_slot(site_id: int, interval: float, started: datetime) -> datetime:
    """When a site is probed next, after a probe that began at `started`.

    Each site has its own grid of times, `interval` seconds apart, shifted by its number so that sites added
    together spread evenly. The answer is its first time at least half an interval after `started`: a late probe
    does not move the grid, and missed times are left out, not made up for.
    """
    phase = site_id * _GOLDEN % 1.0 * interval
    earliest = started.timestamp() + interval / 2
    return datetime.fromtimestamp(phase + math.ceil((earliest - phase) / interval) * interval, UTC)


def retry_at(interval: float, started: datetime) -> datetime:
    """When a site that failed is asked again, before it counts as down."""
    return started + timedelta(seconds=min(RETRY_AFTER, interval))


def back_off(interval: float, times: int) -> timedelta:
    """How long a site that could not be handled so many times waits: twice as long each time."""
    return timedelta(seconds=min(interval * 2.0 ** min(times, 20), max(LONGEST_BACK_OFF, interval)))
