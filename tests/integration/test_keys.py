"""API keys: for machines that act for a user, with the scopes they were given."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from cloudeye.extensions import db
from cloudeye.models import ApiKey, IdempotencyRecord, utcnow
from tests.integration.world import Person, World

SITE = {"name": "Example", "url": "https://example.com/"}


def has_key(person: Person, *scopes: str, **given: Any) -> dict[str, Any]:
    answer = person.asks("POST", "auth/keys", {"name": "robot", "scopes": list(scopes), **given})
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json["data"]
    return data


def robot(world: World, secret: str, method: str, path: str, **options: Any) -> TestResponse:
    client = world.app.test_client()
    return client.open(f"/api/v1/{path}", method=method, headers={"X-API-Key": secret}, **options)


def test_a_key_acts_for_its_user_within_its_scopes(world: World) -> None:
    owner = world.log_in("owner")
    secret = has_key(owner, "sites:read", "sites:write")["secret"]
    assert robot(world, secret, "POST", "sites", json=SITE).json["data"]["site"]["owner_id"] == owner.id
    assert robot(world, secret, "GET", "sites").json["data"]["paging"]["total"] == 1
    refused = robot(world, secret, "GET", f"users/{owner.id}")
    assert (refused.status_code, refused.json["message"]) == (403, "This API key may not do that.")


def test_a_key_that_may_read_may_not_change(world: World) -> None:
    secret = has_key(world.log_in("owner"), "sites:read")["secret"]
    assert robot(world, secret, "POST", "sites", json=SITE).status_code == 403
    assert robot(world, secret, "GET", "sites").json["data"]["paging"]["total"] == 0


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "auth/me"), ("GET", "auth/keys"), ("POST", "auth/keys"), ("POST", "auth/logout")]
)
def test_no_key_opens_the_account_itself(world: World, method: str, path: str) -> None:
    secret = has_key(world.log_in("owner"), "sites:read", "sites:write", "users:read", "users:write")["secret"]
    assert robot(world, secret, method, path, json={} if method == "POST" else None).status_code == 403


def test_a_key_is_shown_once_and_kept_as_a_hash(world: World) -> None:
    owner = world.log_in("owner")
    made = has_key(owner, "sites:read")
    secret = made["secret"]
    assert secret.startswith(f"ce_{made['key']['prefix']}_")
    assert secret not in owner.gets("auth/keys").text
    with world.app.app_context():
        row = db.session.scalars(select(ApiKey)).one()
    assert secret.split("_", 2)[2] not in str(vars(row))


def test_its_last_use_is_kept(world: World) -> None:
    owner = world.log_in("owner")
    secret = has_key(owner, "sites:read")["secret"]
    assert owner.gets("auth/keys").json["data"]["keys"][0]["last_used_at"] is None
    robot(world, secret, "GET", "sites")
    assert owner.gets("auth/keys").json["data"]["keys"][0]["last_used_at"] is not None


@pytest.mark.parametrize("end", ["taken back", "expired", "user inactive"])
def test_a_key_that_has_ended_is_refused_within_seconds(world: World, end: str) -> None:
    owner = world.log_in("owner")
    made = has_key(owner, "sites:read")
    assert robot(world, made["secret"], "GET", "sites").status_code == 200
    if end == "taken back":
        assert owner.asks("DELETE", f"auth/keys/{made['key']['id']}").status_code == 200
    elif end == "expired":
        with world.app.app_context():
            db.session.scalars(select(ApiKey)).one().expires_at = utcnow() - timedelta(seconds=1)
            db.session.commit()
    else:
        world.log_in("admin").asks("PATCH", f"users/{owner.id}", {"active": False})
    until = time.monotonic() + 5
    while robot(world, made["secret"], "GET", "sites").status_code == 200 and time.monotonic() < until:
        time.sleep(0.1)
    answer = robot(world, made["secret"], "GET", "sites")
    assert (answer.status_code, answer.json["message"]) == (401, "This API key is not valid.")


@pytest.mark.parametrize("secret", ["", "ce_", "ce_aaaaaaaaaaaa_" + "a" * 43, "Bearer x", "ce_é"])
def test_what_is_no_key_is_refused(world: World, secret: str) -> None:
    has_key(world.log_in("owner"), "sites:read")
    assert robot(world, secret, "GET", "sites").status_code == 401


def test_the_right_prefix_with_a_wrong_secret_is_refused(world: World) -> None:
    made = has_key(world.log_in("owner"), "sites:read")
    wrong = made["secret"][:-1] + ("A" if made["secret"][-1] != "A" else "B")
    assert robot(world, wrong, "GET", "sites").status_code == 401


def test_two_keys_of_a_user_have_two_names(world: World) -> None:
    owner = world.log_in("owner")
    has_key(owner, "sites:read")
    answer = owner.asks("POST", "auth/keys", {"name": "robot", "scopes": ["sites:read"]})
    assert (answer.status_code, list(answer.json["data"])) == (400, ["name"])
    has_key(world.log_in("mate"), "sites:read")


def test_nobody_sees_or_takes_back_the_key_of_another(world: World) -> None:
    made = has_key(world.log_in("owner"), "sites:read")
    for name in ("outsider", "admin"):
        other = world.log_in(name)
        assert other.gets("auth/keys").json["data"]["keys"] == []
        assert other.asks("DELETE", f"auth/keys/{made['key']['id']}").status_code == 404
    assert robot(world, made["secret"], "GET", "sites").status_code == 200


@pytest.mark.parametrize("scopes", [[], ["everything"], ["sites:read"] * 100, "sites:read"])
def test_it_refuses_scopes_that_are_none(world: World, scopes: Any) -> None:
    answer = world.log_in("owner").asks("POST", "auth/keys", {"name": "robot", "scopes": scopes})
    assert (answer.status_code, list(answer.json["data"])) == (400, ["scopes"])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "users/{owner}", {"email": "thief@example.com"}),
        ("PATCH", "users/{admin}", {"email": "thief@example.com"}),
        ("PATCH", "users/{owner}", {"role": "admin"}),
        ("POST", "users", {"username": "thief", "email": "thief@example.com", "role": "admin"}),
    ],
)
def test_not_even_an_admins_key_changes_by_what_an_account_is_entered(
    world: World, method: str, path: str, body: Any
) -> None:
    secret = has_key(world.log_in("admin"), "users:read", "users:write")["secret"]
    answer = robot(world, secret, method, path.format(**world.ids), json=body)
    assert (answer.status_code, answer.json["message"].startswith("No API key may")) == (403, True)
    users = robot(world, secret, "GET", "users?per_page=100").json["data"]["users"]
    assert "thief@example.com" not in {user["email"] for user in users}
    assert [user["role"] for user in users if user["role"] == "admin"] == ["admin"]


def test_the_answer_that_is_given_again_holds_no_secret(world: World) -> None:
    owner = world.log_in("owner")
    body = {"name": "robot", "scopes": ["sites:read"]}
    headers = {**owner.headers, "Idempotency-Key": "once"}
    first, again = (owner.client.post("/api/v1/auth/keys", json=body, headers=headers) for _ in range(2))
    assert first.headers["Cache-Control"] == "no-store"
    assert again.json == {**first.json, "data": {**first.json["data"], "secret": None}}
    with world.app.app_context():
        (record,) = db.session.scalars(select(IdempotencyRecord))
    assert first.json["data"]["secret"].split("_", 2)[2] not in record.body
