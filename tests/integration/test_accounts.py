"""One e-mail's life: registered, verified, logged in, locked out, reset, changed, revoked everywhere."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from cloudeye.extensions import db
from cloudeye.models import Message, OneTimeToken, User, utcnow
from tests.integration.world import PASSWORD, Person, World, end

EMAIL = "Newcomer@Example.org"
WORD, NEXT_WORD = "the newcomer's word", "the newcomer's next word"
REGISTRATION = {"username": "newcomer", "email": EMAIL, "password": WORD}


@pytest.fixture
def open_world(world: World) -> Iterator[World]:
    """The same database behind an instance where anyone may register."""
    other = world.second_instance(APP_OPEN_REGISTRATION="1")
    yield other
    end(other.app)


def mails(world: World, recipient: str | None = None) -> list[Message]:
    """What waits to be sent, oldest first."""
    with world.app.app_context():
        query = select(Message).where(Message.next_attempt_at.is_not(None)).order_by(Message.id)
        if recipient is not None:
            query = query.where(Message.recipient == recipient)
        return list(db.session.scalars(query))


def token_of(mail: Message) -> str:
    found = re.search(r"token=([\w-]+)", mail.body or "")
    assert found is not None, mail.body
    return found[1]


def post(world: World, path: str, body: Any, headers: Any = None) -> Any:
    return world.app.test_client().post(f"/api/v1/auth/{path}", json=body, headers=headers or {})


def log_in(world: World, password: str, email: str = EMAIL) -> Any:
    return post(world, "login", {"email": email, "password": password})


def register(world: World) -> str:
    """Register and return the token of the mail."""
    assert post(world, "register", REGISTRATION).status_code == 202
    return token_of(mails(world, EMAIL)[-1])


def test_the_life_of_an_address(open_world: World) -> None:
    world = open_world
    token = register(world)
    assert log_in(world, WORD).status_code == 401, "nobody has an account before the address is confirmed"

    made = post(world, "verify", {"token": token, "password": WORD})
    assert (made.status_code, made.json["message"]) == (201, f"{EMAIL} was added!")
    assert made.json["data"]["user"]["email_verified_at"] is not None

    first, second = (log_in(world, WORD).json["data"] for _ in range(2))
    bearer = {"Authorization": f"Bearer {first['access_token']}"}
    me = world.app.test_client().get("/api/v1/auth/me", headers=bearer).json["data"]["user"]
    assert (me["email"], me["username"], me["role"], me["active"]) == (EMAIL, "newcomer", "user", True)

    wrong = [log_in(world, "a wrong word").status_code for _ in range(9)]
    assert wrong == [401] * 9, "with the one above, ten"
    locked = log_in(world, WORD)
    assert locked.status_code == 429
    assert int(locked.headers["Retry-After"]) > 0

    assert post(world, "reset", {"email": EMAIL.lower()}).status_code == 202
    token = token_of(mails(world, EMAIL)[-1])
    assert post(world, "reset/confirm", {"token": token, "password": NEXT_WORD}).status_code == 200
    assert post(world, "refresh", {"refresh_token": first["refresh_token"]}).status_code == 401
    assert post(world, "refresh", {"refresh_token": second["refresh_token"]}).status_code == 401
    assert mails(world, EMAIL)[-1].subject.startswith("Your password")

    assert log_in(world, WORD).status_code == 401, "who owns the address need not wait for the end of the lock"
    tokens = log_in(world, NEXT_WORD).json["data"]
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    change = {"old_password": NEXT_WORD, "new_password": WORD}
    assert post(world, "password", change, bearer).status_code == 200
    assert log_in(world, NEXT_WORD).status_code == 401

    move = {"email": "moved@example.org", "password": WORD}
    assert post(world, "email", move, bearer).status_code == 202
    token = token_of(mails(world, "moved@example.org")[-1])
    assert post(world, "email/confirm", {"token": token}).json["data"]["user"]["email"] == "moved@example.org"
    assert "moved@example.org" in (mails(world, EMAIL)[-1].body or "")
    assert log_in(world, WORD).status_code == 401
    assert log_in(world, WORD, "moved@example.org").status_code == 200


def test_nobody_registers_where_admins_make_the_accounts(world: World) -> None:
    answer = post(world, "register", REGISTRATION)
    assert (answer.status_code, answer.json["message"]) == (403, "Accounts are made by admins here.")
    assert mails(world) == []


@pytest.mark.parametrize(
    ("path", "known", "unknown"),
    [
        (
            "register",
            {"username": "x", "email": "owner@example.com", "password": WORD},
            {"username": "x", "email": "nobody@example.com", "password": WORD},
        ),
        ("reset", {"email": "owner@example.com"}, {"email": "nobody@example.com"}),
        ("reset", {"email": "leaver@example.com"}, {"email": "nobody@example.com"}),
        (
            "login",
            {"email": "owner@example.com", "password": "a wrong one"},
            {"email": "nobody@example.com", "password": "a wrong one"},
        ),
    ],
)
def test_neither_answer_nor_work_tells_who_has_an_account(
    open_world: World, path: str, known: Any, unknown: Any
) -> None:
    def watch(body: Any) -> tuple[int, bytes, list[str]]:
        """The answer, and the statements that it took."""
        with open_world.statements() as statements:
            answer = post(open_world, path, body)
        return answer.status_code, answer.data, statements

    watch(unknown)  # whatever is done at the first time only
    assert watch(known) == watch(unknown)


def test_somebody_who_has_an_account_is_told_of_a_registration(open_world: World) -> None:
    post(open_world, "register", {**REGISTRATION, "email": "owner@example.com"})
    (mail,) = mails(open_world)
    assert (mail.recipient, "already" in mail.subject, "token=" in mail.body) == ("owner@example.com", True, False)


@pytest.mark.parametrize("email", ["nobody@example.com", "leaver@example.com"])
def test_nobody_is_sent_a_reset_for_an_account_that_is_none(world: World, email: str) -> None:
    assert post(world, "reset", {"email": email}).status_code == 202
    assert mails(world) == []


def test_an_address_is_confirmed_only_with_the_password_that_was_chosen(open_world: World) -> None:
    token = register(open_world)
    for password in ("a wrong word", NEXT_WORD):
        assert post(open_world, "verify", {"token": token, "password": password}).status_code == 400
    assert post(open_world, "verify", {"token": token, "password": WORD}).status_code == 201


def test_two_registrations_of_an_address_make_one_account(open_world: World) -> None:
    first, second = register(open_world), register(open_world)
    assert post(open_world, "verify", {"token": second, "password": WORD}).status_code == 201
    answer = post(open_world, "verify", {"token": first, "password": WORD})
    assert (answer.status_code, answer.json["message"]) == (400, "Sorry. That email already exists.")


@pytest.mark.parametrize(
    ("path", "extra"),
    [("verify", {"password": WORD}), ("reset/confirm", {"password": NEXT_WORD}), ("email/confirm", {})],
)
@pytest.mark.parametrize("fault", ["used", "expired", "unknown", "for another purpose"])
def test_a_token_works_once_in_its_time_for_its_purpose(
    open_world: World, path: str, extra: dict[str, str], fault: str
) -> None:
    world = open_world
    token = register(world)
    if path != "verify":
        assert post(world, "verify", {"token": token, "password": WORD}).status_code == 201
        bearer = {"Authorization": f"Bearer {log_in(world, WORD).json['data']['access_token']}"}
        if path == "reset/confirm":
            post(world, "reset", {"email": EMAIL})
            token = token_of(mails(world, EMAIL)[-1])
        else:
            post(world, "email", {"email": "moved@example.org", "password": WORD}, bearer)
            token = token_of(mails(world, "moved@example.org")[-1])
    if fault == "used":
        assert post(world, path, {"token": token, **extra}).status_code in (200, 201)
    elif fault == "expired":
        with world.app.app_context():
            db.session.execute(update(OneTimeToken).values(expires_at=utcnow() - timedelta(seconds=1)))
            db.session.commit()
    elif fault == "unknown":
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    else:
        with world.app.app_context():
            db.session.execute(update(OneTimeToken).values(purpose="nonce"))
            db.session.commit()
    assert post(world, path, {"token": token, **extra}).status_code == 400


def test_a_reset_makes_other_resets_worthless(world: World) -> None:
    for _ in range(2):
        post(world, "reset", {"email": "owner@example.com"})
    first, second = (token_of(mail) for mail in mails(world, "owner@example.com"))
    assert post(world, "reset/confirm", {"token": second, "password": NEXT_WORD}).status_code == 200
    assert post(world, "reset/confirm", {"token": first, "password": WORD}).status_code == 400


def test_deactivation_makes_links_worthless(world: World) -> None:
    post(world, "reset", {"email": "owner@example.com"})
    admin = world.log_in("admin")
    for active in (False, True):
        admin.asks("PATCH", f"users/{world.ids['owner']}", {"active": active})
    token = token_of(mails(world, "owner@example.com")[0])
    assert post(world, "reset/confirm", {"token": token, "password": NEXT_WORD}).status_code == 400
    assert log_in(world, PASSWORD, "owner@example.com").status_code == 200


def test_somebody_an_admin_added_chooses_a_password_by_the_welcome_mail(world: World) -> None:
    body = {"username": "newcomer", "email": EMAIL, "language": "zh_Hans", "time_zone": "Asia/Shanghai"}
    assert world.log_in("admin").asks("POST", "users", body).status_code == 201
    (mail,) = mails(world)
    assert mail.language == "zh_Hans"
    assert "Asia/Shanghai" in mail.body
    answer = post(world, "reset/confirm", {"token": token_of(mail), "password": WORD})
    assert answer.status_code == 200
    assert log_in(world, WORD).status_code == 200


def test_an_address_that_is_taken_meanwhile_is_not_taken_twice(world: World) -> None:
    owner = world.log_in("owner")
    owner.asks("POST", "auth/email", {"email": "moved@example.org", "password": PASSWORD})
    token = token_of(mails(world, "moved@example.org")[-1])
    world.log_in("admin").asks("POST", "users", {"username": "faster", "email": "Moved@example.org"})
    answer = post(world, "email/confirm", {"token": token})
    assert (answer.status_code, answer.json["message"]) == (400, "Sorry. That email already exists.")


@pytest.mark.parametrize("password", ["short", "x" * 257])
def test_a_password_is_long_enough_and_no_novel(open_world: World, password: str) -> None:
    answer = post(open_world, "register", {**REGISTRATION, "password": password})
    assert (answer.status_code, list(answer.json["data"])) == (400, ["password"])


@pytest.mark.parametrize("password", ["aaaaaaaa", "12345678", "pässwörter", "密码密码密码密码", "with blanks in it"])
def test_no_class_of_characters_is_asked_of_a_password(open_world: World, password: str) -> None:
    assert post(open_world, "register", {**REGISTRATION, "password": password}).status_code == 202


def test_the_last_admin_can_neither_step_down_nor_leave(world: World) -> None:
    admin = world.log_in("admin")
    for method, body in (("PATCH", {"role": "user"}), ("PATCH", {"active": False}), ("DELETE", None)):
        answer = admin.asks(method, f"users/{admin.id}", body)
        assert (answer.status_code, answer.json["message"]) == (409, "This is the last active admin.")
    world.log_in("admin").asks("PATCH", f"users/{world.ids['owner']}", {"role": "admin"})
    assert world.log_in("admin").asks("DELETE", f"users/{admin.id}").status_code == 200


@pytest.mark.parametrize(
    ("method", "body"), [("PATCH", {"role": "user"}), ("PATCH", {"active": False}), ("DELETE", None)]
)
def test_two_admins_who_remove_each_other_at_once_leave_one(world: World, method: str, body: Any) -> None:
    world.log_in("admin").asks("PATCH", f"users/{world.ids['mate']}", {"role": "admin"})
    people = [world.log_in(name) for name in ("admin", "mate")]
    start = threading.Barrier(2)
    found: list[int] = []

    def remove(one: Person, other: Person) -> None:
        start.wait()
        found.append(one.asks(method, f"users/{other.id}", body).status_code)

    threads = [threading.Thread(target=remove, args=pair) for pair in (people, people[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 200 in found
    assert set(found) <= {200, 401, 403, 409}
    with world.app.app_context():
        assert db.session.scalar(select(func.count()).where(User.role == "admin", User.active.is_(True))) == 1


def test_the_number_of_a_user_who_is_gone_is_never_given_again(world: World) -> None:
    admin = world.log_in("admin")
    last = admin.asks("POST", "users", {"username": "r1", "email": "r1@example.org"}).json["data"]["user"]["id"]
    admin.asks("DELETE", f"users/{last}")
    again = admin.asks("POST", "users", {"username": "r2", "email": "r2@example.org"}).json["data"]["user"]["id"]
    assert again > last


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("kate@example.com", "kate@\uff45xample.com"),
        ("kate@b\u00fccher.example", "kate@xn--bcher-kva.example"),
        ("kate@example.com", "KATE@EXAMPLE.COM"),
    ],
)
def test_addresses_that_are_one_mailbox_are_one_account(world: World, one: str, other: str) -> None:
    admin = world.log_in("admin")
    assert admin.asks("POST", "users", {"username": "kate", "email": one, "password": WORD}).status_code == 201
    answer = admin.asks("POST", "users", {"username": "kate", "email": other})
    assert (answer.status_code, answer.json["message"]) == (400, "Sorry. That email already exists.")
    assert log_in(world, WORD, other).status_code == 200


def test_the_owner_is_told_at_the_address_of_the_account(open_world: World) -> None:
    post(open_world, "register", {**REGISTRATION, "email": "OWNER@example.com"})
    assert [mail.recipient for mail in mails(open_world)] == ["owner@example.com"]


def test_somebody_whose_address_an_admin_changed_is_told_at_the_old_one(world: World) -> None:
    world.log_in("admin").asks("PATCH", f"users/{world.ids['owner']}", {"email": "moved@example.org"})
    (mail,) = mails(world)
    assert (mail.recipient, "moved@example.org" in mail.body) == ("owner@example.com", True)


def test_somebody_who_never_came_is_welcomed_at_the_address_that_was_mended(world: World) -> None:
    admin = world.log_in("admin")
    user = admin.asks("POST", "users", {"username": "newcomer", "email": "typo@example.org"}).json["data"]["user"]
    admin.asks("PATCH", f"users/{user['id']}", {"email": EMAIL})
    first, second = mails(world)
    assert (first.recipient, second.recipient) == ("typo@example.org", EMAIL)
    body = {"token": token_of(first), "password": WORD}
    assert post(world, "reset/confirm", body).status_code == 400
    assert post(world, "reset/confirm", {**body, "token": token_of(second)}).status_code == 200


def test_a_user_who_is_removed_takes_everything_along(world: World) -> None:
    owner = world.log_in("owner")
    owner.has_site()
    owner.asks("POST", "auth/keys", {"name": "robot", "scopes": ["sites:read"]})
    admin = world.log_in("admin")
    assert admin.asks("DELETE", f"users/{owner.id}").json["message"] == "owner@example.com was removed!"
    assert admin.gets("sites").json["data"]["paging"]["total"] == 0
    assert admin.gets(f"users/{owner.id}").json["message"] == "User does not exist"
    with world.app.app_context():
        assert db.session.scalar(select(func.count()).where(User.id == owner.id)) == 0


@pytest.mark.parametrize(
    "change", [{"role": "admin"}, {"active": False}, {"email": "other@example.com"}, {"username": "x", "role": "user"}]
)
def test_users_do_not_promote_themselves(world: World, change: dict[str, Any]) -> None:
    owner = world.log_in("owner")
    assert owner.asks("PATCH", f"users/{owner.id}", change).status_code == 403
    user = owner.gets("auth/me").json["data"]["user"]
    assert (user["username"], user["role"], user["email"]) == ("owner", "user", "owner@example.com")


def test_users_change_themselves(world: World) -> None:
    owner = world.log_in("owner")
    change = {"username": "The Owner", "phone": "+491701234567", "language": "zh_Hans", "time_zone": "Europe/Berlin"}
    user = owner.asks("PATCH", f"users/{owner.id}", change).json["data"]["user"]
    assert {name: user[name] for name in change} == change
    assert user["updated_at"] > user["created_at"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"language": "tlh"}, "language"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"phone": "12"}, "phone"),
        ({"id": 5}, "id"),
        ({"password": WORD}, "password"),
        ({}, "_schema"),
    ],
)
def test_it_refuses_a_change_that_is_none_and_names_the_field(world: World, change: Any, field: str) -> None:
    owner = world.log_in("owner")
    answer = owner.asks("PATCH", f"users/{owner.id}", change)
    assert (answer.status_code, list(answer.json["data"])) == (400, [field])


def test_a_user_neither_reads_nor_changes_another(world: World) -> None:
    outsider = world.log_in("outsider")
    for method, body in (("GET", None), ("PATCH", {"username": "x"})):
        answer = outsider.asks(method, f"users/{world.ids['owner']}", body)
        assert (answer.status_code, answer.json["message"]) == (404, "User does not exist")
