"""Sessions: tokens that live shortly, are exchanged, stolen, and revoked on every instance."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from cloudeye import tokens
from cloudeye.extensions import db
from cloudeye.models import Revocation, UserSession, utcnow
from tests.integration.world import PASSWORD, Person, World, end

SOON = 5.0  # seconds within which every instance must know


@pytest.fixture
def other_instance(world: World) -> Iterator[World]:
    """A second instance on the same database, which learns of nothing but by asking it."""
    other = world.second_instance()
    yield other
    end(other.app)


def log_in(person: Person) -> dict[str, Any]:
    answer = person.client.post("/api/v1/auth/login", json={"email": person.email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json["data"]
    return data


def bearer(pair: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {pair['access_token']}"}


def status_within(seconds: float, ask: Callable[[], int], wanted: int) -> int:
    """Ask until the status is what is wanted, for some seconds; return the last one."""
    end = time.monotonic() + seconds
    status = ask()
    while status != wanted and time.monotonic() < end:
        time.sleep(0.1)
        status = ask()
    return status


def test_a_refresh_token_is_exchanged_for_the_next_pair(world: World) -> None:
    owner = world.person("owner")
    first = log_in(owner)
    answer = owner.asks("POST", "auth/refresh", {"refresh_token": first["refresh_token"]})
    assert answer.status_code == 200
    second = answer.json["data"]
    assert (second["token_type"], second["expires_in"]) == ("Bearer", 900)
    assert second["refresh_token"] != first["refresh_token"]
    assert owner.client.get("/api/v1/auth/me", headers=bearer(second)).json["data"]["user"]["email"] == owner.email


def test_a_refresh_token_that_is_used_twice_ends_the_session_for_both(world: World) -> None:
    owner = world.person("owner")
    first = log_in(owner)
    second = owner.asks("POST", "auth/refresh", {"refresh_token": first["refresh_token"]}).json["data"]
    again = owner.asks("POST", "auth/refresh", {"refresh_token": first["refresh_token"]})
    assert (again.status_code, again.json["message"]) == (401, "Please log in again.")
    assert owner.asks("POST", "auth/refresh", {"refresh_token": second["refresh_token"]}).status_code == 401
    asks = lambda: owner.client.get("/api/v1/auth/me", headers=bearer(second)).status_code  # noqa: E731
    assert status_within(SOON, asks, 401) == 401


def test_of_refreshes_that_race_one_wins(world: World) -> None:
    pair = log_in(world.person("owner"))
    start = threading.Barrier(6)
    found: list[int] = []

    def refresh() -> None:
        client = world.app.test_client()
        start.wait()
        found.append(client.post("/api/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]}).status_code)

    threads = [threading.Thread(target=refresh) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200, 401, 401, 401, 401, 401]


@pytest.mark.parametrize("what", ["access token", "garbage", "other user's signature"])
def test_it_refuses_what_is_no_refresh_token(world: World, what: str) -> None:
    owner = world.person("owner")
    pair = log_in(owner)
    token = {
        "access token": pair["access_token"],
        "garbage": "garbage",
        "other user's signature": pair["refresh_token"][:-4] + "AAAA",
    }[what]
    assert owner.asks("POST", "auth/refresh", {"refresh_token": token}).status_code == 401
    assert owner.asks("POST", "auth/refresh", {"refresh_token": pair["refresh_token"]}).status_code == 200


def test_a_refresh_token_opens_nothing_by_itself(world: World) -> None:
    owner = world.person("owner")
    pair = log_in(owner)
    headers = {"Authorization": f"Bearer {pair['refresh_token']}"}
    assert owner.client.get("/api/v1/auth/me", headers=headers).status_code == 401


def test_a_session_that_nobody_used_for_long_is_over(world: World) -> None:
    owner = world.person("owner")
    pair = log_in(owner)
    with world.app.app_context():
        db.session.scalars(select(UserSession)).one().expires_at = utcnow() - timedelta(seconds=1)
        db.session.commit()
    assert owner.asks("POST", "auth/refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401


def test_an_authenticated_read_asks_for_no_user_row(world: World) -> None:
    owner = world.log_in("owner")
    owner.gets("sites")
    with world.statements() as statements:
        assert owner.gets("sites").status_code == 200
    assert statements
    assert not [text for text in statements if "FROM users" in text or "user_sessions" in text]


def _log_out(world: World, person: Person) -> None:
    assert person.asks("POST", "auth/logout").status_code == 200


def _deactivate(world: World, person: Person) -> None:
    assert world.log_in("admin").asks("PATCH", f"users/{person.id}", {"active": False}).status_code == 200


def _remove(world: World, person: Person) -> None:
    assert world.log_in("admin").asks("DELETE", f"users/{person.id}").status_code == 200


def _end_elsewhere(world: World, person: Person) -> None:
    other = world.log_in("owner")
    found = other.gets("auth/sessions").json["data"]["sessions"]
    there = next(one["id"] for one in found if not one["current"])
    assert other.asks("DELETE", f"auth/sessions/{there}").status_code == 200


def _end_all_others(world: World, person: Person) -> None:
    answer = world.log_in("owner").asks("DELETE", "auth/sessions")
    assert answer.json["message"] == "1 sessions were ended."


def _change_password(world: World, person: Person) -> None:
    body = {"old_password": PASSWORD, "new_password": "another right password"}
    assert world.log_in("owner").asks("POST", "auth/password", body).status_code == 200


@pytest.mark.parametrize("act", [_log_out, _deactivate, _remove, _end_elsewhere, _end_all_others, _change_password])
def test_what_ends_a_session_ends_it_on_every_instance(
    world: World, other_instance: World, act: Callable[[World, Person], None]
) -> None:
    owner = world.log_in("owner")
    there = other_instance.app.test_client()
    asks = lambda: there.get("/api/v1/sites", headers=owner.headers).status_code  # noqa: E731
    assert asks() == 200
    act(world, owner)
    assert status_within(SOON, asks, 401) == 401


def test_a_new_role_takes_effect_on_every_instance_without_logging_out(world: World, other_instance: World) -> None:
    owner = world.person("owner")
    pair = log_in(owner)
    there = other_instance.app.test_client()
    assert there.get("/api/v1/users", headers=bearer(pair)).status_code == 403
    world.log_in("admin").asks("PATCH", f"users/{owner.id}", {"role": "admin"})
    asks = lambda: there.get("/api/v1/users", headers=bearer(pair)).status_code  # noqa: E731
    assert status_within(SOON, asks, 401) == 401
    fresh = there.post("/api/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]}).json["data"]
    assert there.get("/api/v1/users", headers=bearer(fresh)).status_code == 200


def test_a_changed_password_keeps_the_session_that_changed_it(world: World) -> None:
    owner = world.log_in("owner")
    body = {"old_password": PASSWORD, "new_password": "another right password"}
    assert owner.asks("POST", "auth/password", body).status_code == 200
    assert owner.gets("auth/me").status_code == 200
    assert len(owner.gets("auth/sessions").json["data"]["sessions"]) == 1


def test_a_wrong_old_password_changes_nothing(world: World) -> None:
    owner = world.log_in("owner")
    answer = owner.asks("POST", "auth/password", {"old_password": "wrong one", "new_password": "another password"})
    assert (answer.status_code, list(answer.json["data"])) == (400, ["old_password"])
    world.log_in("owner")


def test_nobody_ends_or_sees_the_session_of_another(world: World) -> None:
    world.log_in("owner")
    outsider = world.log_in("outsider")
    with world.app.app_context():
        theirs = db.session.scalars(select(UserSession.id).where(UserSession.user_id == world.ids["owner"])).one()
    assert outsider.asks("DELETE", f"auth/sessions/{theirs}").status_code == 404
    assert [one["current"] for one in outsider.gets("auth/sessions").json["data"]["sessions"]] == [True]
    with world.app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Revocation)) == 0


def test_revocations_are_read_at_most_once_in_two_seconds(world: World) -> None:
    owner = world.log_in("owner")
    owner.gets("sites")
    world.app.extensions["cloudeye-tokens"].revocations.read_at = float("-inf")
    begun = time.monotonic()
    with world.statements() as statements:
        for _ in range(10):
            owner.gets("sites")
    asked = sum("FROM revocations" in text for text in statements)
    assert 1 <= asked <= 1 + (time.monotonic() - begun) // tokens.REVOCATIONS_SECONDS


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_of_a_token_may_be_written_in_any_case(world: World, scheme: str) -> None:
    token = log_in(world.person("owner"))["access_token"]
    answer = world.app.test_client().get("/api/v1/auth/me", headers={"Authorization": f"{scheme} {token}"})
    assert answer.status_code == 200


def test_answers_with_tokens_are_kept_by_no_cache(world: World) -> None:
    owner = world.person("owner")
    login = owner.client.post("/api/v1/auth/login", json={"email": owner.email, "password": PASSWORD})
    refreshed = owner.asks("POST", "auth/refresh", {"refresh_token": login.json["data"]["refresh_token"]})
    assert [answer.headers["Cache-Control"] for answer in (login, refreshed)] == ["no-store"] * 2
