"""Maintenance windows: what is accepted, and when they last."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudeye.services import maintenance

NIGHT = {"weekdays": ["mon"], "at": "23:30", "minutes": 60, "time_zone": "Europe/Berlin"}
ONCE = {"start": "2026-12-24T22:00:00+01:00", "end": "2026-12-25T06:00:00+01:00"}


def weekly(**changes: Any) -> dict[str, Any]:
    return {**NIGHT, **changes}


def lasts(window: dict[str, Any], moment: str) -> bool:
    """Is a window active at a moment that is written in ISO 8601."""
    return maintenance.active(maintenance.parse([window]), datetime.fromisoformat(moment))


def test_windows_are_kept_in_one_form() -> None:
    given = [ONCE, weekly(weekdays=["sun", "mon", "sun"], minutes=60.0), weekly(weekdays=["mon", "sun"])]
    assert maintenance.parse(given) == [
        {"start": "2026-12-24T21:00:00+00:00", "end": "2026-12-25T05:00:00+00:00"},
        {"weekdays": ["mon", "sun"], "at": "23:30", "minutes": 60, "time_zone": "Europe/Berlin"},
    ]
    assert maintenance.parse([]) == []


def test_what_was_parsed_parses_to_itself() -> None:
    once = maintenance.parse([ONCE, NIGHT])
    assert maintenance.parse(once) == once


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ("night", "object"),
        ({}, "either start and end"),
        ({"start": ONCE["start"]}, "either start and end"),
        ({**ONCE, **NIGHT}, "either start and end"),
        ({**NIGHT, "colour": "red"}, "either start and end"),
        ({**ONCE, "end": ONCE["start"]}, "end after it starts"),
        ({**ONCE, "end": "2028-12-25T06:00:00+01:00"}, "366 days"),
        ({**ONCE, "start": "2026-12-24T22:00:00"}, "with a zone"),
        ({**ONCE, "start": "tomorrow"}, "with a zone"),
        ({**ONCE, "start": 7}, "with a zone"),
        ({**ONCE, "start": "0001-01-01T00:00:00+01:00"}, "with a zone"),
        (weekly(weekdays=[]), "weekdays"),
        (weekly(weekdays=["monday"]), "weekdays"),
        (weekly(weekdays="mon"), "weekdays"),
        (weekly(weekdays=[["mon"]]), "weekdays"),
        (weekly(at="24:00"), "at must be"),
        (weekly(at="2:00"), "at must be"),
        (weekly(at="02:00\n"), "at must be"),
        (weekly(at=2), "at must be"),
        (weekly(minutes=0), "minutes"),
        (weekly(minutes=1441), "minutes"),
        (weekly(minutes=True), "minutes"),
        (weekly(minutes=1.5), "minutes"),
        (weekly(minutes="60"), "minutes"),
        (weekly(minutes=float("nan")), "minutes"),
        (weekly(time_zone="Europe"), "IANA"),
        (weekly(time_zone="Europe/Atlantis"), "IANA"),
        (weekly(time_zone="../../../etc/localtime"), "IANA"),
        (weekly(time_zone="/etc/localtime"), "IANA"),
        (weekly(time_zone="localtime"), "IANA"),
        (weekly(time_zone="E" * 10_000), "IANA"),
        (weekly(time_zone=None), "IANA"),
    ],
)
def test_it_refuses_what_is_no_window_and_says_which(window: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r"^window 2: ") as refused:
        maintenance.parse([ONCE, window])
    assert said in str(refused.value)


@pytest.mark.parametrize("windows", [None, "x", {"start": 1}, 7])
def test_it_refuses_what_is_no_list(windows: Any) -> None:
    with pytest.raises(ValueError, match="must be a list"):
        maintenance.parse(windows)


def test_it_refuses_more_windows_than_a_probe_can_look_at() -> None:
    many = [weekly(minutes=number) for number in range(1, maintenance.MOST_WINDOWS + 2)]
    assert len(maintenance.parse(many[:-1])) == maintenance.MOST_WINDOWS
    with pytest.raises(ValueError, match="more than 20"):
        maintenance.parse(many)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-12-24T20:59:59.999999+00:00", False),
        ("2026-12-24T21:00:00+00:00", True),
        ("2026-12-25T04:59:59.999999+00:00", True),
        ("2026-12-25T05:00:00+00:00", False),
        ("2026-12-25T12:59:59+08:00", True),
    ],
)
def test_a_window_that_comes_once(moment: str, expected: bool) -> None:
    assert lasts(ONCE, moment) is expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-23T23:29:59+01:00", False),  # a Monday
        ("2026-11-23T23:30:00+01:00", True),
        ("2026-11-24T00:29:59+01:00", True),  # across midnight
        ("2026-11-24T00:30:00+01:00", False),
        ("2026-11-24T23:45:00+01:00", False),  # a Tuesday
        ("2026-11-23T00:10:00+01:00", False),  # a Monday's small hours are not the night that begins on it
        ("2026-11-23T22:45:00+00:00", True),
        ("2026-11-24T07:00:00+09:00", False),
        ("2026-11-24T08:00:00+09:00", True),
        ("2026-07-06T21:45:00+00:00", True),  # in summer an hour earlier
        ("2026-07-06T22:45:00+00:00", False),
    ],
)
def test_a_weekly_window_goes_by_the_clock_of_its_zone(moment: str, expected: bool) -> None:
    assert lasts(NIGHT, moment) is expected


@pytest.mark.parametrize(
    ("window", "first", "minutes"),
    [
        # 29 March 2026, 02:00 to 03:00 does not exist in Berlin: 02:30 is read with winter's offset.
        (weekly(weekdays=["sun"], at="02:30", minutes=90), "2026-03-29T01:30:00+00:00", 90),
        # It begins before the gap and lasts its minutes all the same.
        (weekly(weekdays=["sun"], at="01:30", minutes=60), "2026-03-29T00:30:00+00:00", 60),
        # 25 October 2026, 02:30 comes twice: the first.
        (weekly(weekdays=["sun"], at="02:30", minutes=60), "2026-10-25T00:30:00+00:00", 60),
        # On the day with 25 hours one of 24 ends an hour before midnight.
        (weekly(weekdays=["sun"], at="00:00", minutes=1440), "2026-10-24T22:00:00+00:00", 1440),
        # On that with 23 it goes on for an hour after.
        (weekly(weekdays=["sun"], at="00:00", minutes=1440), "2026-03-28T23:00:00+00:00", 1440),
        # Half an hour's daylight saving, south of the equator.
        (
            weekly(weekdays=["sun"], at="01:45", minutes=30, time_zone="Australia/Lord_Howe"),
            "2026-04-04T14:45:00+00:00",
            30,
        ),
        # Samoa left out 30 December 2011, a Friday: Thursday's window ends on Saturday.
        (
            weekly(weekdays=["thu"], at="23:00", minutes=120, time_zone="Pacific/Apia"),
            "2011-12-30T09:00:00+00:00",
            120,
        ),
        # In St. John's it was put from a minute past midnight back to the day before, with the window open.
        (
            weekly(weekdays=["sun"], at="00:00", minutes=120, time_zone="America/St_Johns"),
            "2010-11-07T02:30:00+00:00",
            120,
        ),
        # In Havana the clock goes from 01:00 back to 00:00: Sunday begins twice.
        (
            weekly(weekdays=["sun"], at="00:15", minutes=120, time_zone="America/Havana"),
            "2026-11-01T04:15:00+00:00",
            120,
        ),
    ],
)
def test_a_change_of_the_clock_shortens_no_window(window: dict[str, Any], first: str, minutes: int) -> None:
    begins, minute = datetime.fromisoformat(first), timedelta(minutes=1)
    windows = maintenance.parse([window])
    found = [number for number in range(-600, minutes + 600) if maintenance.active(windows, begins + number * minute)]
    assert found == list(range(minutes))


@pytest.mark.parametrize(
    ("window", "at", "found"),
    [
        (ONCE, "2026-12-20T00:00:00+00:00", [("2026-12-24T21:00", "2026-12-25T05:00")]),
        (ONCE, "2026-12-25T04:59:59+00:00", [("2026-12-24T21:00", "2026-12-25T05:00")]),
        (ONCE, "2026-12-25T05:00:00+00:00", []),
        (ONCE, "2026-12-17T21:00:00+00:00", []),  # it begins in a week to the second
        (ONCE, "2026-12-17T21:00:01+00:00", [("2026-12-24T21:00", "2026-12-25T05:00")]),
        # A Monday's, at half past ten in the evening by UTC.
        (
            NIGHT,
            "2026-11-23T23:29:59+00:00",
            [("2026-11-23T22:30", "2026-11-23T23:30"), ("2026-11-30T22:30", "2026-11-30T23:30")],
        ),
        (NIGHT, "2026-11-23T23:30:00+00:00", [("2026-11-30T22:30", "2026-11-30T23:30")]),
        # The clock is put back in between: the same time in Berlin is another in UTC.
        (NIGHT, "2026-10-20T00:00:00+00:00", [("2026-10-26T22:30", "2026-10-26T23:30")]),
        (NIGHT, "2026-10-19T21:31:00+00:00", [("2026-10-19T21:30", "2026-10-19T22:30")]),
    ],
)
def test_what_lasts_or_begins_within_a_week_is_told(
    window: dict[str, Any], at: str, found: list[tuple[str, str]]
) -> None:
    told = maintenance.coming(maintenance.parse([window]), datetime.fromisoformat(at), timedelta(days=7))
    assert [tuple(f"{time:%Y-%m-%dT%H:%M}" for time in times) for times in told] == found


@pytest.mark.parametrize("hours", range(0, 24 * 14, 5))
def test_a_window_that_lasts_is_among_those_that_are_told(hours: int) -> None:
    windows = maintenance.parse([NIGHT, weekly(weekdays=["wed", "sun"], at="00:00", minutes=1440), ONCE])
    at = datetime(2026, 10, 19, 0, 15, tzinfo=UTC) + timedelta(hours=hours)
    told = maintenance.coming(windows, at, timedelta(days=7))
    assert any(start <= at < end for start, end in told) == maintenance.active(windows, at)
    assert told == sorted(told)


def test_no_windows_never_last_and_a_time_without_a_zone_is_refused() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    assert not maintenance.active(None, now)
    assert not maintenance.active([], now)
    with pytest.raises(ValueError, match="without a zone"):
        maintenance.active([NIGHT], datetime(2026, 11, 23))
    assert maintenance.coming(None, now, timedelta(days=7)) == []
    with pytest.raises(ValueError, match="without a zone"):
        maintenance.coming([NIGHT], datetime(2026, 11, 23), timedelta(days=7))


def test_a_zone_that_is_gone_from_the_host_counts_as_utc() -> None:
    gone = weekly(time_zone="Mars/Olympus")
    assert maintenance.active([gone], datetime(2026, 11, 23, 23, 45, tzinfo=UTC))
    assert not maintenance.active([gone], datetime(2026, 11, 23, 22, 45, tzinfo=UTC))


def test_sync_can_ask_without_loading_flask() -> None:
    code = "import cloudeye.services.maintenance, sys; print('flask' in sys.modules, 'babel' in sys.modules)"
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=paths, capture_output=True, timeout=60, check=True)
    assert done.stdout.split() == [b"False", b"False"]
