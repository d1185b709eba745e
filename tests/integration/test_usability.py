"""How usable a site is, through the API, on both engines; figures are compared with those of all checks together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from cloudeye.extensions import db
from cloudeye.models import CheckResult, Incident
from cloudeye.sync.retention import RESULTS_KEPT, retain
from tests.integration.checks import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    PHASES,
    Check,
    add,
    checks_between,
    exact,
    roll_up,
    usability,
    windows,
)
from tests.integration.world import World

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is NOW for the views."""
    monkeypatch.setattr("cloudeye.api.usability.utcnow", lambda: NOW)


def test_a_new_site_has_no_figures_yet(world: World) -> None:
    owner = world.log_in("owner")
    found = usability(owner, owner.has_site())
    assert (found["state"], found["timings"], found["incident"]) == ("unknown", None, None)
    assert found["windows"] == windows([])
    assert found["windows"]["24h"]["uptime"] is None


def test_the_first_check_counts_at_once(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    add(world, site, [Check(NOW - MINUTE, True, 100.0)])
    found = usability(owner, site)
    assert found["windows"] == windows([Check(NOW - MINUTE, True, 100.0)])
    assert found["timings"] == pytest.approx(
        {"latency_ms": 100, "dns_ms": 10, "connect_ms": 20, "tls_ms": 30, "first_byte_ms": 35, "total_ms": 105}
    )


def test_usability_tells_what_the_last_probe_said_and_of_the_incident_that_lasts(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    checked = NOW - timedelta(seconds=10)
    with world.changing_site(site) as row:
        row.state, row.status_code, row.latency_ms, row.error = "down", 503, 12.25, "http_status: 503"
        row.last_checked_at, row.state_since, row.failures = checked, checked - HOUR, 61
        db.session.add(Incident(site_id=site, started_at=checked - 9 * HOUR, ended_at=checked - 8 * HOUR, cause="old"))
        db.session.add(Incident(site_id=site, started_at=checked - HOUR, cause="http_status: 503", status_code=503))
    found = usability(owner, site)
    incident = found.pop("incident")
    del found["windows"], incident["id"]
    assert found == {
        "state": "down",
        "error": "http_status: 503",
        "state_since": (checked - HOUR).isoformat(),
        "status_code": 503,
        "latency_ms": 12.25,
        "last_checked_at": checked.isoformat(),
        "failures": 61,
        "paused": False,
        "timings": None,
    }
    assert incident == {
        "started_at": (checked - HOUR).isoformat(),
        "ended_at": None,
        "seconds": 3610,
        "cause": "http_status: 503",
        "status_code": 503,
    }
    with world.changing_site(site) as row:
        row.state = "up"
    assert usability(owner, site)["incident"] is None


@pytest.fixture(scope="module")
def ninety_days() -> list[Check]:
    """Checks of 95 days, rare at first and frequent in the last days, one of them at the very end of an hour."""
    rare = checks_between(NOW - 95 * DAY, NOW - 3 * DAY, timedelta(minutes=13, seconds=7))
    often = checks_between(NOW - 3 * DAY, NOW, timedelta(seconds=61), seed=2)
    edges = [
        Check(NOW.replace(minute=0, second=0, microsecond=0) - HOUR, False, None),
        Check(NOW.replace(minute=0, second=0, microsecond=0) - timedelta(microseconds=1), False, None),
        Check(NOW.replace(minute=0, second=0, microsecond=0) - DAY, False, None),
        Check(NOW.replace(minute=0, second=0, microsecond=0) - DAY - timedelta(microseconds=1), False, None),
    ]
    return rare + often + edges


@pytest.mark.parametrize(
    "rolled_at",
    [None, NOW - 50 * DAY, NOW - 3 * HOUR, NOW - timedelta(minutes=25), NOW],
    ids=["never", "50 days behind", "3 hours behind", "in the grace", "now"],
)
def test_each_window_has_the_figures_of_all_its_checks(
    world: World, ninety_days: list[Check], rolled_at: datetime | None
) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    add(world, site, ninety_days)
    if rolled_at is not None:
        roll_up(world, rolled_at)
    assert usability(owner, site)["windows"] == windows(ninety_days)
    listed = owner.gets("usability").json["data"]["sites"][0]
    assert listed["uptime_24h"] == windows(ninety_days)["24h"]["uptime"]


def test_figures_stay_when_single_results_are_deleted_after_seven_days(world: World, ninety_days: list[Check]) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    add(world, site, ninety_days)
    work = roll_up(world, NOW)
    before = usability(owner, site)["windows"]
    for _ in range(1000):
        if not retain(work):
            break
    with world.app.app_context():
        oldest = db.session.query(db.func.min(CheckResult.checked_at)).scalar()
    assert oldest >= NOW - RESULTS_KEPT
    assert usability(owner, site)["windows"] == before == windows(ninety_days)


# -- history -----------------------------------------------------------------------------------------------------


def grouped(checks: Sequence[Check], start_of: Callable[[datetime], datetime]) -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {}
    for check in sorted(checks, key=lambda one: one.at):
        found.setdefault(start_of(check.at).isoformat(), []).append(check)
    return found


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def points(checks: Sequence[Check], start_of: Callable[[datetime], datetime]) -> list[dict[str, Any]]:
    found = []
    for start, those in grouped(checks, start_of).items():
        figures = exact(those)
        del figures["p99_ms"]
        timed = [check.row(0) for check in those if check.up and not check.maintenance and check.latency is not None]
        averages = {
            name: pytest.approx(sum(row[name] for row in timed) / len(timed), abs=0.006)
            for name in ("latency_ms", *PHASES)
            if timed
        }
        found.append({"time": start, **figures, "timings": averages or None})
    return found


RESOLUTIONS: dict[str, tuple[timedelta, Callable[[datetime], datetime]]] = {
    "raw": (7 * HOUR, lambda at: at),
    "hour": (20 * DAY, hour_of),
    "day": (94 * DAY, lambda at: hour_of(at).replace(hour=0)),
}


@pytest.mark.parametrize("rolled_at", [None, NOW - 3 * HOUR, NOW], ids=["never rolled", "behind", "rolled"])
def test_a_history_has_the_figures_of_the_checks_in_each_of_its_times(
    world: World, ninety_days: list[Check], rolled_at: datetime | None
) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    add(world, site, ninety_days)
    if rolled_at is not None:
        roll_up(world, rolled_at)
    for resolution, (length, start_of) in RESOLUTIONS.items():
        asked = {"from": (NOW - length).isoformat(), "to": NOW.isoformat()}
        found = usability(owner, site, "/history", **asked)
        assert found == usability(owner, site, "/history", **asked, resolution=resolution)
        since = start_of(NOW - length)
        told = (found["resolution"], found["since"], found["until"])
        assert told == (resolution, since.isoformat(), NOW.isoformat())
        assert found["points"] == points([check for check in ninety_days if since <= check.at < NOW], start_of)
        assert 20 < len(found["points"]) <= 500


@pytest.mark.parametrize("interval", [20, 60, 3600, 86_400])
def test_no_more_than_500_points_come_back(world: World, interval: int) -> None:
    owner = world.log_in("owner")
    site, every = owner.has_site(interval=interval), timedelta(seconds=interval)
    add(world, site, [Check(NOW - number * every, True, 10.0) for number in range(1, 1500)])
    roll_up(world, NOW)
    for length in (HOUR, DAY, 6 * DAY, 8 * DAY, 30 * DAY, 399 * DAY, 9_000 * DAY):
        found = usability(owner, site, "/history", **{"from": (NOW - length).isoformat()})
        expected = min(1499, length // every)
        assert min(expected, 1) <= len(found["points"]) <= 500, length
        if found["resolution"] == "raw" or length < 400 * DAY:
            assert expected <= sum(point["checks"] for point in found["points"]) <= expected + DAY / every, length


def test_without_a_beginning_and_an_end_it_is_the_last_day(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site(interval=3600)
    add(world, site, [Check(NOW - number * HOUR, True, 10.0) for number in range(48)])
    found = usability(owner, site, "/history")
    assert (found["resolution"], found["since"]) == ("raw", (NOW - DAY).isoformat())
    assert len(found["points"]) == 24


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"from": "2026-11-20T00:00:00Z", "resolution": "raw"}, "resolution"),
        ({"from": "2026-01-20T00:00:00Z", "resolution": "hour"}, "resolution"),
        ({"resolution": "minute"}, "resolution"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-11-20T00:00:00"}, "from"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from"),
        ({"to": "1969-12-31T23:59:59Z"}, "to"),
        ({"from": "2026-11-20T00:00:00Z", "to": "2026-11-19T00:00:00Z"}, "to"),
        ({"from": "2026-11-23T00:00:00Z"}, "from"),
        ({"since": "2026-11-20T00:00:00Z"}, "since"),
    ],
)
def test_it_refuses_a_history_that_cannot_be_given(world: World, asked: dict[str, str], field: str) -> None:
    owner = world.log_in("owner")
    site = owner.has_site(interval=20)
    add(world, site, [Check(NOW - timedelta(seconds=20 * number), True, 10.0) for number in range(600)])
    answer = owner.gets(f"sites/{site}/usability/history?{urlencode(asked)}")
    assert (answer.status_code, answer.json["message"]) == (400, "Invalid payload.")
    assert list(answer.json["data"]) == [field]


def test_a_history_lies_in_any_time_that_can_be_named(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    for since, until in (
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"),
        ("9999-12-30T00:00:00Z", "9999-12-31T23:59:59Z"),
    ):
        for resolution in ("raw", "hour", "day"):
            found = usability(owner, site, "/history", **{"from": since, "to": until, "resolution": resolution})
            assert found["points"] == []
