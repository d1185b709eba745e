"""The answers that clients rely on word by word, through nginx, on both engines. Typed by hand: it is the contract."""

from __future__ import annotations

import json
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.stack.conftest import LocalStack

USERS = "/api/v1/users"
INVALID = "Invalid payload."


def new_user(**given: Any) -> dict[str, Any]:
    name = uuid.uuid4().hex[:12]
    return {"username": name, "email": f"{name}@example.org", "password": "greaterthaneight", **given}


@pytest.fixture
def admin(each_stack: LocalStack) -> str:
    return each_stack.admin_token()


def test_ping(each_stack: LocalStack) -> None:
    status, answer, _ = each_stack.ask("GET", "/ping")
    assert (status, answer) == (200, {"status": "success", "message": "pong!"})


def test_a_user_is_added_and_read(each_stack: LocalStack, admin: str) -> None:
    body = new_user()
    status, answer, _ = each_stack.ask("POST", USERS, body, admin)
    assert (status, answer["status"], answer["message"]) == (201, "success", f"{body['email']} was added!")
    user = answer["data"]["user"]
    assert (user["username"], user["email"], user["role"], user["active"]) == (
        body["username"], body["email"], "user", True,
    )  # fmt: skip
    status, answer, _ = each_stack.ask("GET", f"{USERS}/{user['id']}", token=admin)
    assert (status, answer["data"]["user"]["email"]) == (200, body["email"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"username": "michael"}, "email"),
        ({"email": "michael@example.org"}, "username"),
        (new_user(email=5), "email"),
        (new_user(shoe_size=43), "shoe_size"),
    ],
)
def test_an_invalid_user(each_stack: LocalStack, admin: str, body: Any, field: str) -> None:
    status, answer, _ = each_stack.ask("POST", USERS, body, admin)
    assert (status, answer["status"], answer["message"]) == (400, "fail", INVALID)
    assert field in answer["data"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null"])
def test_a_body_that_is_no_object(each_stack: LocalStack, admin: str, raw: bytes) -> None:
    request = urllib.request.Request(each_stack.url + USERS, method="POST", data=raw)
    request.add_header("Authorization", f"Bearer {admin}")
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    answer = json.load(refused.value)
    assert (refused.value.code, answer["status"], answer["message"]) == (400, "fail", INVALID)


def test_an_email_that_exists(each_stack: LocalStack, admin: str) -> None:
    body = new_user()
    assert each_stack.ask("POST", USERS, body, admin)[0] == 201
    status, answer, _ = each_stack.ask("POST", USERS, {**body, "email": body["email"].upper()}, admin)
    assert (status, answer["status"], answer["message"]) == (400, "fail", "Sorry. That email already exists.")


def test_of_sixteen_racing_creations_of_one_email_one_is_added(each_stack: LocalStack, admin: str) -> None:
    body = new_user()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: each_stack.ask("POST", USERS, body, admin)[:2], range(16)))
    refused = [answer["message"] for status, answer in answers if status == 400]
    assert sorted(status for status, _ in answers) == [201] + [400] * 15
    assert refused == ["Sorry. That email already exists."] * 15


@pytest.mark.parametrize("number", ["blah", "1.5", "0x1"])
def test_an_id_that_is_no_integer(each_stack: LocalStack, admin: str, number: str) -> None:
    status, answer, _ = each_stack.ask("GET", f"{USERS}/{number}", token=admin)
    assert (status, answer["status"], answer["message"]) == (400, "fail", "Param id error")


@pytest.mark.parametrize("number", ["999999999", "-1", "0"])
def test_a_user_who_does_not_exist(each_stack: LocalStack, admin: str, number: str) -> None:
    status, answer, _ = each_stack.ask("GET", f"{USERS}/{number}", token=admin)
    assert (status, answer["status"], answer["message"]) == (404, "fail", "User does not exist")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stranger(each_stack: LocalStack, method: str) -> None:
    status, answer, headers = each_stack.ask(method, USERS, {} if method == "POST" else None)
    assert (status, answer["status"], answer["data"]) == (401, "fail", None)
    assert headers["WWW-Authenticate"] == "Bearer"


def test_somebody_who_may_not(each_stack: LocalStack, admin: str) -> None:
    body = new_user()
    each_stack.ask("POST", USERS, body, admin)
    login = {"email": body["email"], "password": body["password"]}
    token = each_stack.ask("POST", "/api/v1/auth/login", login)[1]["data"]["access_token"]
    status, answer, _ = each_stack.ask("GET", USERS, token=token)
    assert (status, answer) == (403, {"status": "fail", "message": "Only admins may do this.", "data": None})


def test_a_list_has_its_place_and_its_links(each_stack: LocalStack, admin: str) -> None:
    for _ in range(2):
        each_stack.ask("POST", USERS, new_user(), admin)
    answer = each_stack.ask("GET", f"{USERS}?page=2&per_page=1", token=admin)[1]
    assert len(answer["data"]["users"]) == 1
    paging = answer["data"]["paging"]
    assert (paging["page"], paging["per_page"]) == (2, 1)
    assert (paging["prev"], paging["next"]) == (f"{USERS}?page=1&per_page=1", f"{USERS}?page=3&per_page=1")


@pytest.mark.parametrize("alias", ["/users", "/api/cloudeye/v1/users"])
def test_aliases(each_stack: LocalStack, admin: str, alias: str) -> None:
    status, answer, _ = each_stack.ask("GET", f"{alias}/1", token=admin)
    assert (status, answer["data"]["user"]["email"]) == (200, each_stack.values["app"]["admin_email"])
    assert each_stack.ask("GET", f"{alias}/blah", token=admin)[1]["message"] == "Param id error"
    body = new_user()
    assert each_stack.ask("POST", alias, body, admin)[1]["message"] == f"{body['email']} was added!"


def test_compression_keeps_tags_and_conditions(each_stack: LocalStack, admin: str) -> None:
    path = f"{USERS}/1"
    plain = each_stack.ask("GET", path, token=admin)[2]["ETag"]
    assert each_stack.ask("GET", path, token=admin, **{"If-None-Match": plain})[0] == 304
    # nginx makes the tag of a compressed answer a weak one; with it, too, a change can be made conditional.
    weak = f"W/{plain}"
    assert each_stack.ask("GET", path, token=admin, **{"If-None-Match": weak})[0] == 304
    change = {"username": uuid.uuid4().hex}
    assert each_stack.ask("PATCH", path, change, admin, **{"If-Match": weak})[0] == 200
    assert each_stack.ask("PATCH", path, change, admin, **{"If-Match": weak})[0] == 412


def test_long_answers_are_compressed(each_stack: LocalStack, admin: str) -> None:
    _, _, headers = each_stack.ask("GET", "/api/openapi.json", **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
