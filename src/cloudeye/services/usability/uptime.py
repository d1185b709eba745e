"""How available and how fast a site was in the last 24 hours, 7, 30 and 90 days.

Each window begins with a full hour: the last 24 hours are 24 full ones and the one under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session

from cloudeye.models import CheckResult, HourlyResult, Site
from cloudeye.services.usability.tally import HOUR, SLICE, Tally, add_results, hour_of, unrolled_hours
from cloudeye.turns import Turns

WINDOWS = {
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
# Sites whose results since the last roll-up are counted by one statement: SQLite holds the hub meanwhile.
TOGETHER = 10
# Hours of sites that are added up by one statement, for the same reason.
HOURS_TOGETHER = 10_000


class Counted(Protocol):
    """What must be known of a site for its checks to be counted."""

    @property
    def id(self) -> Any:
        """Its number."""

    @property
    def rolled_until(self) -> Any:
        """Until when its results have been added up."""


def windows_of(session: Session, site: Site, now: datetime) -> dict[str, dict[str, Any]]:
    """Return the figures of each window, by its name.

    Args:
        session: to read by.
        site: as it was before anything else was read.
        now: when the windows end.

    Returns:
        since, checks, down, maintenance, uptime (0 to 1, None without checks) and p50_ms, p95_ms, p99_ms.
    """
    rolled_until = site.rolled_until
    tally, found = Tally(), {}
    until = hour_of(now) + HOUR
    for name, length in WINDOWS.items():
        since = hour_of(now - length)
        for hour in unrolled_hours(session, site.id, rolled_until, since, until):
            add_results(session, tally, site.id, hour)
        if rolled_until is not None:
            _add_rolled(session, tally, site.id, since, min(until, rolled_until))
        until = since
        p50, p95, p99 = tally.quantiles(0.5, 0.95, 0.99)
        found[name] = {
            "since": since,
            "checks": tally.checks,
            "down": tally.down,
            "maintenance": tally.maintenance,
            "uptime": tally.uptime,
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
        }
    return found


def _add_rolled(session: Session, tally: Tally, site_id: int, since: datetime, until: datetime) -> None:
    """Add what `hourly_results` keeps of a site between two full hours, without where the time went."""
    columns = (HourlyResult.checks, HourlyResult.down, HourlyResult.maintenance, HourlyResult.latencies)
    turns = Turns.of_page()
    while since < until:
        end = min(since + HOUR * SLICE, until)
        query = select(*columns).where(
            HourlyResult.site_id == site_id, HourlyResult.hour >= since, HourlyResult.hour < end
        )
        for checks, down, maintenance, latencies in session.execute(query):
            tally.checks += checks
            tally.down += down
            tally.maintenance += maintenance
            tally.latencies.merge(latencies)
        since = end
        turns.rest()


def last_day_of(session: Session, sites: Sequence[Counted], now: datetime) -> dict[int, float | None]:
    """Return the uptime of many sites in the last 24 hours, by their numbers.

    Args:
        session: to read by.
        sites: as they were before anything else was read.
        now: when the 24 hours end.
    """
    return {number: tallies["24h"].uptime for number, tallies in shares_of(session, sites, now, "24h").items()}


def shares_of(session: Session, sites: Sequence[Counted], now: datetime, *names: str) -> dict[int, dict[str, Tally]]:
    """Count the checks of many sites in some windows, and those that failed; nothing else of a tally is filled in.

    Args:
        session: to read by.
        sites: as they were before anything else was read.
        now: when the windows end.
        names: of WINDOWS.

    Returns:
        The tally of each window, by the numbers of the sites and its name.
    """
    starts = {name: hour_of(now - WINDOWS[name]) for name in names}
    since = min(starts.values())
    counted = {site.id: {name: Tally() for name in names} for site in sites}
    turns = Turns.of_page()

    def count(table: Any, time: Any, conditions: list[Any], checks: Any, down: Any) -> None:
        if not conditions:
            return
        sums = [func.sum(case((time >= start, one), else_=0)) for start in starts.values() for one in (checks, down)]
        query = select(table.site_id, *sums).where(or_(*conditions)).group_by(table.site_id)
        for number, *found in session.execute(query):
            for tally, *pair in zip(counted[number].values(), found[::2], found[1::2], strict=True):
                tally.checks += int(pair[0])
                tally.down += int(pair[1])
        turns.rest()

    together = max(1, HOURS_TOGETHER // int((hour_of(now) + HOUR - since) / HOUR))
    for start in range(0, len(sites), together):
        rolled = [
            and_(HourlyResult.site_id.in_(numbers), HourlyResult.hour >= since, HourlyResult.hour < border)
            for border, numbers in _borders(sites[start : start + together], since)
            if border > since
        ]
        count(HourlyResult, HourlyResult.hour, rolled, HourlyResult.checks, HourlyResult.down)
    outside = CheckResult.maintenance.is_(False)
    for start in range(0, len(sites), TOGETHER):
        fresh = [
            and_(CheckResult.site_id.in_(numbers), CheckResult.checked_at >= border)
            for border, numbers in _borders(sites[start : start + TOGETHER], since)
        ]
        failed = case((and_(outside, CheckResult.state != "up"), 1), else_=0)
        count(CheckResult, CheckResult.checked_at, fresh, case((outside, 1), else_=0), failed)
    return counted


def _borders(sites: Sequence[Counted], since: datetime) -> list[tuple[datetime, list[int]]]:
    """Put together the sites whose results have been added up until the same moment: all, but for a few minutes."""
    found: dict[datetime, list[int]] = {}
    for site in sites:
        found.setdefault(max(since, site.rolled_until or since), []).append(site.id)
    return list(found.items())
