"""The pages of alert targets, and those that links of mails lead to, as a browser without script sees them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from cloudeye.api.targets import place
from cloudeye.extensions import db
from cloudeye.models import AlertTarget, Message, utcnow
from tests.integration.world import World
from tests.unit.cloudeye.browser import ACCEPT, Browser, browser_of, link_in, mails, text_of, values_of

HOOK = {"name": "The hook", "kind": "webhook", "address": "https://hooks.example.com/x"}


@pytest.fixture
def browser(world: World) -> Browser:
    """The owner's browser."""
    return browser_of(world, "owner")


def adds(browser: Browser, **fields: Any) -> Any:
    return browser.sends(browser.opens("/targets"), "/targets", **fields)


def rows(world: World) -> list[AlertTarget]:
    with world.app.app_context():
        return list(db.session.scalars(select(AlertTarget).order_by(AlertTarget.id)))


def number_of(world: World, name: str) -> int:
    (number,) = [row.id for row in rows(world) if row.name == name]
    return number


def test_a_webhook_is_added_and_its_secret_shown_once(world: World, browser: Browser) -> None:
    page = adds(browser, **HOOK, kinds=["down", "up"], minimum_severity="high")
    assert page.status_code == 201
    (row,) = rows(world)
    assert (row.kinds, row.minimum_severity) == (["down", "up"], "high")
    assert text_of(page, "//p[@class='secret']") == [row.secret]
    listed = browser.opens("/targets")
    assert text_of(listed, "//li[@data-target]//span[@class='url']") == [HOOK["address"]]
    assert str(row.secret) not in listed.text
    again = browser.sends(listed, f"/targets/{row.id}/secret")
    (changed,) = rows(world)
    assert text_of(again, "//p[@class='secret']") == [changed.secret]
    assert changed.secret != row.secret


def test_all_kinds_of_events_stand_for_those_to_come_too(world: World, browser: Browser) -> None:
    adds(browser, **HOOK)
    assert rows(world)[0].kinds is None
    assert text_of(browser.opens("/targets"), "//li[@data-target]//span[@class='faint']") == [
        "everything",
        "of pages and weaknesses from: low",
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"address": "http://127.0.0.1/"}, "address"),
        ({"kind": "mail"}, "address"),
        ({"kinds": []}, "kinds"),
    ],
)
def test_a_mistake_is_shown_where_it_is(world: World, browser: Browser, change: dict[str, Any], field: str) -> None:
    page = adds(browser, **{**HOOK, **change})
    assert page.status_code == 400
    assert text_of(page, f"//*[@id='new-{field}-error']") != []
    assert rows(world) == []


def test_another_address_is_asked_first_and_its_answer_is_a_button(world: World, browser: Browser) -> None:
    answer = browser.follows(adds(browser, name="A friend", kind="mail", address="friend@example.org"))
    assert text_of(answer, "//*[@role='status']") == ["A friend was added. A mail asks there whether alerts may come."]
    assert text_of(answer, "//span[@class='state paused']") == ["not confirmed yet"]
    (mail,) = mails(world)
    assert mail.recipient == "friend@example.org"
    friend = Browser(world.app.test_client())
    page = friend.opens(link_in(mail))
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert rows(world)[0].confirmed_at is None
    done = friend.sends(page, "/confirm")
    assert text_of(done, "//*[@role='status']")[0].startswith("Alerts come to friend@example.org from now on.")
    assert rows(world)[0].confirmed_at is not None
    again = friend.sends(page, "/confirm")
    assert (again.status_code, text_of(again, "//*[@role='alert']")) == (
        400, ["This link has expired or was used before."],
    )  # fmt: skip


@pytest.mark.parametrize("token", ["", "nonsense", "x" * 5000])
def test_a_link_that_is_none_confirms_nothing(world: World, browser: Browser, token: str) -> None:
    adds(browser, name="A friend", kind="mail", address="friend@example.org")
    page = browser.opens("/confirm")
    assert browser.sends(page, "/confirm", token=token).status_code == 400
    assert rows(world)[0].confirmed_at is None


def stopping(world: World, name: str) -> str:
    """Return the path that a mail's link to end the alerts leads to."""
    row = next(row for row in rows(world) if row.name == name)
    with world.app.test_request_context():
        return place().unsubscribe(row.id, row.address).removeprefix("http://testserver")


def test_whoever_got_an_alert_ends_them_with_a_button(world: World, browser: Browser) -> None:
    adds(browser, name="A friend", kind="mail", address="friend@example.org")
    friend, link = Browser(world.app.test_client()), stopping(world, "A friend")
    page = friend.opens(link)
    assert rows(world)[0].active
    done = friend.sends(page, "/unsubscribe")
    assert text_of(done, "//*[@role='status']") == ["No more alerts come to friend@example.org from this account."]
    assert not rows(world)[0].active
    assert rows(world)[0].confirmed_at is None


def test_a_mail_program_ends_them_without_a_page(world: World, browser: Browser) -> None:
    """RFC 8058, section 3.2: a POST to the link, without a cookie, from wherever the program runs."""
    adds(browser, name="A friend", kind="mail", address="friend@example.org")
    headers = {"Sec-Fetch-Site": "cross-site"}
    data = {"List-Unsubscribe": "One-Click"}
    link = stopping(world, "A friend")
    for _ in range(2):
        assert world.app.test_client().post(link, data=data, headers=headers).status_code == 200
        assert not rows(world)[0].active
    forged = f"{link[:-2]}{'AA' if not link.endswith('AA') else 'BB'}"
    assert world.app.test_client().post(forged, data=data).status_code == 400


def test_a_test_is_sent_and_not_twice_at_once(world: World, browser: Browser) -> None:
    adds(browser, **HOOK)
    number = number_of(world, "The hook")
    page = browser.follows(browser.sends(browser.opens("/targets"), f"/targets/{number}/test"))
    assert text_of(page, "//*[@role='status']") == ["A test is on its way to The hook."]
    with world.app.app_context():
        (message,) = db.session.scalars(select(Message)).all()
        assert (message.channel, message.target_id) == ("webhook", number)
    again = browser.sends(page, f"/targets/{number}/test")
    assert (again.status_code, text_of(again, "//*[@role='alert']")) == (429, ["A test was sent a moment ago."])
    assert again.headers["Retry-After"] == "10"


def test_a_target_is_changed_and_removed(world: World, browser: Browser) -> None:
    adds(browser, **HOOK)
    number = number_of(world, "The hook")
    path = f"/targets/{number}"
    fields = {"name": "Renamed", "kinds": ["page"], "minimum_severity": "critical", "active": []}
    assert browser.sends(browser.opens(path), path, **fields).status_code == 303
    (row,) = rows(world)
    assert (row.name, row.kinds, row.minimum_severity, row.active) == ("Renamed", ["page"], "critical", False)
    assert text_of(browser.opens("/targets"), "//span[@class='state paused']") == ["switched off"]
    refused = browser.sends(browser.opens(path), path, address="ftp://example.com/")
    assert (refused.status_code, text_of(refused, "//*[@id='target-address-error']") != []) == (400, True)
    browser.sends(browser.opens("/targets"), f"{path}/remove")
    assert rows(world) == []


def test_what_came_of_the_last_alert_is_shown(world: World, browser: Browser) -> None:
    adds(browser, **HOOK)
    with world.app.app_context():
        db.session.get_one(AlertTarget, number_of(world, "The hook")).error = "status 500 <b>"
        db.session.commit()
    assert text_of(browser.opens("/targets"), "//span[@class='why']") == ["status 500 <b>"]


@pytest.mark.parametrize("verified", [True, False])
def test_without_a_target_the_page_says_who_is_told(world: World, browser: Browser, verified: bool) -> None:
    with world.changing_user("owner") as user:
        user.email_verified_at = utcnow() if verified else None
    said = text_of(browser.opens("/targets"), "//section[@aria-labelledby='targets']/p")
    expected = "alerts go to owner@example.com" if verified else "Nobody is told yet"
    assert expected in said[0]


@pytest.mark.parametrize("path", ["", "/test", "/secret", "/remove"])
@pytest.mark.parametrize("name", ["mate", "admin"])
def test_another_users_target_is_nobodys_business(world: World, browser: Browser, name: str, path: str) -> None:
    adds(browser, **HOOK)
    number = number_of(world, "The hook")
    other = Browser(world.app.test_client())
    other.logs_in(name)
    (token,) = values_of(other.opens("/account"), "//form[@action='/logout']/input[@name='csrf_token']/@value")
    answer = other.client.post(f"/targets/{number}{path}", data={"csrf_token": token}, headers=ACCEPT)
    assert answer.status_code == 404
    assert text_of(other.opens("/targets"), "//li[@data-target]") == []
