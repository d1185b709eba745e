"""Probes of a site, added up: those of an hour for good, those of the hours since from the results themselves.

`sites.rolled_until` divides them. Results before it have been added up into `hourly_results` and are not looked at
again; results from it on count one by one. Whoever reads `rolled_until` first and then both tables by it counts each
probe once, also while sync moves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.orm import Session

from cloudeye.models import CheckResult, HourlyResult
from cloudeye.services.usability.sketch import Sketch
from cloudeye.turns import Turns

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PHASES = ("dns_ms", "connect_ms", "tls_ms", "first_byte_ms", "total_ms")
SUMS = ("latency_ms", *PHASES)
SLICE = 250  # rows read at once, which takes a few milliseconds


@dataclass(slots=True)
class Tally:
    """What probes found, added up.

    Outside of maintenance: `checks` of which `down` failed. `latencies` are those of the checks that succeeded, and
    `sums` add up, in milliseconds, where the time of the `timed` of them went (SUMS).
    """

    checks: int = 0
    down: int = 0
    maintenance: int = 0
    timed: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * len(SUMS))
    latencies: Sketch = field(default_factory=Sketch)

    def add(self, state: str, maintenance: bool, *times: float | None) -> None:
        """Count one probe, by CHECK's columns."""
        if maintenance:
            self.maintenance += 1
            return
        self.checks += 1
        if state != "up":
            self.down += 1
            return
        if times[0] is None:
            return
        self.latencies.add(times[0])
        if times[-1] is not None:  # a probe of an older release knew nothing but the latency
            self.timed += 1
            self.sums = [total + (value or 0.0) for total, value in zip(self.sums, times, strict=True)]

    def add_hour(self, checks: int, down: int, maintenance: int, timed: int, *rest: Any) -> None:
        """Add an hour, by ROLLED's columns."""
        self.checks += checks
        self.down += down
        self.maintenance += maintenance
        self.timed += timed
        if timed:
            self.sums = [total + value for total, value in zip(self.sums, rest[:-1], strict=True)]
        self.latencies.merge(rest[-1])

    def row(self) -> dict[str, Any]:
        """Return what `hourly_results` keeps of it."""
        return {
            "checks": self.checks,
            "down": self.down,
            "maintenance": self.maintenance,
            "timed": self.timed,
            **dict(zip(SUMS, self.sums, strict=True)),
            "latencies": str(self.latencies) or None,
        }

    @property
    def uptime(self) -> float | None:
        """The share of the checks outside of maintenance that succeeded; None when there were none."""
        return None if not self.checks else round(1 - self.down / self.checks, 7)

    def quantiles(self, *shares: float) -> list[float | None]:
        """Latencies of the checks that succeeded, in milliseconds, to a hundredth."""
        return [None if value is None else round(value, 2) for value in self.latencies.quantiles(shares)]

    def phases(self) -> dict[str, float] | None:
        """Where the time went on average, in milliseconds; None when nothing was timed."""
        if not self.timed:
            return None
        return {name: round(total / self.timed, 2) for name, total in zip(SUMS, self.sums, strict=True)}


CHECK = (CheckResult.state, CheckResult.maintenance, *(getattr(CheckResult, name) for name in SUMS))
ROLLED = (
    HourlyResult.checks,
    HourlyResult.down,
    HourlyResult.maintenance,
    HourlyResult.timed,
    *(getattr(HourlyResult, name) for name in SUMS),
    HourlyResult.latencies,
)


# Built once: sync sends them 20,000 times an hour.
_BETWEEN = (
    CheckResult.site_id == bindparam("site_id"),
    CheckResult.checked_at >= bindparam("since"),
    CheckResult.checked_at < bindparam("until"),
)
_FIRST = select(CheckResult.checked_at).where(*_BETWEEN).order_by(CheckResult.checked_at).limit(1)
_RESULTS = select(*CHECK).where(*_BETWEEN)


def hour_of(moment: datetime) -> datetime:
    """Return the beginning of a moment's hour, in UTC."""
    return moment.replace(minute=0, second=0, microsecond=0)


def first_result(connection: Connection | Session, site_id: int, since: datetime, until: datetime) -> datetime | None:
    """Return when the first probe of a site between two moments began, if there was one."""
    found: datetime | None = connection.scalar(_FIRST, {"site_id": site_id, "since": since, "until": until})
    return found


def add_results(connection: Connection | Session, tally: Tally, site_id: int, hour: datetime) -> None:
    """Add up the results of one site in one hour."""
    for row in connection.execute(_RESULTS, {"site_id": site_id, "since": hour, "until": hour + HOUR}):
        tally.add(*row)


def unrolled_hours(
    connection: Connection | Session, site_id: int, rolled_until: datetime | None, since: datetime, until: datetime
) -> Iterator[datetime]:
    """Go through the hours with results that have not been added up: seldom two, but all of them for a new site.

    Args:
        connection: to read by.
        site_id: the site.
        rolled_until: as its row said before anything else was read.
        since: a full hour.
        until: the last hour begins before it.
    """
    start, turns = since if rolled_until is None else max(since, rolled_until), Turns.of_page()
    while start < until:
        found = first_result(connection, site_id, start, until)
        if found is None:
            return
        yield hour_of(found)
        turns.rest()
        start = hour_of(found) + HOUR


def by_time(
    connection: Connection | Session,
    site_id: int,
    rolled_until: datetime | None,
    since: datetime,
    until: datetime,
    start_of: Callable[[datetime], datetime] = lambda hour: hour,
) -> Iterator[tuple[datetime, Tally]]:
    """Go through the times of a site in which there were probes, the earliest first.

    Args:
        connection: to read by.
        site_id: the site.
        rolled_until: as its row said before anything else was read.
        since: a full hour.
        until: the last hour begins before it.
        start_of: the time that an hour belongs to, by the beginnings of both.

    Yields:
        The beginning of a time and what happened in it.
    """
    current: datetime | None = None
    tally, turns = Tally(), Turns.of_page()
    for hour, values in _hours(connection, site_id, rolled_until, since, until):
        start = start_of(hour)
        if start != current:
            if current is not None:
                yield current, tally
            current, tally = start, Tally()
        if values is None:
            add_results(connection, tally, site_id, hour)
        else:
            tally.add_hour(*values)
        turns.rest()
    if current is not None:
        yield current, tally


def _hours(
    connection: Connection | Session, site_id: int, rolled_until: datetime | None, since: datetime, until: datetime
) -> Iterator[tuple[datetime, Sequence[Any] | None]]:
    """The hours in which there were probes; with ROLLED's columns, or without if they have not been added up."""
    hour, border = since, min(rolled_until or since, until)
    while hour < border:
        rows = connection.execute(
            select(HourlyResult.hour, *ROLLED)
            .where(HourlyResult.site_id == site_id, HourlyResult.hour >= hour, HourlyResult.hour < border)
            .order_by(HourlyResult.hour)
            .limit(SLICE)
        ).all()
        for row in rows:
            yield row[0], row[1:]
        if len(rows) < SLICE:
            break
        hour = rows[-1][0] + HOUR
    for hour in unrolled_hours(connection, site_id, rolled_until, since, until):
        yield hour, None
