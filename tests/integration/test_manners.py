"""What clients of an HTTP API count on: tags, keys of idempotency, histories, aliases, origins, errors."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from cloudeye.extensions import db
from cloudeye.models import CheckResult, IdempotencyRecord, Message, Site, User, utcnow
from tests.integration.world import Person, World

NEW_USER = {"username": "michael", "email": "michael@example.org", "password": "greaterthaneight"}
NEW_SITE = {"name": "Example", "url": "https://example.com/"}


def ask(person: Person, method: str, path: str, body: Any = None, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return person.client.open(f"/api/v1/{path}", method=method, json=body, headers={**person.headers, **named})


# -- tags ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["sites", "sites/{site}", "sites/{site}/usability", "sites/{site}/checks", "auth/me"])
def test_what_has_not_changed_is_not_sent_again(world: World, path: str) -> None:
    owner = world.log_in("owner")
    path = path.format(site=owner.has_site())
    first = ask(owner, "GET", path)
    again = ask(owner, "GET", path, If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    weak = ask(owner, "GET", path, If_None_Match=f"W/{first.headers['ETag']}")
    assert weak.status_code == 304


def test_a_probe_changes_the_tag_but_is_no_lost_update(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    before = ask(owner, "GET", f"sites/{site}").headers["ETag"]
    with world.changing_site(site) as row:
        db.session.execute(Site.__table__.update().where(Site.id == row.id).values(state="up"))
    after = ask(owner, "GET", f"sites/{site}", If_None_Match=before)
    assert after.status_code == 200
    assert ask(owner, "PATCH", f"sites/{site}", {"name": "New"}, If_Match=before).status_code == 200


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"name": "Mine"}), ("DELETE", None)])
def test_a_lost_update_is_refused(world: World, method: str, body: Any) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    read = ask(owner, "GET", f"sites/{site}").headers["ETag"]
    assert ask(owner, "PATCH", f"sites/{site}", {"name": "Theirs"}, If_Match=read).status_code == 200
    answer = ask(owner, method, f"sites/{site}", body, If_Match=read)
    assert (answer.status_code, answer.json["status"]) == (412, "fail")
    assert ask(owner, "GET", f"sites/{site}").json["data"]["site"]["name"] == "Theirs"


def test_the_answer_to_a_change_carries_the_tag_to_go_on_with(world: World) -> None:
    owner = world.log_in("owner")
    made = ask(owner, "POST", "sites", NEW_SITE)
    site = made.json["data"]["site"]["id"]
    changed = ask(owner, "PATCH", f"sites/{site}", {"name": "2"}, If_Match=made.headers["ETag"])
    assert changed.headers["ETag"] == ask(owner, "GET", f"sites/{site}").headers["ETag"]
    assert ask(owner, "PATCH", f"sites/{site}", {"name": "3"}, If_Match=changed.headers["ETag"]).status_code == 200


def test_of_changes_that_race_on_one_version_one_wins(world: World) -> None:
    admin = world.log_in("admin")
    tag = ask(admin, "GET", f"users/{world.ids['owner']}").headers["ETag"]
    start = threading.Barrier(8)
    found: list[int] = []

    def change(number: int) -> None:
        person = world.person("admin")
        person.headers = admin.headers
        start.wait()
        body = {"username": f"name {number}"}
        found.append(ask(person, "PATCH", f"users/{world.ids['owner']}", body, If_Match=tag).status_code)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200] + [412] * 7


# -- Idempotency-Key -------------------------------------------------------------------------------------------


def test_a_post_that_comes_twice_takes_effect_once(world: World) -> None:
    owner = world.log_in("owner")
    first = ask(owner, "POST", "sites", NEW_SITE, Idempotency_Key="a-key")
    again = ask(owner, "POST", "sites", NEW_SITE, Idempotency_Key="a-key")
    assert (again.status_code, again.data) == (201, first.data)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["ETag"] == first.headers["ETag"]
    assert ask(owner, "GET", "sites").json["data"]["paging"]["total"] == 1


@pytest.mark.parametrize(
    ("path", "body"), [("sites", {**NEW_SITE, "name": "Other"}), ("auth/keys", {"name": "k", "scopes": ["sites:read"]})]
)
def test_a_key_that_came_with_another_request_is_refused(world: World, path: str, body: Any) -> None:
    owner = world.log_in("owner")
    ask(owner, "POST", "sites", NEW_SITE, Idempotency_Key="a-key")
    answer = ask(owner, "POST", path, body, Idempotency_Key="a-key")
    assert (answer.status_code, answer.json["status"]) == (422, "fail")


def test_the_key_of_one_user_means_nothing_to_another(world: World) -> None:
    owner, mate = world.log_in("owner"), world.log_in("mate")
    ask(owner, "POST", "sites", NEW_SITE, Idempotency_Key="a-key")
    answer = ask(mate, "POST", "sites", NEW_SITE, Idempotency_Key="a-key")
    assert answer.json["data"]["site"]["owner_id"] == mate.id


def test_what_was_refused_may_be_tried_again_with_its_key(world: World) -> None:
    owner = world.log_in("owner")
    assert ask(owner, "POST", "sites", {**NEW_SITE, "name": ""}, Idempotency_Key="a-key").status_code == 400
    assert ask(owner, "POST", "sites", NEW_SITE, Idempotency_Key="a-key").status_code == 201


def test_a_key_is_forgotten_after_a_day(world: World) -> None:
    owner = world.log_in("owner")
    ask(owner, "POST", "sites", NEW_SITE, Idempotency_Key="a-key")
    with world.app.app_context():
        db.session.scalars(select(IdempotencyRecord)).one().created_at = utcnow() - timedelta(hours=24, seconds=1)
        db.session.commit()
    answer = ask(owner, "POST", "sites", NEW_SITE, Idempotency_Key="a-key")
    assert "Idempotency-Replayed" not in answer.headers
    assert ask(owner, "GET", "sites").json["data"]["paging"]["total"] == 2


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "schlüssel"])
def test_what_is_no_key_is_refused(world: World, key: str) -> None:
    owner = world.log_in("owner")
    answer = owner.client.post(
        "/api/v1/sites", json=NEW_SITE, headers=[*owner.headers.items(), ("Idempotency-Key", key)]
    )
    assert answer.status_code == 400
    assert ask(owner, "GET", "sites").json["data"]["paging"]["total"] == 0


@pytest.mark.parametrize(("path", "body", "entity"), [("users", NEW_USER, User), ("sites", NEW_SITE, Site)])
def test_of_requests_that_race_with_one_key_one_takes_effect_and_all_get_its_answer(
    world: World, path: str, body: Any, entity: Any
) -> None:
    admin = world.log_in("admin")
    with world.app.app_context():
        before = db.session.scalar(select(func.count()).select_from(entity))
    key = uuid.uuid4().hex
    start = threading.Barrier(8)
    found: list[tuple[int, bytes]] = []

    def send() -> None:
        person = world.person("admin")
        person.headers = admin.headers
        start.wait()
        answer = ask(person, "POST", path, body, Idempotency_Key=key)
        found.append((answer.status_code, answer.data))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1, found
    assert found[0][0] == 201
    with world.app.app_context():
        assert db.session.scalar(select(func.count()).select_from(entity)) == before + 1


# -- histories, aliases, origins, errors -----------------------------------------------------------------------


def test_a_history_is_read_to_its_end_while_it_grows(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    begun = utcnow().replace(microsecond=0) - timedelta(hours=1)
    # Three of a kind: a cursor must tell apart what happened at the same moment.
    rows = [
        {"site_id": site, "checked_at": begun + timedelta(seconds=number // 3), "state": "up"} for number in range(25)
    ]
    with world.app.app_context():
        db.session.execute(insert(CheckResult), rows)
        db.session.commit()
    seen: list[int] = []
    path: str | None = f"/api/v1/sites/{site}/checks?limit=4"
    while path:
        part = owner.gets(path).json["data"]
        assert len(part["checks"]) <= 4
        seen += [check["id"] for check in part["checks"]]
        path = part["paging"]["next"]
        with world.app.app_context():
            db.session.execute(insert(CheckResult), [{"site_id": site, "checked_at": utcnow(), "state": "down"}])
            db.session.commit()
    assert len(seen) == len(set(seen)) == 25
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("cursor", ["x", "1", "1.", "1.0", "-1.1", "1.1.1", "9" * 18 + ".1"])
def test_it_refuses_what_is_no_cursor(world: World, cursor: str) -> None:
    owner = world.log_in("owner")
    answer = owner.gets(f"sites/{owner.has_site()}/checks?cursor={cursor}")
    assert (answer.status_code, list(answer.json["data"])) == (400, ["cursor"])


@pytest.mark.parametrize(
    ("alias", "real"),
    [
        ("/users", "/api/v1/users"),
        ("/users/{id}", "/api/v1/users/{id}"),
        ("/users/blah", "/api/v1/users/blah"),
        ("/users/-1", "/api/v1/users/-1"),
        ("/users?page=1&per_page=1", "/api/v1/users?page=1&per_page=1"),
        ("/api/cloudeye/v1/users/{id}", "/api/v1/users/{id}"),
        ("/api/cloudeye/v1/sites", "/api/v1/sites"),
    ],
)
def test_an_alias_answers_as_what_it_stands_for(world: World, alias: str, real: str) -> None:
    admin = world.log_in("admin")
    number = world.ids["owner"]
    there, here = (admin.gets(path.format(id=number)) for path in (alias, real))
    assert (there.status_code, there.data) == (here.status_code, here.data)


def test_a_path_that_only_begins_like_an_alias_is_none(world: World) -> None:
    assert world.log_in("admin").gets("/userspace").status_code == 404


def test_scripts_of_a_listed_origin_may_read_the_answers(world: World) -> None:
    owner = world.log_in("owner")
    answer = ask(owner, "GET", "sites", Origin="https://friend.example.com")
    assert answer.headers["Access-Control-Allow-Origin"] == "https://friend.example.com"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    "origin",
    ["https://stranger.example.com", "https://friend.example.com.evil.example", "http://friend.example.com", "null"],
)
def test_scripts_of_other_origins_may_not(world: World, origin: str) -> None:
    answer = ask(world.log_in("owner"), "GET", "sites", Origin=origin)
    assert not [name for name in dict(answer.headers) if name.startswith("Access-Control-Allow")]


def test_no_origin_may_read_the_pages(world: World) -> None:
    answer = world.app.test_client().get("/login", headers={"Origin": "https://friend.example.com"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_lists_are_sorted_as_asked(world: World) -> None:
    admin = world.log_in("admin")
    names = [user["email"] for user in admin.gets("users?sort=-email").json["data"]["users"]]
    assert names == sorted(names, reverse=True)
    assert admin.gets("users?sort=password_hash").status_code == 400


def test_an_unexpected_error_is_ours_and_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    admin = world.log_in("admin")

    def fail(*_: Any) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("cloudeye.api.users.accounts.welcome", fail)
    answer = ask(admin, "POST", "users", NEW_USER, X_Request_ID="request-0001")
    assert answer.status_code == 500
    assert answer.json == {"status": "error", "message": "Something went wrong on our side.", "data": None}
    assert answer.headers["X-Request-ID"] == "request-0001"
    assert "a secret of the inside" in caplog.text
    with world.app.app_context():
        assert db.session.scalar(select(func.count()).where(User.email_key == NEW_USER["email"])) == 0


# -- one transaction -------------------------------------------------------------------------------------------


def test_a_user_whose_mail_cannot_be_queued_is_not_made(world: World) -> None:
    admin = world.log_in("admin")
    with world.app.app_context():
        db.session.connection().exec_driver_sql("ALTER TABLE outbox RENAME TO outbox_gone")
        db.session.commit()
    try:
        assert ask(admin, "POST", "users", NEW_USER).status_code == 500
    finally:
        with world.app.app_context():
            db.session.connection().exec_driver_sql("ALTER TABLE outbox_gone RENAME TO outbox")
            db.session.commit()
    assert ask(admin, "GET", f"users?email={NEW_USER['email']}").json["data"]["users"] == []
    assert ask(admin, "POST", "users", NEW_USER).status_code == 201
    with world.app.app_context():
        assert db.session.scalars(select(Message.recipient)).all() == [NEW_USER["email"]]
