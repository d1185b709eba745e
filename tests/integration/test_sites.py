"""Sites through the API, on both engines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from cloudeye.extensions import db
from cloudeye.models import CheckResult, Site, utcnow
from tests.integration.world import World

SITE = {"name": "Example", "url": "https://example.com/", "interval": 60}


def test_a_new_site_is_due_at_once_and_its_state_is_unknown(world: World) -> None:
    before = utcnow()
    answer = world.log_in("owner").asks("POST", "sites", SITE)
    assert answer.status_code == 201
    site = answer.json["data"]["site"]
    assert {key: site[key] for key in SITE} == SITE
    assert (site["state"], site["owner_id"]) == ("unknown", world.ids["owner"])
    with world.changing_site(site["id"]) as row:
        assert row.next_check_at is not None
        assert before <= row.next_check_at <= utcnow()


def test_a_site_without_interval_gets_the_configured_one(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site(name="no interval")
    assert owner.gets(f"sites/{site}").json["data"]["site"]["interval"] == 60


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "example.com"}, "url"),
        ({"url": "https://user:secret@example.com/"}, "url"),
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"url": "http://[::1]/"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "url"),
        ({"url": "http://0x7f000001/"}, "url"),
        ({"url": "https://example.com/" + "a" * 2048}, "url"),
        ({"url": "https://exa mple.com/"}, "url"),
        ({"url": ""}, "url"),
        ({"url": None}, "url"),
        ({"interval": 19}, "interval"),
        ({"interval": 86401}, "interval"),
        ({"interval": "60"}, "interval"),
        ({"interval": 60.5}, "interval"),
        ({"name": ""}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_it_refuses_what_cannot_be_watched(world: World, change: dict[str, Any], field: str) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    for method, path, body in (("POST", "sites", {**SITE, **change}), ("PATCH", f"sites/{site}", change)):
        answer = owner.asks(method, path, body)
        assert (answer.status_code, answer.json["message"]) == (400, "Invalid payload."), (method, answer.text)
        assert list(answer.json["data"]) == [field]
    assert owner.gets("sites").json["data"]["paging"]["total"] == 1


@pytest.mark.parametrize("name", ["mate", "outsider"])
@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [("GET", "", None), ("PATCH", "", {"name": "mine now"}), ("DELETE", "", None), ("GET", "/usability", None)],
)
def test_another_users_site_is_as_unknown_as_none(world: World, name: str, method: str, suffix: str, body: Any) -> None:
    site = world.log_in("owner").has_site()
    other = world.log_in(name)
    there = other.asks(method, f"sites/{site}{suffix}", body)
    never = other.asks(method, f"sites/{site + 1}{suffix}", body)
    assert there.status_code == never.status_code == 404
    assert there.json == never.json == {"status": "fail", "message": "Site does not exist", "data": None}
    assert world.log_in("owner").gets(f"sites/{site}").json["data"]["site"]["name"] == "Example"


def test_a_list_holds_ones_own_sites_and_an_admins_all(world: World) -> None:
    mine, theirs = world.log_in("owner").has_site(name="mine"), world.log_in("mate").has_site(name="theirs")

    def seen(name: str) -> list[int]:
        return [site["id"] for site in world.log_in(name).gets("sites").json["data"]["sites"]]

    assert seen("owner") == [mine]
    assert seen("outsider") == []
    assert seen("admin") == [mine, theirs]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "sites"),
        ("POST", "sites"),
        ("GET", "sites/1"),
        ("PATCH", "sites/1"),
        ("DELETE", "sites/1"),
        ("GET", "sites/1/usability"),
        ("GET", "users/1"),
    ],
)
@pytest.mark.parametrize("header", [None, "Bearer", "Bearer x.y.z", "Basic b3duZXI6eA=="])
def test_nothing_is_told_or_changed_without_a_token(world: World, method: str, path: str, header: str | None) -> None:
    stranger = world.stranger()
    stranger.headers = {"Authorization": header} if header else {}
    answer = stranger.asks(method, path, {} if method in ("POST", "PATCH") else None)
    assert answer.status_code == 401
    assert answer.json["status"] == "fail"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_changed_url_starts_with_a_clean_slate_and_takes_the_site_from_its_probe(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    later = utcnow() + timedelta(hours=1)
    with world.changing_site(site) as row:
        row.state, row.last_checked_at, row.next_check_at = "up", utcnow(), later
        row.claimed_by, row.claimed_until = "sync-1", later
    answer = owner.asks("PATCH", f"sites/{site}", {"url": "https://example.org/", "name": "New"})
    assert answer.status_code == 200
    changed = answer.json["data"]["site"]
    assert (changed["state"], changed["last_checked_at"], changed["name"]) == ("unknown", None, "New")
    with world.changing_site(site) as row:
        assert row.claimed_by is None
        assert row.next_check_at is not None
        assert row.next_check_at < later


def test_a_changed_interval_keeps_the_state_and_makes_the_site_due(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    with world.changing_site(site) as row:
        row.state, row.next_check_at = "up", utcnow() + timedelta(hours=1)
    changed = owner.asks("PATCH", f"sites/{site}", {"interval": 30}).json["data"]["site"]
    assert (changed["state"], changed["interval"], changed["url"]) == ("up", 30, SITE["url"])
    with world.changing_site(site) as row:
        assert row.next_check_at is not None
        assert row.next_check_at <= utcnow()


def test_a_changed_name_does_not_make_the_site_due(world: World) -> None:
    """Or a user could have any site asked as often as they rename it."""
    owner = world.log_in("owner")
    site = owner.has_site()
    later = utcnow() + timedelta(hours=1)
    with world.changing_site(site) as row:
        row.next_check_at = later
    assert owner.asks("PATCH", f"sites/{site}", {"name": "Renamed"}).status_code == 200
    with world.changing_site(site) as row:
        assert row.next_check_at == later


def test_a_change_of_nothing_is_refused(world: World) -> None:
    owner = world.log_in("owner")
    answer = owner.asks("PATCH", f"sites/{owner.has_site()}", {})
    assert (answer.status_code, answer.json["message"]) == (400, "Invalid payload.")


def test_an_admin_changes_anyones_site_without_becoming_its_owner(world: World) -> None:
    site = world.log_in("owner").has_site()
    answer = world.log_in("admin").asks("PATCH", f"sites/{site}", {"name": "Looked after"})
    assert answer.json["data"]["site"]["owner_id"] == world.ids["owner"]


def test_a_removed_site_takes_its_results_along(world: World) -> None:
    owner = world.log_in("owner")
    site, other = owner.has_site(), owner.has_site(name="other")
    with world.app.app_context():
        for number in (site, site, other):
            db.session.add(CheckResult(site_id=number, checked_at=utcnow(), state="up"))
        db.session.commit()
    answer = owner.asks("DELETE", f"sites/{site}")
    assert (answer.status_code, answer.json["status"]) == (200, "success")
    assert owner.gets(f"sites/{site}").status_code == 404
    with world.app.app_context():
        assert [result.site_id for result in db.session.query(CheckResult)] == [other]
        assert db.session.get(Site, other) is not None


def test_a_time_without_zone_is_never_stored(world: World) -> None:
    site = world.log_in("owner").has_site()
    with world.app.app_context():
        db.session.get_one(Site, site).last_checked_at = datetime(2026, 11, 21)
        with pytest.raises(Exception, match="without a zone"):
            db.session.commit()
