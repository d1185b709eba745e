"""Times as people read them: in their language and their time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from babel.dates import format_datetime


def zone_of(name: str | None) -> ZoneInfo:
    """Return the zone with this name of the IANA database, UTC where there is none."""
    try:
        return ZoneInfo(name or "UTC")
    except (ValueError, OSError, LookupError):  # no name of one, a folder, or gone from the host's database
        return ZoneInfo("UTC")


def show_time(time: datetime, language: str, zone: ZoneInfo) -> str:
    """Return a time with the name of its zone, as in "Nov 22, 2026, 12:17:43 AM (Asia/Shanghai)".

    Raises:
        ValueError: the time has no zone, so nobody knows when it is.
    """
    if time.tzinfo is None:
        raise ValueError("a time without a zone cannot be shown")
    return f"{format_datetime(time, 'medium', tzinfo=zone, locale=language)} ({zone.key})"
