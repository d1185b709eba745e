"""Alert targets over the API: who may be written to, what is secret, and what is left when one goes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select
from werkzeug.test import TestResponse

from cloudeye.extensions import db
from cloudeye.models import AlertTarget, Message, Site, utcnow
from cloudeye.services import targets
from tests.integration.world import Person, World

HOOK = {"name": "Pager", "kind": "webhook", "address": "https://hooks.example.com/x"}
MAIL = {"name": "Me", "kind": "mail", "address": "owner@example.com"}
COLLEAGUE = {"name": "Colleague", "kind": "mail", "address": "colleague@example.org"}


def has_target(person: Person, **given: Any) -> dict[str, Any]:
    """Add a target and return it, with its secret."""
    answer = person.asks("POST", "targets", {**HOOK, **given})
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json["data"]
    return {**data["target"], "secret": data["secret"]}


def row(world: World, number: int) -> AlertTarget:
    with world.app.app_context():
        found = db.session.get_one(AlertTarget, number)
        db.session.expunge(found)
        return found


def mails(world: World) -> list[Message]:
    with world.app.app_context():
        return list(db.session.scalars(select(Message).order_by(Message.id)))


def token_in(message: Message) -> str:
    found = re.search(r"/confirm\?token=(\S+)", message.body or "")
    assert found is not None, message.body
    return found[1]


def confirm(world: World, token: str) -> TestResponse:
    return world.stranger().asks("POST", "targets/confirm", {"token": token})


def verified(world: World, name: str = "owner") -> Person:
    with world.changing_user(name) as user:
        user.email_verified_at = utcnow()
    return world.log_in(name)


# -- kinds -----------------------------------------------------------------------------------------------------


def test_a_webhook_gets_a_secret_that_is_shown_once(world: World) -> None:
    owner = world.log_in("owner")
    target = has_target(owner)
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", target["secret"])
    assert row(world, target["id"]).secret == target["secret"]
    assert target["confirmed_at"] is not None
    for answer in (owner.gets("targets"), owner.gets(f"targets/{target['id']}")):
        assert target["secret"] not in answer.text
    again = owner.asks("POST", f"targets/{target['id']}/secret")
    assert again.json["data"]["secret"] not in (None, target["secret"])
    assert again.headers["Cache-Control"] == "no-store"
    assert row(world, target["id"]).secret == again.json["data"]["secret"]


@pytest.mark.parametrize("given", [MAIL, {**HOOK, "kind": "slack"}])
def test_other_kinds_have_no_secret(world: World, given: dict[str, Any]) -> None:
    owner = verified(world)
    target = has_target(owner, **given)
    assert target["secret"] is None
    assert owner.asks("POST", f"targets/{target['id']}/secret").status_code == 409


def test_a_secret_is_not_kept_for_a_request_that_comes_twice(world: World) -> None:
    owner = world.log_in("owner")
    headers = {**owner.headers, "Idempotency-Key": "once"}
    first, second = (owner.client.post("/api/v1/targets", json=HOOK, headers=headers) for _ in range(2))
    assert first.json["data"]["secret"].startswith("whsec_")
    assert second.json["data"]["secret"] is None
    assert second.json["data"]["target"] == first.json["data"]["target"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"address": "http://127.0.0.1/"}, "address"),
        ({"address": "http://169.254.169.254/latest/meta-data"}, "address"),
        ({"address": "http://2130706433/"}, "address"),
        ({"address": "http://[::ffff:10.0.0.1]/"}, "address"),
        ({"address": "file:///etc/passwd"}, "address"),
        ({"address": "https://user:password@hooks.example.com/"}, "address"),
        ({"address": "owner@example.com"}, "address"),
        ({"address": "https://hooks.example.com/" + "x" * 2048}, "address"),
        ({"kind": "mail"}, "address"),
        ({"kind": "mail", "address": "a@example.com\r\nBcc: b@example.com"}, "address"),
        ({"kind": "mail", "address": "a@example.com,b@example.com"}, "address"),
        ({"kind": "pigeon"}, "kind"),
        ({"kinds": []}, "kinds"),
        ({"kinds": ["sideways"]}, "kinds"),
        ({"minimum_severity": "enormous"}, "minimum_severity"),
        ({"name": " "}, "name"),
        ({"secret": "whsec_AAAA"}, "secret"),
        ({"active": "yes"}, "active"),
    ],
)
def test_a_target_that_cannot_be_is_refused_at_its_field(world: World, wrong: dict[str, Any], field: str) -> None:
    answer = world.log_in("owner").asks("POST", "targets", {**HOOK, **wrong})
    assert answer.status_code == 400
    assert list(answer.json["data"]) == [field]
    assert mails(world) == []


def test_a_url_is_kept_as_it_is_sent(world: World) -> None:
    assert (
        has_target(world.log_in("owner"), address="HTTPS://Hooks.Example.com")["address"]
        == "https://hooks.example.com/"
    )


def test_names_are_unique_and_nobody_has_more_than_twenty(world: World) -> None:
    owner = world.log_in("owner")
    for number in range(targets.MOST):
        has_target(owner, name=f"Pager {number}")
    assert owner.asks("POST", "targets", {**HOOK, "name": "One more"}).status_code == 409
    first = owner.gets("targets").json["data"]["targets"][0]
    answer = owner.asks("PATCH", f"targets/{first['id']}", {"name": "Pager 1"})
    assert (answer.status_code, list(answer.json["data"])) == (400, ["name"])
    has_target(world.log_in("mate"), name="Pager 1")


# -- who agreed ------------------------------------------------------------------------------------------------


def test_ones_own_verified_address_needs_no_confirmation(world: World) -> None:
    target = has_target(verified(world), **{**MAIL, "address": "Owner@Example.com"})
    assert target["confirmed_at"] is not None
    assert mails(world) == []


def test_any_other_address_is_asked_and_only_its_mail_confirms_it(world: World) -> None:
    owner = verified(world)
    target = has_target(owner, **COLLEAGUE)
    assert target["confirmed_at"] is None
    [mail] = mails(world)
    assert mail.recipient == "colleague@example.org"
    assert "owner@example.com" not in (mail.body or "")
    assert owner.asks("POST", f"targets/{target['id']}/test").status_code == 409
    assert confirm(world, "nonsense").status_code == 400
    answer = confirm(world, token_in(mail))
    assert (answer.status_code, answer.json["data"]) == (200, {"address": "colleague@example.org"})
    assert row(world, target["id"]).confirmed_at is not None
    assert confirm(world, token_in(mail)).status_code == 400


def test_ones_own_address_that_is_not_verified_is_asked_too(world: World) -> None:
    assert has_target(world.log_in("owner"), **MAIL)["confirmed_at"] is None
    assert [mail.recipient for mail in mails(world)] == ["owner@example.com"]


def test_another_address_must_be_confirmed_anew_and_the_old_link_is_worth_nothing(world: World) -> None:
    owner = verified(world)
    target = has_target(owner, **COLLEAGUE)
    path = f"targets/{target['id']}"
    answer = owner.asks("PATCH", path, {"address": "stranger@example.org"})
    assert answer.json["data"]["target"]["confirmed_at"] is None
    first, second = mails(world)
    assert confirm(world, token_in(first)).status_code == 400
    assert confirm(world, token_in(second)).status_code == 200
    assert owner.asks("PATCH", path, {"name": "Somebody"}).json["data"]["target"]["confirmed_at"] is not None
    assert owner.asks("PATCH", path, {"address": "third@example.org"}).json["data"]["target"]["confirmed_at"] is None


def test_a_mail_that_asks_can_be_had_again_until_somebody_agrees(world: World) -> None:
    owner = verified(world)
    path = f"targets/{has_target(owner, **COLLEAGUE)['id']}"
    same = {"address": COLLEAGUE["address"]}
    assert owner.asks("PATCH", path, same).json["data"]["target"]["confirmed_at"] is None
    assert len(mails(world)) == 2
    assert confirm(world, token_in(mails(world)[1])).status_code == 200
    assert owner.asks("PATCH", path, same).json["data"]["target"]["confirmed_at"] is not None
    assert len(mails(world)) == 2


def test_nobody_can_have_strangers_written_to_without_end(world: World) -> None:
    owner = verified(world)
    for number in range(targets.MOST_CONFIRMATIONS):
        has_target(owner, **{**COLLEAGUE, "name": f"{number}", "address": f"c{number}@example.org"})
    answer = owner.asks("POST", "targets", {**COLLEAGUE, "address": "onemore@example.org"})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 3600
    assert len(mails(world)) == targets.MOST_CONFIRMATIONS
    assert len(owner.gets("targets").json["data"]["targets"]) == targets.MOST_CONFIRMATIONS
    has_target(owner)  # a webhook asks nobody


def test_without_targets_the_list_names_where_alerts_go(world: World) -> None:
    assert world.log_in("mate").gets("targets").json["data"] == {"targets": [], "fallback": None}
    owner = verified(world)
    assert owner.gets("targets").json["data"] == {"targets": [], "fallback": "owner@example.com"}
    has_target(owner, active=False)
    assert owner.gets("targets").json["data"]["fallback"] is None


# -- changes ---------------------------------------------------------------------------------------------------


def test_a_lost_update_is_refused(world: World) -> None:
    owner = world.log_in("owner")
    path = f"targets/{has_target(owner)['id']}"
    tag = owner.gets(path).headers["ETag"]
    assert owner.asks("PATCH", path, {"active": False}).json["data"]["target"]["active"] is False
    late = owner.client.patch(f"/api/v1/{path}", json={"name": "Late"}, headers={**owner.headers, "If-Match": tag})
    assert late.status_code == 412


def test_a_target_that_is_mended_shows_no_error_of_before(world: World) -> None:
    owner = world.log_in("owner")
    for change in ({"address": "https://other.example.com/"}, {"active": True}):
        number = has_target(owner, name=str(change))["id"]
        with world.app.app_context():
            db.session.get_one(AlertTarget, number).error = "answered with status 500"
            db.session.commit()
        assert owner.gets(f"targets/{number}").json["data"]["target"]["error"] == "answered with status 500"
        assert owner.asks("PATCH", f"targets/{number}", change).json["data"]["target"]["error"] is None


def test_a_target_that_goes_is_taken_off_the_sites_that_name_it(world: World) -> None:
    owner = world.log_in("owner")
    gone, left = has_target(owner, name="Gone")["id"], has_target(owner, name="Left")["id"]
    sites = {
        owner.has_site(alert_targets=[gone, left]): [left],
        owner.has_site(alert_targets=[gone]): None,  # told to all again: nobody asked for silence
        owner.has_site(alert_targets=[]): [],
        owner.has_site(): None,
    }
    assert owner.asks("DELETE", f"targets/{gone}").status_code == 200
    with world.app.app_context():
        assert {number: db.session.get_one(Site, number).alert_targets for number in sites} == sites
        db.session.execute(delete(Site))
        db.session.commit()


@pytest.mark.parametrize(
    ("method", "below"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/secret")]
)
def test_nobody_else_sees_a_target_not_even_an_admin(world: World, method: str, below: str) -> None:
    number = has_target(world.log_in("owner"))["id"]
    for name in ("mate", "admin"):
        person = world.log_in(name)
        body = {"name": "Mine"} if method == "PATCH" else None
        assert person.asks(method, f"targets/{number}{below}", body).status_code == 404
        assert person.gets("targets").json["data"]["targets"] == []


# -- test messages ---------------------------------------------------------------------------------------------


def test_a_test_message_is_queued_by_the_targets_channel_and_not_too_often(world: World) -> None:
    owner = verified(world)
    for given in (HOOK, MAIL, {**HOOK, "name": "Chat", "kind": "slack"}):
        number = has_target(owner, **given)["id"]
        answer = owner.asks("POST", f"targets/{number}/test")
        assert answer.status_code == 202, answer.text
        message = mails(world)[-1]
        assert (message.channel, message.target_id) == (given["kind"], number)
        assert message.event_id == answer.json["data"]["message_id"]
        assert owner.asks("POST", f"targets/{number}/test").status_code == 429
        with world.app.app_context():
            db.session.get_one(Message, message.id).created_at = utcnow() - timedelta(seconds=11)
            db.session.commit()
        assert owner.asks("POST", f"targets/{number}/test").status_code == 202
        owner.asks("PATCH", f"targets/{number}", {"active": False})
        assert owner.asks("POST", f"targets/{number}/test").status_code == 409
