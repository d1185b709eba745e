"""What became of a site's probes over time, in at most so many points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloudeye.models import CheckResult, Site
from cloudeye.services.usability.tally import CHECK, DAY, HOUR, SLICE, Tally, by_time, hour_of
from cloudeye.turns import Turns

RESOLUTIONS = ("raw", "hour", "day")
POINTS = 500
RAW_KEPT, KEPT = timedelta(days=7), timedelta(days=400)  # nothing older is kept (sync/retention.py)


class TooMany(Exception):
    """More points than are given at once."""


@dataclass(frozen=True)
class History:
    """A part of a site's history: its points begin at `since` and before `until`, one every so often."""

    resolution: str
    since: datetime
    until: datetime
    points: list[dict[str, Any]]


def history_of_site(
    session: Session, site: Site, since: datetime, until: datetime, *, resolution: str | None, now: datetime
) -> History:
    """Return a site's history between two moments.

    Args:
        session: to read by.
        site: as it was before anything else was read.
        since: the first point's earliest moment; taken back to the beginning of its hour or day.
        until: the last point begins before it.
        resolution: of RESOLUTIONS; None for the finest that gives no more than POINTS points and goes back so far.
        now: single probes are only kept for some days.

    Returns:
        Points for the times in which there were probes, the earliest first.

    Raises:
        TooMany: at this resolution there are more than POINTS points.
    """
    # As many as there can be at most; a site that is young has fewer.
    begin = max(since, site.created_at)
    few = (min(until, now) - begin) / timedelta(seconds=max(site.interval, 1)) <= POINTS
    if resolution == "raw" or (resolution is None and few and since >= now - RAW_KEPT):
        points = _raw(session, site.id, since, until)
        if len(points) <= POINTS:
            return History("raw", since, until, points)
        if resolution == "raw":
            raise TooMany
    since = max(since, until - KEPT - DAY)
    if resolution != "day":
        start = hour_of(since)
        if until - start <= POINTS * HOUR:
            return History("hour", start, until, _summed(session, site, start, until, lambda hour: hour))
        if resolution == "hour":
            raise TooMany
    start = day_of(since)
    return History("day", start, until, _summed(session, site, start, until, day_of))


def day_of(moment: datetime) -> datetime:
    """Return the beginning of a moment's day, in UTC."""
    return hour_of(moment).replace(hour=0)


def _raw(session: Session, site_id: int, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """A point for each probe; one more than POINTS when there are more."""
    points: list[dict[str, Any]] = []
    turns = Turns.of_page()
    while True:
        rows = session.execute(
            select(CheckResult.checked_at, *CHECK)
            .where(CheckResult.site_id == site_id, CheckResult.checked_at >= since, CheckResult.checked_at < until)
            .order_by(CheckResult.checked_at)
            .limit(min(SLICE, POINTS + 1 - len(points)))
        ).all()
        for checked_at, *values in rows:
            tally = Tally()
            tally.add(*values)
            points.append(_point(checked_at, tally))
            turns.rest()
        if len(rows) < SLICE or len(points) > POINTS:
            return points
        since = rows[-1][0] + timedelta(microseconds=1)


def _summed(
    session: Session, site: Site, since: datetime, until: datetime, start_of: Callable[[datetime], datetime]
) -> list[dict[str, Any]]:
    times = by_time(session, site.id, site.rolled_until, since, until, start_of)
    return [_point(start, tally) for start, tally in times]


def _point(start: datetime, tally: Tally) -> dict[str, Any]:
    """A point as the API shows it: with hundreds of them a schema would hold the hub for too long."""
    p50, p95 = tally.quantiles(0.5, 0.95)
    return {
        "time": start.isoformat(),
        "checks": tally.checks,
        "down": tally.down,
        "maintenance": tally.maintenance,
        "uptime": tally.uptime,
        "p50_ms": p50,
        "p95_ms": p95,
        "timings": tally.phases(),
    }
