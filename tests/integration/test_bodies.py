"""What no schema speaks of: bodies too deep, too long or too many, and arguments that nobody asked for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.world import World

LOGIN = "/api/v1/auth/login"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"email":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"email":' + b"1" * 10_000 + b"}",
        b"\xff\xfe",
        b'{"email":',
    ],
    ids=["deep list", "deep field", "long number", "no text", "cut off"],
)
def test_a_body_that_cannot_be_read_is_no_fault_of_ours(world: World, body: bytes) -> None:
    answer = world.app.test_client().post(LOGIN, data=body, content_type="application/json")
    assert (answer.status_code, answer.json["message"]) == (400, "Invalid payload.")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", None])
def test_a_body_that_is_not_sent_as_json_is_refused_with_the_remedy(world: World, kind: str | None) -> None:
    answer = world.app.test_client().post(LOGIN, data=b'{"email": "a@example.com", "password": "x"}', content_type=kind)
    said = "The body must be JSON, sent with Content-Type: application/json."
    assert (answer.status_code, answer.json["data"]) == (400, {"_schema": [said]})


def test_more_fields_than_anything_has_are_not_looked_at(world: World) -> None:
    answer = world.app.test_client().post(LOGIN, json={f"field {number}": number for number in range(101)})
    assert (answer.status_code, answer.json["data"]) == (400, {"_schema": ["Too many fields."]})


def test_a_body_larger_than_any_that_fits_is_refused(world: World) -> None:
    answer = world.app.test_client().post(LOGIN, json={"email": "x" * 66_000, "password": "x"})
    assert (answer.status_code, answer.json["status"]) == (413, "fail")


@pytest.mark.parametrize("query", ["sorted=id", "page=1_0", "page=+1", "page=%201", "active=yes", "active=1"])
def test_what_a_list_cannot_be_asked_for_is_refused_by_name(world: World, query: str) -> None:
    answer = world.log_in("admin").gets(f"users?{query}")
    assert answer.status_code == 400
    assert list(answer.json["data"]) == [query.partition("=")[0]]


@pytest.mark.parametrize("name", ["\ud800", "a\u202eb", "a\nb", "\u00a0", "a\u0000"])
def test_a_name_is_one_line_that_can_be_seen(world: World, name: str) -> None:
    answer = world.log_in("owner").asks("POST", "sites", {"name": name, "url": "https://example.com/"})
    assert (answer.status_code, list(answer.json["data"])) == (400, ["name"])


def test_blanks_around_a_name_are_taken_off_and_count(world: World) -> None:
    owner = world.log_in("owner")
    answer = owner.asks("POST", "sites", {"name": "  a b ", "url": "https://example.com/"})
    assert answer.json["data"]["site"]["name"] == "a b"
    assert owner.asks("POST", "sites", {"name": "a".ljust(121), "url": "https://example.com/"}).status_code == 400


@pytest.mark.parametrize(("interval", "status"), [(60.0, 201), (60.5, 400), ("60", 400), (True, 400)])
def test_a_number_is_whole_whatever_way_it_is_written(world: World, interval: Any, status: int) -> None:
    body = {"name": "x", "url": "https://example.com/", "interval": interval}
    assert world.log_in("owner").asks("POST", "sites", body).status_code == status


@pytest.mark.parametrize(
    ("expires_at", "status"),
    [("2000-01-01T00:00:00Z", 400), ("2999-01-01T00:00:00+14:00", 201), ("9999-12-31T23:59:59-12:00", 400)],
)
def test_a_key_expires_in_the_future_and_says_so_in_utc(world: World, expires_at: str, status: int) -> None:
    body = {"name": "x", "scopes": ["sites:read"], "expires_at": expires_at}
    answer = world.log_in("owner").asks("POST", "auth/keys", body)
    assert answer.status_code == status
    if status == 201:
        assert answer.json["data"]["key"]["expires_at"] == "2998-12-31T10:00:00+00:00"


@pytest.mark.parametrize("tag", ['W/",.x", W/"', "*x", '"', 'W/""', "no tag"])
def test_a_tag_of_any_form_is_one_that_nobody_has(world: World, tag: str) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    owner.headers["If-Match"] = tag
    assert owner.asks("PATCH", f"sites/{site}", {"name": "x"}).status_code == 412
