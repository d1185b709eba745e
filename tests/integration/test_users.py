"""Logging in and users, through the API, on both engines."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.integration.world import PASSWORD, World

NEW = {"username": "michael", "email": "Michael@Example.org", "password": "greaterthaneight"}


def test_ping_answers_pong(world: World) -> None:
    answer = world.stranger().gets("/ping")
    assert (answer.status_code, answer.json) == (200, {"status": "success", "message": "pong!"})


def test_a_user_logs_in_whatever_the_case_of_the_address(world: World) -> None:
    answer = world.stranger().asks("POST", "auth/login", {"email": " OWNER@Example.COM ", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json["status"] == "success"
    assert answer.json["data"]["token_type"] == "Bearer"
    assert answer.json["data"]["expires_in"] == 900


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("owner@example.com", "a wrong password"),
        ("nobody@example.com", PASSWORD),
        ("leaver@example.com", PASSWORD),
    ],
    ids=["wrong password", "unknown address", "inactive account"],
)
def test_a_refused_login_does_not_tell_why(world: World, email: str, password: str) -> None:
    answer = world.stranger().asks("POST", "auth/login", {"email": email, "password": password})
    assert answer.status_code == 401
    assert answer.json == {"status": "fail", "message": "E-mail or password is wrong.", "data": None}


def test_a_user_without_password_cannot_log_in(world: World) -> None:
    world.log_in("admin").asks("POST", "users", {"username": "robot", "email": "robot@example.com"})
    answer = world.stranger().asks("POST", "auth/login", {"email": "robot@example.com", "password": "None"})
    assert answer.status_code == 401


def test_an_admin_adds_a_user_who_can_log_in(world: World) -> None:
    answer = world.log_in("admin").asks("POST", "users", NEW)
    assert answer.status_code == 201
    assert answer.json["message"] == "Michael@Example.org was added!"
    user = answer.json["data"]["user"]
    assert (user["username"], user["role"], user["active"], user["phone"]) == ("michael", "user", True, None)
    assert user["created_at"].endswith("+00:00")
    assert "password" not in answer.text
    login = world.stranger().asks("POST", "auth/login", {"email": NEW["email"], "password": NEW["password"]})
    assert login.status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ([], "_schema"),
        ({"username": "michael"}, "email"),
        ({"email": "m@example.com"}, "username"),
        ({**NEW, "email": "no address"}, "email"),
        ({**NEW, "email": 5}, "email"),
        ({**NEW, "username": "two\nlines"}, "username"),
        ({**NEW, "username": "   "}, "username"),
        ({**NEW, "username": "\ud800"}, "username"),
        ({**NEW, "password": "short"}, "password"),
        ({**NEW, "password": "\ud800" * 9}, "password"),
        ({**NEW, "phone": "12"}, "phone"),
        ({**NEW, "role": "emperor"}, "role"),
        ({**NEW, "active": "perhaps"}, "active"),
        ({**NEW, "shoe_size": 43}, "shoe_size"),
    ],
)
def test_it_refuses_an_invalid_user_and_names_the_field(world: World, body: Any, field: str) -> None:
    answer = world.log_in("admin").asks("POST", "users", body)
    assert answer.status_code == 400
    assert (answer.json["status"], answer.json["message"]) == ("fail", "Invalid payload.")
    assert field in answer.json["data"]


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"null", b'"text"'])
def test_it_refuses_a_body_that_is_no_json_object(world: World, raw: bytes) -> None:
    answer = world.log_in("admin").asks("POST", "users", data=raw, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json["message"] == "Invalid payload."


def test_it_refuses_a_second_user_with_the_same_address_in_another_case(world: World) -> None:
    admin = world.log_in("admin")
    assert admin.asks("POST", "users", NEW).status_code == 201
    answer = admin.asks("POST", "users", {**NEW, "email": "MICHAEL@example.ORG"})
    assert answer.status_code == 400
    assert answer.json["message"] == "Sorry. That email already exists."


def test_two_addresses_that_differ_by_an_accent_are_two(world: World) -> None:
    admin = world.log_in("admin")
    for email in ("jose@example.org", "josé@example.org"):
        assert admin.asks("POST", "users", {**NEW, "email": email}).status_code == 201


def test_it_refuses_a_second_user_with_the_same_phone(world: World) -> None:
    admin = world.log_in("admin")
    phone = {"phone": "13800138000"}
    # The address holds the word by which the engines name the other column.
    assert admin.asks("POST", "users", {**NEW, **phone}).status_code == 201
    answer = admin.asks("POST", "users", {**NEW, **phone, "email": "email_key@example.org"})
    assert answer.status_code == 400
    assert list(answer.json["data"]) == ["phone"]


def test_of_sixteen_racing_creations_of_one_address_one_wins(world: World) -> None:
    admin = world.log_in("admin")
    start = threading.Barrier(16)
    answers: list[tuple[int, str]] = []

    def create(number: int) -> None:
        mine = type(admin)(world.app.test_client(), "admin", admin.id)
        mine.headers = admin.headers
        start.wait()
        email = NEW["email"].upper() if number % 2 else NEW["email"].lower()
        answer = mine.asks("POST", "users", {**NEW, "email": email})
        answers.append((answer.status_code, answer.json["message"]))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer == (400, "Sorry. That email already exists.")]
    assert len(refused) == 15, answers
    assert sum(status == 201 for status, _ in answers) == 1
    assert admin.gets("users?email=michael@example.org").json["data"]["paging"]["total"] == 1


@pytest.mark.parametrize("text", ["abc", "1.5", "1e3", "1_0", "%20", "0x1", "\u0661"])
def test_an_id_that_is_no_integer_is_refused(world: World, text: str) -> None:
    for resource in ("users", "sites"):
        answer = world.log_in("admin").gets(f"{resource}/{text}")
        assert (answer.status_code, answer.json["message"]) == (400, "Param id error")


@pytest.mark.parametrize("number", ["-1", "0", "999999", "9" * 19, "9" * 40])
def test_a_user_that_is_not_there_does_not_exist(world: World, number: str) -> None:
    answer = world.log_in("admin").gets(f"users/{number}")
    assert answer.status_code == 404
    assert answer.json == {"status": "fail", "message": "User does not exist", "data": None}


def test_users_read_themselves_and_nobody_else(world: World) -> None:
    owner = world.log_in("owner")
    answer = owner.gets(f"users/{owner.id}")
    assert (answer.status_code, answer.json["data"]["user"]["email"]) == (200, owner.email)
    assert owner.gets(f"users/{world.ids['mate']}").status_code == 404
    assert world.log_in("admin").gets(f"users/{owner.id}").status_code == 200


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", NEW)])
def test_only_admins_list_and_add_users(world: World, method: str, body: Any) -> None:
    refused = world.log_in("owner").asks(method, "users", body)
    assert (refused.status_code, refused.json["status"]) == (403, "fail")
    unknown = world.stranger().asks(method, "users", body)
    assert unknown.status_code == 401
    assert unknown.headers["WWW-Authenticate"] == "Bearer"


def test_a_list_comes_in_pages_with_links(world: World) -> None:
    admin = world.log_in("admin")
    path, seen = "/api/v1/users?per_page=2&active=true", []
    while path:
        answer = admin.gets(path)
        seen += [user["username"] for user in answer.json["data"]["users"]]
        path = answer.json["data"]["paging"]["next"]
    assert seen == ["owner", "mate", "outsider", "admin"]
    assert answer.json["data"]["paging"]["prev"] == "/api/v1/users?per_page=2&active=true&page=1"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("email=MATE@example.com", ["mate"]),
        ("active=false", ["leaver"]),
        ("active=true&email=leaver@example.com", []),
        ("phone=13800138000", []),
    ],
)
def test_filters_are_exact_and_combine(world: World, query: str, names: list[str]) -> None:
    answer = world.log_in("admin").gets(f"users?{query}")
    assert [user["username"] for user in answer.json["data"]["users"]] == names


@pytest.mark.parametrize("query", ["page=0", "page=x", "per_page=101", "page=99999999999999999999"])
def test_a_page_out_of_range_is_refused(world: World, query: str) -> None:
    assert world.log_in("admin").gets(f"users?{query}").status_code == 400


def test_a_token_ends_with_the_account_for_changes(world: World) -> None:
    owner = world.log_in("owner")
    with world.changing_user("owner") as user:
        user.active = False
    answer = owner.asks("POST", "sites", {"name": "Example", "url": "https://example.com/"})
    assert answer.status_code == 401


def test_an_admin_who_no_longer_is_one_changes_nothing(world: World) -> None:
    admin = world.log_in("admin")
    with world.changing_user("admin") as user:
        user.role = "user"
    assert admin.asks("POST", "users", NEW).status_code == 403


def test_a_password_hash_made_with_older_costs_is_renewed_at_login(world: World) -> None:
    from argon2 import PasswordHasher

    with world.changing_user("owner") as user:
        user.password_hash = PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)
    world.log_in("owner")
    with world.changing_user("owner") as user:
        assert user.password_hash is not None
        assert "m=19456,t=2,p=1" in user.password_hash
    world.log_in("owner")
