"""Times as people read them: in their language and their time zone."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from babel.dates import format_datetime


def zone_of(name: str | None) -> tzinfo:
    """Return the zone with this name of the IANA database, UTC where there is none."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # no name of one, a folder, or gone from the host's database
        return UTC


def show_time(time: datetime, language: str, zone: tzinfo) -> str:
    """Return a time with the name of its zone, as in "Nov 22, 2026, 12:17:43 AM (Asia/Shanghai)".

    Raises:
        ValueError: the time has no zone, so nobody knows when it is.
    """
    if time.tzinfo is None:
        raise ValueError("a time without a zone cannot be shown")
    return f"{format_datetime(time, 'medium', tzinfo=zone, locale=language)} ({zone})"
