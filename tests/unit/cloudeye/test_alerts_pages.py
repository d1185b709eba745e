"""Where the links of alert mails lead: agree, and end it, with a button and without an account."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cloudeye.extensions import db
from cloudeye.models import AlertTarget, utcnow
from cloudeye.services import one_time
from cloudeye.services.alerts import Place
from tests.integration.world import World
from tests.unit.cloudeye.browser import Browser

COLLEAGUE = "colleague@example.org"


@pytest.fixture
def target(world: World) -> int:
    """A target of the owner's that is confirmed."""
    with world.app.app_context():
        row = AlertTarget(owner_id=world.ids["owner"], name="Colleague", kind="mail", address=COLLEAGUE)
        row.confirmed_at = utcnow()
        db.session.add(row)
        db.session.commit()
        return row.id


def is_active(world: World, target: int) -> bool:
    with world.app.app_context():
        return db.session.get_one(AlertTarget, target).active


def stop_path(world: World, target: int, address: str = COLLEAGUE) -> str:
    place = Place("", world.config.secret_key)
    return place.unsubscribe(target, address)


def test_a_mails_link_ends_alerts_with_a_button_and_not_by_itself(world: World, target: int) -> None:
    client = world.app.test_client()
    shown = client.get(stop_path(world, target))
    assert (shown.status_code, shown.headers["Referrer-Policy"]) == (200, "no-referrer")
    assert is_active(world, target)
    reader = Browser(client)
    page = reader.opens(stop_path(world, target))
    done = reader.sends(page, "/unsubscribe")
    assert done.status_code == 200
    assert COLLEAGUE in done.text
    assert not is_active(world, target)
    assert reader.sends(page, "/unsubscribe").status_code == 200


def test_a_mail_program_ends_alerts_by_itself(world: World, target: int) -> None:
    """As RFC 8058 has it: no cookie, no token of ours, from another site."""
    answer = world.app.test_client().post(
        stop_path(world, target),
        data={"List-Unsubscribe": "One-Click"},
        headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://mail.example.net"},
    )
    assert answer.status_code == 200
    assert not is_active(world, target)


@pytest.mark.parametrize(
    "forge",
    [
        lambda token, target: "",
        lambda token, target: "nonsense",
        lambda token, target: token[:-1],
        lambda token, target: f"{target + 1}.{token.partition('.')[2]}",
        lambda token, target: f"{target}.",
        lambda token, target: f"٣.{token.partition('.')[2]}",
        lambda token, target: f"{'9' * 40}.x",
    ],
)
def test_a_link_that_is_not_ours_ends_nothing(world: World, target: int, forge: object) -> None:
    token = stop_path(world, target).partition("token=")[2]
    forged = forge(token, target)  # type: ignore[operator]
    answer = world.app.test_client().post(f"/unsubscribe?token={forged}")
    assert answer.status_code == 400
    assert COLLEAGUE not in answer.text
    assert is_active(world, target)


def test_a_link_of_another_address_ends_nothing(world: World, target: int) -> None:
    path = stop_path(world, target, "former@example.org")
    assert world.app.test_client().post(path).status_code == 400
    assert is_active(world, target)


def test_alerts_come_to_whoever_agrees_with_a_button(world: World, target: int) -> None:
    with world.app.app_context():
        row = db.session.get_one(AlertTarget, target)
        row.confirmed_at = None
        owner, data = world.ids["owner"], {"target": target}
        token = one_time.issue(db.session(), "target", timedelta(hours=1), user_id=owner, email=COLLEAGUE, data=data)
        db.session.commit()

    def confirmed() -> bool:
        with world.app.app_context():
            return db.session.get_one(AlertTarget, target).confirmed_at is not None

    stranger = Browser(world.app.test_client())
    page = stranger.opens(f"/confirm?token={token}")
    assert page.status_code == 200
    assert not confirmed()
    answer = stranger.sends(page, "/confirm")
    assert COLLEAGUE in answer.text
    assert confirmed()
    assert stranger.sends(page, "/confirm").status_code == 400
