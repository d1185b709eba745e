"""Maintenance windows: times in which a site may be down without anybody being woken.

A window lasts once, from one moment to another, or comes every week: it begins on some weekdays at a time on the
clock of a time zone and lasts so many minutes. Where that time does not exist or comes twice, because the clock is
put forward or back, it is read as RFC 5545 (3.3.5) reads it: by the offset before the gap, and the first of the two.
The minutes are exact ones, whatever the clock does meanwhile.

Both front doors use this: the API and the pages check what an owner wants, sync asks at each probe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from cloudeye.phrases import N_

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # as datetime.weekday() counts them
MOST_WINDOWS = 20
LONGEST_WEEKLY = 1440  # minutes: one that is longer is written as several days
LONGEST_ONCE = timedelta(days=366)

_ONCE = frozenset({"start", "end"})
_WEEKLY = frozenset({"weekdays", "at", "minutes", "time_zone"})
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory", "posix", "right"})  # files beside those of the zones
# The weekday of a window that lasts now began at most a day ago; where a zone leaves out a date, or lives one
# twice, the calendar says up to two days ago, or tomorrow.
_BEGINNINGS = tuple(timedelta(days=days) for days in (0, -1, -2, 1))


def parse(windows: Any) -> list[dict[str, Any]]:
    """Return windows as they are stored: moments in UTC, weekdays in their order, nothing twice.

    Args:
        windows: a list of objects, ``{"start": ..., "end": ...}`` in ISO 8601 with a zone, or
            ``{"weekdays": ["mon", ...], "at": "02:00", "minutes": 60, "time_zone": "Europe/Berlin"}``.

    Raises:
        ValueError: with a sentence for people that names the window, counted from 1.
    """
    if not isinstance(windows, list | tuple):
        raise ValueError(N_("the maintenance windows must be a list"))
    if len(windows) > MOST_WINDOWS:
        raise ValueError(N_("there are more than {most} maintenance windows").format(most=MOST_WINDOWS))
    found: list[dict[str, Any]] = []
    for number, window in enumerate(windows, 1):
        try:
            normal = _parse_one(window)
        except ValueError as bad:
            raise ValueError(N_("window {number}: {problem}").format(number=number, problem=bad)) from None
        if normal not in found:
            found.append(normal)
    return found


def active(windows: Iterable[Mapping[str, Any]] | None, at: datetime) -> bool:
    """Does any window last at a moment; its first moment belongs to it, the one in which it ends does not.

    Args:
        windows: as ``parse`` returned them.
        at: aware.

    Raises:
        ValueError: the moment has no zone.
    """
    if not windows:
        return False
    if at.tzinfo is None:
        raise ValueError("a time without a zone is no moment")
    return any(_lasts(window, at) for window in windows)


def coming(
    windows: Iterable[Mapping[str, Any]] | None, at: datetime, ahead: timedelta
) -> list[tuple[datetime, datetime]]:
    """Return when windows last that last at a moment or begin soon after it, the earliest first.

    Args:
        windows: as ``parse`` returned them.
        at: aware.
        ahead: how far to look.

    Raises:
        ValueError: the moment has no zone.
    """
    if at.tzinfo is None:
        raise ValueError("a time without a zone is no moment")
    found = {times for window in windows or () for times in _times(window, at, at + ahead)}
    return sorted(times for times in found if times[0] < at + ahead and at < times[1])


def _times(window: Mapping[str, Any], at: datetime, until: datetime) -> Iterable[tuple[datetime, datetime]]:
    """Yield when a window lasts around the time between two moments."""
    if "start" in window:
        yield datetime.fromisoformat(window["start"]), datetime.fromisoformat(window["end"])
        return
    zone, length = _zone(window["time_zone"]) or UTC, timedelta(minutes=window["minutes"])
    hour, _, minute = window["at"].partition(":")
    day, last = at.astimezone(zone).date() + min(_BEGINNINGS), until.astimezone(zone).date() + max(_BEGINNINGS)
    while day <= last:
        for begins in _beginnings(day, time(int(hour), int(minute)), zone, window["weekdays"], (timedelta(0),)):
            yield begins, begins + length
        day += timedelta(days=1)


def _parse_one(window: Any) -> dict[str, Any]:
    if not isinstance(window, Mapping):
        raise ValueError(N_("it must be an object"))
    names = frozenset(window)
    if names == _ONCE:
        return _parse_once(window)
    if names == _WEEKLY:
        return _parse_weekly(window)
    raise ValueError(N_("it must have either start and end, or weekdays, at, minutes and time_zone"))


def _parse_once(window: Mapping[str, Any]) -> dict[str, Any]:
    start, end = _moment(window["start"]), _moment(window["end"])
    if end <= start:
        raise ValueError(N_("it must end after it starts"))
    if end - start > LONGEST_ONCE:
        raise ValueError(N_("it must not last longer than {days} days").format(days=LONGEST_ONCE.days))
    return {"start": start.isoformat(), "end": end.isoformat()}


def _moment(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(N_("start and end must be times with a zone, such as 2026-12-24T22:00:00+01:00")) from None


def _parse_weekly(window: Mapping[str, Any]) -> dict[str, Any]:
    days, at, minutes, zone = (window[name] for name in ("weekdays", "at", "minutes", "time_zone"))
    if not isinstance(days, list | tuple) or not days or not all(day in WEEKDAYS for day in days):
        raise ValueError(N_("weekdays must be a list of: {days}").format(days=", ".join(WEEKDAYS)))
    if not isinstance(at, str) or not _CLOCK.fullmatch(at):
        raise ValueError(N_("at must be a time such as 02:00"))
    if isinstance(minutes, float) and minutes.is_integer():
        minutes = int(minutes)  # 60 and 60.0 are the same in JSON
    if not isinstance(minutes, int) or isinstance(minutes, bool) or not 1 <= minutes <= LONGEST_WEEKLY:
        raise ValueError(N_("minutes must be a whole number from 1 to {most}").format(most=LONGEST_WEEKLY))
    if not isinstance(zone, str) or _zone(zone) is None:
        raise ValueError(N_("time_zone must be a name of the IANA database, such as Europe/Berlin"))
    weekdays = [day for day in WEEKDAYS if day in days]
    return {"weekdays": weekdays, "at": at, "minutes": minutes, "time_zone": zone}


def _lasts(window: Mapping[str, Any], at: datetime) -> bool:
    if "start" in window:
        return datetime.fromisoformat(window["start"]) <= at < datetime.fromisoformat(window["end"])
    # A zone that is gone from this host's database: UTC, as wherever times are shown.
    zone = _zone(window["time_zone"]) or UTC
    today = at.astimezone(zone).date()
    hour, _, minute = window["at"].partition(":")
    clock, length = time(int(hour), int(minute)), timedelta(minutes=window["minutes"])
    return any(begins <= at < begins + length for begins in _beginnings(today, clock, zone, window["weekdays"]))


def _beginnings(
    today: date, clock: time, zone: tzinfo, days: Sequence[str], around: Sequence[timedelta] = _BEGINNINGS
) -> Iterable[datetime]:
    """Yield when a weekly window begins around a date, in UTC: differences of local times ignore the clock's jumps."""
    for away in around:
        day = today + away
        if WEEKDAYS[day.weekday()] in days:
            yield datetime.combine(day, clock, zone).astimezone(UTC)


def _zone(name: str) -> tzinfo | None:
    if len(name) > 64 or not _ZONE.fullmatch(name) or name.partition("/")[0] in _NO_ZONES:
        return None
    return _read_zone(name)


@lru_cache(maxsize=700)  # more than there are
def _read_zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # no name of one, or a folder
        return None
