"""What a change of a site starts anew, and what it leaves as it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from cloudeye.extensions import db
from cloudeye.models import CheckResult, Finding, Incident, PageVersion, Site, utcnow
from cloudeye.services import sites
from tests.integration.world import World

WINDOW = {"weekdays": ["mon"], "at": "02:00", "minutes": 60, "time_zone": "Europe/Berlin"}


def was_watched(world: World, site_id: int) -> None:
    """Let a site have been found down, changed and weak, with a probe of it under way."""
    now = utcnow()
    later = now + timedelta(hours=1)
    with world.changing_site(site_id) as site:
        site.state, site.status_code, site.error, site.latency_ms = "down", 500, "http_status: 500", 7.5
        site.failures, site.failing_since, site.state_since, site.last_checked_at = 2, now, now, now
        site.body_digest, site.headers_digest, site.page_hash, site.inspected_at = "b" * 64, "h" * 64, "p" * 64, now
        site.tamper_state, site.tamper_severity, site.tamper_since = "changed", "high", now
        site.grade, site.score, site.open_findings, site.worst_severity = "C", 50, 2, "high"
        site.certificate_expires_at, site.certificate_warned = later, 14
        site.control_token, site.controlled_at = "token", now
        site.next_check_at = site.next_scan_at = later
        site.claimed_by, site.claimed_until = "sync-1", later
        version = PageVersion(site_id=site_id, hash="p" * 64, seen_at=now)
        finding = Finding(
            site_id=site_id, code="no_https", subject="", kind="visit", severity="high", first_seen_at=now,
            last_seen_at=now,
        )  # fmt: skip
        incident = Incident(site_id=site_id, started_at=now, cause="http_status: 500")
        db.session.add_all([version, finding, incident, CheckResult(site_id=site_id, checked_at=now, state="down")])
        db.session.flush()
        site.baseline_id = version.id


def counted(world: World, site_id: int) -> dict[str, int]:
    """Count what is kept of a site."""
    with world.app.app_context():
        return {
            kind.__name__: db.session.query(kind).filter_by(site_id=site_id).count()
            for kind in (PageVersion, Finding, Incident, CheckResult)
        }


def incident_ended(world: World, site_id: int) -> bool:
    with world.app.app_context():
        return db.session.query(Incident).filter_by(site_id=site_id).one().ended_at is not None


@pytest.mark.parametrize(
    ("change", "due", "page", "released"),
    [
        ({"name": "x"}, False, False, False),
        ({"tags": ["x"]}, False, False, False),
        ({"alert_targets": []}, False, False, False),
        ({"retries": 1}, False, False, True),
        ({"maintenance": [WINDOW]}, False, False, True),
        ({"interval": 30}, True, False, True),
        ({"timeout": 3}, True, False, True),
        ({"expected_statuses": "200"}, True, False, True),
        ({"keyword_present": "x"}, True, False, True),
        ({"keyword_absent": "x"}, True, False, True),
        ({"method": "POST"}, True, True, True),
        ({"headers": {"A": "x"}}, True, True, True),
        ({"follow_redirects": False}, True, True, True),
        ({"method": "GET", "retries": 0, "expected_statuses": "200-399"}, False, False, False),  # as it was
    ],
)
def test_a_change_starts_anew_what_it_makes_worthless(
    world: World, change: dict[str, Any], due: bool, page: bool, released: bool
) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    was_watched(world, site)
    assert owner.asks("PATCH", f"sites/{site}", change).status_code == 200
    with world.changing_site(site) as row:
        assert row.next_check_at is not None
        assert (row.next_check_at <= utcnow()) is due
        assert (row.claimed_by is None) is released
        assert (row.baseline_id is None, row.body_digest is None, row.headers_digest is None) == (page, page, page)
        assert row.tamper_state == ("unknown" if page else "changed")
        assert (row.state, row.failures, row.grade, row.controlled_at is None) == ("down", 2, "C", False)
    assert not incident_ended(world, site)
    assert counted(world, site) == {"PageVersion": 1, "Finding": 1, "Incident": 1, "CheckResult": 1}


def test_another_url_forgets_all_that_was_found_but_the_history(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    was_watched(world, site)
    changed = owner.asks("PATCH", f"sites/{site}", {"url": "https://example.org/"}).json["data"]["site"]
    assert (changed["state"], changed["tamper_state"], changed["grade"], changed["controlled_at"]) == (
        "unknown", "unknown", None, None,
    )  # fmt: skip
    assert incident_ended(world, site)
    assert counted(world, site) == {"PageVersion": 0, "Finding": 0, "Incident": 1, "CheckResult": 1}
    with world.changing_site(site) as row:
        assert row.next_check_at is not None
        assert row.next_check_at <= utcnow()
        empty = (
            "error status_code latency_ms failing_since state_since last_checked_at body_digest headers_digest "
            "page_hash baseline_id inspected_at tamper_severity tamper_since grade score worst_severity "
            "certificate_expires_at certificate_warned controlled_at next_scan_at claimed_by"
        )
        assert {name: getattr(row, name) for name in empty.split()} == dict.fromkeys(empty.split())
        assert (row.failures, row.open_findings) == (0, 0)


@pytest.mark.parametrize("change", [{"url": "https://example.org/"}, {"paused": True}])
def test_a_result_that_comes_between_reading_and_writing_is_forgotten_too(world: World, change: dict[str, Any]) -> None:
    number = world.log_in("owner").has_site()
    seen = {"state": "up", "status_code": 200, "failures": 3, "tamper_state": "unchanged", "baseline_id": 7}
    with world.app.app_context():
        site = db.session.get_one(Site, number)
        with db.engine.begin() as sync:
            sync.execute(update(Site).where(Site.id == number).values(**seen, next_check_at=utcnow()))
        sites.change_site(db.session(), site, change, config=world.config.sync, secrets_are_known=True)
        db.session.commit()
    with world.changing_site(number) as row:
        assert (row.state, row.status_code, row.failures) == ("unknown", None, 0)
        if "url" in change:
            assert (row.tamper_state, row.baseline_id) == ("unknown", None)
        else:
            assert (row.tamper_state, row.next_check_at) == ("unchanged", None)


def test_ignore_rules_let_the_page_be_read_anew_against_the_same_baseline(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    was_watched(world, site)
    assert owner.asks("PATCH", f"sites/{site}", {"ignore_rules": {"selectors": ["#clock"]}}).status_code == 200
    with world.changing_site(site) as row:
        assert row.next_check_at is not None
        assert row.next_check_at <= utcnow()
        assert (row.body_digest, row.headers_digest is None, row.claimed_by) == (None, False, None)
        assert row.baseline_id is not None


@pytest.mark.parametrize(
    ("url", "proven"),
    [
        ("https://EXAMPLE.com/another", True),
        ("https://example.com:8443/", False),
        ("http://example.com/", False),
        ("https://www.example.com/", False),
    ],
)
def test_control_is_proven_for_the_origin(world: World, url: str, proven: bool) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    was_watched(world, site)
    assert owner.asks("PATCH", f"sites/{site}", {"url": url}).status_code == 200
    with world.changing_site(site) as row:
        assert (row.controlled_at is not None, row.control_token is not None) == (proven, proven)
        assert (row.next_scan_at is not None) is proven
        assert row.grade is None
    assert counted(world, site)["Finding"] == 0


def test_a_paused_site_is_not_looked_at_and_goes_on_at_once(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    was_watched(world, site)
    paused = owner.asks("PATCH", f"sites/{site}", {"paused": True}).json["data"]["site"]
    assert (paused["paused"], paused["state"], paused["error"]) == (True, "unknown", None)
    assert incident_ended(world, site)
    with world.changing_site(site) as row:
        assert (row.next_check_at, row.next_scan_at, row.claimed_by, row.failures) == (None, None, None, 0)
        assert (row.tamper_state, row.grade) == ("changed", "C")  # what was found is still true
    owner.asks("PATCH", f"sites/{site}", {"interval": 30, "url": "https://example.org/"})
    with world.changing_site(site) as row:
        assert row.next_check_at is None
    before = utcnow()
    assert owner.asks("PATCH", f"sites/{site}", {"paused": False}).status_code == 200
    with world.changing_site(site) as row:
        assert row.next_check_at is not None
        assert before <= row.next_check_at <= utcnow()


def test_new_paths_are_scanned_soon_where_control_is_proven(world: World) -> None:
    owner = world.log_in("owner")
    proven, unproven = owner.has_site(), owner.has_site()
    was_watched(world, proven)
    for site in (proven, unproven):
        assert owner.asks("PATCH", f"sites/{site}", {"redirect_paths": ["/go?to={url}"]}).status_code == 200
    with world.changing_site(proven) as row:
        assert row.next_scan_at is not None
        assert row.next_scan_at <= utcnow()
    with world.changing_site(unproven) as row:
        assert row.next_scan_at is None


def test_a_site_with_many_results_is_removed_with_all_of_them(world: World) -> None:
    owner = world.log_in("owner")
    site, other = owner.has_site(), owner.has_site()
    now = utcnow()
    with world.app.app_context():
        for number in range(1200):
            db.session.add(CheckResult(site_id=site, checked_at=now - timedelta(seconds=number), state="up"))
        db.session.add(CheckResult(site_id=other, checked_at=now, state="up"))
        db.session.commit()
    was_watched(world, site)
    assert owner.asks("DELETE", f"sites/{site}").status_code == 200
    assert counted(world, site) == {"PageVersion": 0, "Finding": 0, "Incident": 0, "CheckResult": 0}
    with world.app.app_context():
        assert db.session.query(CheckResult).count() == 1
        assert db.session.get(Site, other) is not None
