"""What an owner sets of a site, what is refused, who sees it, and how sites are found."""

from __future__ import annotations

from typing import Any

import pytest

from cloudeye.extensions import db
from cloudeye.models import AlertTarget, SiteTag
from tests.integration.world import World

SITE = {"name": "Example", "url": "https://example.com/"}
WINDOW = {"weekdays": ["mon"], "at": "02:00", "minutes": 60, "time_zone": "Europe/Berlin"}
DEFAULTS = {
    "tags": [],
    "interval": 60,
    "timeout": None,
    "method": "GET",
    "headers": None,
    "body": None,
    "expected_statuses": "200-399",
    "keyword_present": None,
    "keyword_absent": None,
    "follow_redirects": True,
    "retries": 0,
    "maintenance": None,
    "paused": False,
    "alert_targets": None,
    "ignore_rules": None,
    "redirect_paths": None,
}


def has_target(world: World, name: str) -> int:
    """Give one of the cast an alert target and return its number."""
    with world.app.app_context():
        target = AlertTarget(owner_id=world.ids[name], name="me", kind="mail", address=f"{name}@example.com")
        db.session.add(target)
        db.session.commit()
        return target.id


def test_what_is_not_said_has_a_default(world: World) -> None:
    site = world.log_in("owner").asks("POST", "sites", SITE).json["data"]["site"]
    assert {name: site[name] for name in DEFAULTS} == DEFAULTS


def test_everything_that_is_set_is_kept_in_one_form(world: World) -> None:
    target = has_target(world, "owner")
    given = {
        **SITE,
        "tags": ["b", "a", "b", "中文"],
        "timeout": 2,
        "method": "PATCH",
        "headers": {"Authorization": "Bearer x"},
        "body": "a\tb\r\n",
        "expected_statuses": "404, 200-250,251-299",
        "keyword_present": "<h1>",
        "keyword_absent": "Error",
        "follow_redirects": False,
        "retries": 10,
        "maintenance": [WINDOW],
        "paused": True,
        "alert_targets": [target, target],
        "ignore_rules": {"selectors": ["#clock", "p.date > time"], "patterns": ["nonce=[a-z0-9]+"]},
        "redirect_paths": ["/go?to={url}"],
    }
    owner = world.log_in("owner")
    site = owner.asks("POST", "sites", given).json["data"]["site"]
    kept = {**given, "tags": ["a", "b", "中文"], "expected_statuses": "200-299,404", "alert_targets": [target]}
    assert {name: site[name] for name in kept} == kept
    assert owner.gets(f"sites/{site['id']}").json["data"]["site"] == site


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tags": ["a b"]}, "tags"),
        ({"tags": ["a,b"]}, "tags"),
        ({"tags": [""]}, "tags"),
        ({"tags": ["x" * 41]}, "tags"),
        ({"tags": [f"{number}" for number in range(21)]}, "tags"),
        ({"tags": None}, "tags"),
        ({"tags": "a"}, "tags"),
        ({"timeout": 0.9}, "timeout"),
        ({"timeout": 5.1}, "timeout"),
        ({"timeout": "2"}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"method": "get"}, "method"),
        ({"method": "TRACE"}, "method"),
        ({"method": "CONNECT"}, "method"),
        ({"headers": {"Host": "x"}}, "headers"),
        ({"headers": {"a b": "x"}}, "headers"),
        ({"headers": {"A": "x\r\nB: y"}}, "headers"),
        ({"headers": {"A": "x", "a": "y"}}, "headers"),
        ({"headers": {"A": 1}}, "headers"),
        ({"headers": [["A", "x"]]}, "headers"),
        ({"headers": {f"A{number}": "x" for number in range(33)}}, "headers"),
        ({"headers": {"A": "***"}}, "headers"),
        ({"body": "x"}, "body"),
        ({"method": "POST", "body": "ä" * 8193}, "body"),
        ({"method": "POST", "body": "a\x00b"}, "body"),
        ({"method": "POST", "body": "\ud800"}, "body"),
        ({"method": "POST", "body": ""}, "body"),
        ({"expected_statuses": ""}, "expected_statuses"),
        ({"expected_statuses": "100"}, "expected_statuses"),
        ({"expected_statuses": "299-200"}, "expected_statuses"),
        ({"expected_statuses": 200}, "expected_statuses"),
        ({"expected_statuses": None}, "expected_statuses"),
        ({"keyword_present": ""}, "keyword_present"),
        ({"keyword_present": "x" * 256}, "keyword_present"),
        ({"keyword_present": "x", "method": "HEAD"}, "keyword_present"),
        ({"follow_redirects": "yes"}, "follow_redirects"),
        ({"retries": 11}, "retries"),
        ({"retries": -1}, "retries"),
        ({"retries": None}, "retries"),
        ({"maintenance": [{**WINDOW, "minutes": 0}]}, "maintenance"),
        ({"maintenance": [WINDOW] * 21}, "maintenance"),
        ({"paused": None}, "paused"),
        ({"alert_targets": [1]}, "alert_targets"),
        ({"alert_targets": ["x"]}, "alert_targets"),
        ({"ignore_rules": {"colours": ["red"]}}, "ignore_rules"),
        ({"ignore_rules": {"selectors": ["div:nth-child(2)"]}}, "ignore_rules"),
        ({"ignore_rules": {"patterns": ["("]}}, "ignore_rules"),
        ({"ignore_rules": {"patterns": ["x*"]}}, "ignore_rules"),
        ({"ignore_rules": {"patterns": "x"}}, "ignore_rules"),
        ({"ignore_rules": {"patterns": None}}, "ignore_rules"),
        ({"ignore_rules": {"patterns": ["x"] * 31}}, "ignore_rules"),
        ({"ignore_rules": ["x"]}, "ignore_rules"),
        ({"redirect_paths": ["go?to={url}"]}, "redirect_paths"),
        ({"redirect_paths": ["/go"]}, "redirect_paths"),
        ({"redirect_paths": ["/go ?to={url}"]}, "redirect_paths"),
    ],
)
def test_it_refuses_what_no_probe_could_do(world: World, change: dict[str, Any], field: str) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    before = owner.gets(f"sites/{site}").json
    for method, path, body in (("POST", "sites", {**SITE, **change}), ("PATCH", f"sites/{site}", change)):
        answer = owner.asks(method, path, body)
        assert (answer.status_code, answer.json["message"]) == (400, "Invalid payload."), (method, answer.text)
        assert list(answer.json["data"]) == [field]
        assert "window 1: " in str(answer.json["data"]) or field != "maintenance" or len(change[field]) > 20
    assert owner.gets(f"sites/{site}").json == before
    assert owner.gets("sites").json["data"]["paging"]["total"] == 1


@pytest.mark.parametrize(
    ("set_before", "change", "field"),
    [
        ({"interval": 20, "timeout": 4}, {"timeout": 5}, None),
        ({"method": "POST", "body": "x"}, {"method": "GET"}, "body"),
        ({"method": "POST", "body": "x"}, {"method": "GET", "body": None}, None),
        ({"keyword_present": "x"}, {"method": "HEAD"}, "keyword_present"),
    ],
)
def test_settings_that_go_together_are_checked_together(
    world: World, set_before: dict[str, Any], change: dict[str, Any], field: str | None
) -> None:
    owner = world.log_in("owner")
    answer = owner.asks("PATCH", f"sites/{owner.has_site(**set_before)}", change)
    assert (answer.status_code, list(answer.json["data"])) == ((400, [field]) if field else (200, ["site"]))


def test_a_timeout_is_shorter_than_the_interval(world: World) -> None:
    patient = world.second_instance(APP_SYNC_TOTAL_TIMEOUT="50")
    try:
        owner = patient.log_in("owner")
        site = owner.has_site(timeout=30, interval=40)
        for change in ({"interval": 30}, {"interval": 25}, {"timeout": 40}):
            assert list(owner.asks("PATCH", f"sites/{site}", change).json["data"]) == ["timeout"]
        assert owner.asks("PATCH", f"sites/{site}", {"interval": 31}).status_code == 200
        stricter = world.log_in("owner")  # a stack that allows less than when this was set
        assert stricter.asks("PATCH", f"sites/{site}", {"name": "Renamed"}).status_code == 200
        assert stricter.asks("PATCH", f"sites/{site}", {"interval": 60}).status_code == 400
    finally:
        with patient.app.app_context():
            db.engine.dispose()


@pytest.mark.parametrize("name", ["timeout", "headers", "body", "keyword_present", "maintenance", "ignore_rules"])
def test_null_takes_a_setting_back(world: World, name: str) -> None:
    given = {
        "timeout": 2,
        "method": "POST",
        "headers": {"A": "x"},
        "body": "x",
        "keyword_present": "x",
        "maintenance": [WINDOW],
        "ignore_rules": {"patterns": ["x"]},
    }
    owner = world.log_in("owner")
    site = owner.has_site(**given)
    changed = owner.asks("PATCH", f"sites/{site}", {name: None}).json["data"]["site"]
    assert changed[name] is None
    assert {other: changed[other] for other in given if other != name} == {
        other: value for other, value in given.items() if other != name
    }


def test_targets_are_the_owners_also_when_an_admin_chooses(world: World) -> None:
    owner, admin = world.log_in("owner"), world.log_in("admin")
    mine, theirs = has_target(world, "owner"), has_target(world, "admin")
    site = owner.has_site()
    assert admin.asks("PATCH", f"sites/{site}", {"alert_targets": [theirs]}).status_code == 400
    assert admin.asks("PATCH", f"sites/{site}", {"alert_targets": [mine]}).status_code == 200
    assert owner.asks("PATCH", f"sites/{site}", {"alert_targets": []}).json["data"]["site"]["alert_targets"] == []


def test_what_lets_somebody_in_is_shown_to_the_owner_alone_and_kept_by_whoever_sends_a_mask(world: World) -> None:
    owner, admin = world.log_in("owner"), world.log_in("admin")
    secrets = {"headers": {"Authorization": "Bearer x", "Accept": "*/*"}, "body": "password=x"}
    site = owner.has_site(method="POST", **secrets)
    shown = admin.gets(f"sites/{site}").json["data"]["site"]
    assert (shown["headers"], shown["body"]) == ({"Authorization": "***", "Accept": "***"}, "***")
    assert admin.gets("sites").json["data"]["sites"] == [shown]
    change = {"headers": {"authorization": "***", "X-New": "y"}, "body": "***", "name": "Looked after"}
    changed = admin.asks("PATCH", f"sites/{site}", change).json["data"]["site"]
    assert changed["headers"] == {"authorization": "***", "X-New": "***"}
    kept = owner.gets(f"sites/{site}").json["data"]["site"]
    assert (kept["headers"], kept["body"]) == ({"authorization": "Bearer x", "X-New": "y"}, secrets["body"])
    assert admin.asks("PATCH", f"sites/{site}", {"headers": {"X-Other": "***"}}).status_code == 400


def test_a_site_may_be_added_paused(world: World) -> None:
    site = world.log_in("owner").has_site(paused=True)
    with world.changing_site(site) as row:
        assert (row.paused, row.next_check_at) == (True, None)


def test_tags_are_changed_as_a_whole_and_go_with_the_site(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site(tags=["a", "b"])
    before = owner.gets(f"sites/{site}")
    changed = owner.asks("PATCH", f"sites/{site}", {"tags": ["b", "c"]})
    assert changed.json["data"]["site"]["tags"] == ["b", "c"]
    owner.headers = {**owner.headers, "If-Match": before.headers["ETag"]}
    assert owner.asks("PATCH", f"sites/{site}", {"tags": []}).status_code == 412
    del owner.headers["If-Match"]
    assert owner.asks("DELETE", f"sites/{site}").status_code == 200
    with world.app.app_context():
        assert db.session.query(SiteTag).count() == 0


def test_sites_are_found_by_state_tag_pause_and_a_part_of_their_name_or_url(world: World) -> None:
    owner, mate = world.log_in("owner"), world.log_in("mate")
    shop = owner.has_site(name="The Shop", url="https://shop.example.com/", tags=["prod", "shop"])
    blog = owner.has_site(name="Blog", url="https://example.com/Blog_%25", tags=["prod"], paused=True)
    test = owner.has_site(name="50% off_", url="https://test.example.com/", tags=["test"])
    mate.has_site(name="Mate's shop", tags=["prod"])
    with world.changing_site(test) as row:
        row.state = "down"

    def found(query: str) -> list[int]:
        answer = owner.gets(f"sites?{query}")
        assert answer.status_code == 200, answer.text
        assert answer.json["data"]["paging"]["total"] == len(answer.json["data"]["sites"])
        return [site["id"] for site in answer.json["data"]["sites"]]

    assert found("tag=prod") == [shop, blog]
    assert found("tag=Prod") == []
    assert found("tag=prod&paused=true") == [blog]
    assert found("paused=false") == [shop, test]
    assert found("state=down") == [test]
    assert found("q=SHOP") == [shop]
    assert found("q=example.com/blog") == [blog]
    assert found("q=%25") == [blog, test]
    assert found("q=50%25") == [test]
    assert found("q=f_") == [test]
    assert found("q=_") == [blog, test]
    assert found("q=nothing") == []
    assert found("sort=-name") == [shop, blog, test]
    for wrong in ("tag=a%20b", "tag=", "q=", "paused=1", "sort=url", f"q={'x' * 101}"):
        assert owner.gets(f"sites?{wrong}").status_code == 400, wrong


@pytest.mark.parametrize(
    "settings", [{"headers": {"Authorization": "Bearer s3cret"}}, {"method": "POST", "body": "s3cret"}]
)
def test_who_may_not_see_what_is_sent_cannot_send_it_elsewhere(world: World, settings: dict[str, Any]) -> None:
    owner, admin = world.log_in("owner"), world.log_in("admin")
    site = owner.has_site(**settings)
    masked: dict[str, Any] = {"headers": {"Authorization": "***"}} if "headers" in settings else {"body": "***"}
    for change in ({"url": "https://evil.example/"}, {"url": "http://example.com/", **masked}):
        answer = admin.asks("PATCH", f"sites/{site}", change)
        assert (answer.status_code, list(answer.json["data"])) == (400, ["url"])
    assert admin.asks("PATCH", f"sites/{site}", {"url": "https://example.com/elsewhere"}).status_code == 200
    away = {"url": "https://example.org/", "headers": None, "body": None}
    assert admin.asks("PATCH", f"sites/{site}", away).status_code == 200
    assert owner.asks("PATCH", f"sites/{site}", {"url": "https://example.net/"}).status_code == 200


def test_a_key_that_may_only_write_sees_no_secret(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site(headers={"Authorization": "Bearer s3cret"})
    made = owner.asks("POST", "auth/keys", {"name": "robot", "scopes": ["sites:write"]}).json["data"]["secret"]
    client, headers = world.app.test_client(), {"X-API-Key": made}
    answer = client.patch(f"/api/v1/sites/{site}", json={"name": "Renamed"}, headers=headers)
    assert answer.json["data"]["site"]["headers"] == {"Authorization": "***"}
    moved = client.patch(f"/api/v1/sites/{site}", json={"url": "https://evil.example/"}, headers=headers)
    assert moved.status_code == 400
