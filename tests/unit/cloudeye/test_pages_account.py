"""What people do with their own account on its page."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from cloudeye.api.auth import SENT
from cloudeye.extensions import cache, db
from cloudeye.models import ApiKey, User, UserSession, utcnow
from cloudeye.pages.base import blueprint
from tests.integration.world import PASSWORD, World
from tests.unit.cloudeye.browser import ACCEPT, Browser, browser_of, link_in, mails, text_of, values_of

NEXT_WORD = "the owner's next word"
PROBLEM, NOTE = "//*[@role='alert']", "//*[@role='status']"


@pytest.fixture
def browser(world: World) -> Browser:
    """The owner's browser."""
    return browser_of(world, "owner")


def user(world: World, name: str = "owner") -> User:
    """Return one of the cast as the database knows them."""
    with world.app.app_context():
        return db.session.get_one(User, world.ids[name])


def test_every_page_of_the_account_wants_a_login_and_our_token(world: World) -> None:
    rules = [rule for rule in world.app.url_map.iter_rules() if rule.rule.startswith(("/account", "/people"))]
    assert len(rules) >= 10
    stranger = Browser(world.app.test_client())
    (token,) = values_of(stranger.opens("/login"), "(//input[@name='csrf_token']/@value)[1]")
    for rule in rules:
        path = rule.rule.replace("<id:user_id>", "1").replace("<id:key_id>", "1").replace("<session_id>", "1")
        for method in (rule.methods or set()) & {"GET", "POST"}:
            data = {"csrf_token": token} if method == "POST" else None
            answer = stranger.client.open(path, method=method, data=data, headers=ACCEPT)
            assert (answer.status_code, answer.headers.get("Location", "")[:6]) == (302, "/login"), rule
            if method == "POST":
                answer = stranger.client.post(path, data={"username": "x"}, headers=ACCEPT)
                assert (answer.status_code, "CSRF" in answer.text) == (400, True), rule
    assert blueprint.name == "pages"


def test_name_phone_language_and_zone_are_changed_and_phone_may_be_taken_back(world: World, browser: Browser) -> None:
    fields = {"username": "The Owner", "phone": "13800138000", "language": "zh_Hans", "time_zone": "Asia/Shanghai"}
    done = browser.sends(browser.opens("/account"), "/account", **fields)
    page = browser.follows(done)
    found = user(world)
    assert {name: getattr(found, name) for name in fields} == fields
    assert values_of(page, "/html/@lang") == ["zh-Hans"]
    assert values_of(page, "//select[@name='time_zone']/option[@selected]/@value") == ["Asia/Shanghai"]
    assert "Asia/Shanghai" in text_of(page, "//footer/p")[0]
    (session,) = values_of(page, "//li//span/time[1]/@datetime")[:1]
    there = datetime.fromisoformat(session).astimezone(ZoneInfo("Asia/Shanghai"))
    assert f"{there.year}年{there.month}月{there.day}日 {there:%H:%M:%S}" == text_of(page, "//li//span/time[1]")[0]
    browser.sends(page, "/account", phone=" ", language="", time_zone="")
    found = user(world)
    assert (found.phone, found.language, found.time_zone) == (None, None, None)


@pytest.mark.parametrize(
    ("field", "value"), [("username", ""), ("phone", "12"), ("time_zone", "Mars/Olympus"), ("language", "tlh")]
)
def test_a_mistake_is_shown_at_its_field(world: World, browser: Browser, field: str, value: str) -> None:
    page = browser.sends(browser.opens("/account"), "/account", **{field: value})
    assert page.status_code == 400
    assert text_of(page, f"//p[@id='profile-{field}-error']") != []
    assert user(world).username == "owner"


def test_a_phone_of_somebody_else_is_refused(world: World, browser: Browser) -> None:
    with world.changing_user("mate") as mate:
        mate.phone = "13800138000"
    page = browser.sends(browser.opens("/account"), "/account", phone="13800138000")
    assert page.status_code == 400
    assert text_of(page, "//p[@id='profile-phone-error']") == ["Sorry. That phone already exists."]


def test_nobody_makes_themselves_an_admin(world: World, browser: Browser) -> None:
    (token,) = values_of(browser.opens("/account"), "(//input[@name='csrf_token']/@value)[1]")
    fields = {"username": "owner", "role": "admin", "active": "1", "email": "x@example.com"}
    browser.client.post("/account", data={"csrf_token": token, **fields}, headers=ACCEPT)
    assert (user(world).role, user(world).email) == ("user", "owner@example.com")


# -- password and address ---------------------------------------------------------------------------------------


def test_another_password_ends_the_other_sessions_and_keeps_this_one(world: World, browser: Browser) -> None:
    elsewhere = Browser(world.app.test_client())
    elsewhere.logs_in("owner")
    api = world.log_in("owner")
    fields = {"old_password": PASSWORD, "new_password": NEXT_WORD}
    done = browser.sends(browser.opens("/account"), "/account/password", **fields)
    assert text_of(browser.follows(done), NOTE) == ["The password was changed."]
    assert browser.is_in()
    assert not elsewhere.is_in()
    with world.app.app_context():
        assert len(db.session.scalars(select(UserSession)).all()) == 1
    assert [mail.recipient for mail in mails(world)] == ["owner@example.com"]
    assert elsewhere.logs_in("owner").status_code == 401
    assert elsewhere.logs_in("owner", password=NEXT_WORD).status_code == 303
    assert api.email == "owner@example.com"


def test_a_wrong_present_password_changes_nothing_and_counts_as_a_failed_login(world: World, browser: Browser) -> None:
    page = browser.opens("/account")
    for _ in range(10):
        wrong = browser.sends(page, "/account/password", old_password="wrong", new_password=NEXT_WORD)
        assert wrong.status_code == 401
        assert text_of(wrong, "//p[@id='password-old_password-error']") == ["Wrong password."]
    late = browser.sends(page, "/account/password", old_password=PASSWORD, new_password=NEXT_WORD)
    assert (late.status_code, text_of(late, PROBLEM)) == (429, ["Too many attempts. Please try again later."])
    assert Browser(world.app.test_client()).logs_in("owner").status_code == 429
    assert mails(world) == []


def test_somebody_without_a_password_is_shown_the_way_to_one(world: World, browser: Browser) -> None:
    with world.changing_user("owner") as owner:
        owner.password_hash = None
    page = browser.opens("/account")
    assert values_of(page, "//input[@type='password']") == []
    assert values_of(page, "//section[@aria-labelledby='password']//a/@href") == ["/reset"]


def test_an_address_is_changed_by_the_button_behind_the_link_of_its_mail(world: World, browser: Browser) -> None:
    sent = browser.sends(browser.opens("/account"), "/account/email", email="Owner.Of@Example.org", password=PASSWORD)
    assert text_of(browser.follows(sent), NOTE) == [SENT]
    (mail,) = mails(world)
    assert mail.recipient == "Owner.Of@Example.org"
    page = browser.opens(link_in(mail))
    assert user(world).email == "owner@example.com", "opening the link changes nothing"
    done = browser.follows(browser.sends(page, "/email"))
    assert text_of(done, NOTE) == ["Your address is Owner.Of@Example.org now."]
    assert user(world).email == "Owner.Of@Example.org"
    again = browser.sends(page, "/email")
    assert (again.status_code, text_of(again, PROBLEM)) == (400, ["This link has expired or was used before."])


@pytest.mark.parametrize("email", ["mate@example.com", "free@example.com"])
def test_asking_for_an_address_does_not_tell_whose_it_is(world: World, browser: Browser, email: str) -> None:
    sent = browser.sends(browser.opens("/account"), "/account/email", email=email, password=PASSWORD)
    assert text_of(browser.follows(sent), NOTE) == [SENT]
    assert [mail.recipient for mail in mails(world)] == [email]


def test_an_address_that_somebody_else_got_meanwhile_is_refused(world: World, browser: Browser) -> None:
    browser.sends(browser.opens("/account"), "/account/email", email="wanted@example.com", password=PASSWORD)
    with world.changing_user("mate") as mate:
        mate.email = "wanted@example.com"
    answer = browser.sends(browser.opens(link_in(mails(world)[0])), "/email")
    assert answer.status_code == 400
    assert "Sorry. That email already exists." in answer.text


def test_a_wrong_password_asks_for_no_address(world: World, browser: Browser) -> None:
    page = browser.sends(browser.opens("/account"), "/account/email", email="x@example.com", password="wrong")
    assert (page.status_code, text_of(page, "//p[@id='address-password-error']")) == (401, ["Wrong password."])
    assert values_of(page, "//input[@id='address-email']/@value") == ["x@example.com"]
    assert mails(world) == []


# -- where one is logged in -------------------------------------------------------------------------------------


def test_one_sees_where_one_is_logged_in_and_ends_what_one_does_not_know(world: World, browser: Browser) -> None:
    phone = Browser(world.app.test_client(), **{"User-Agent": "A phone"})
    phone.logs_in("owner")
    page = browser.opens("/account")
    (action,) = values_of(page, "//section[@aria-labelledby='sessions']//li//form/@action")
    assert "A phone" in text_of(page, f"//li[.//form[@action='{action}']]")[0]
    assert text_of(page, "//li[.//*[@class='state up']]//form") == [], "one does not end the session at hand here"
    browser.sends(page, action)
    assert not phone.is_in()
    assert browser.is_in()


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox · Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"
            " Safari/537.36 Edg/140.0.0.0",
            "Edge · Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
            " Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari · iPhone",
        ),
        ("curl/8.5.0", "curl/8.5.0"),
        ("Mozilla/5.0 <b>", "Mozilla/5.0 <b>"),
    ],
)
def test_a_browser_is_named_in_two_words(world: World, agent: str, shown: str) -> None:
    browser = Browser(world.app.test_client(), **{"User-Agent": agent})
    browser.logs_in("owner")
    assert text_of(browser.opens("/account"), "//section[@aria-labelledby='sessions']//*[@class='name']") == [shown]


def test_one_logs_out_everywhere_else(world: World, browser: Browser) -> None:
    others = [Browser(world.app.test_client()) for _ in range(2)]
    for other in others:
        other.logs_in("owner")
    browser.sends(browser.opens("/account"), "/account/sessions/end")
    assert [other.is_in() for other in others] == [False, False]
    assert browser.is_in()


def test_a_session_that_the_page_ends_refuses_the_apis_tokens_too(
    world: World, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudeye.tokens.REVOCATIONS_SECONDS", 0)
    api = world.log_in("owner")
    assert api.gets("sites").status_code == 200
    page = browser.opens("/account")
    (action,) = values_of(page, "//section[@aria-labelledby='sessions']//li//form/@action")
    browser.sends(page, action)
    assert api.gets("sites").status_code == 401


@pytest.mark.parametrize("what", ["sessions/{session}/end", "keys/{key}/remove"])
def test_what_is_somebody_elses_is_as_unknown_as_what_never_was(world: World, browser: Browser, what: str) -> None:
    mate = world.log_in("mate")
    key = mate.asks("POST", "auth/keys", {"name": "robot", "scopes": ["sites:read"]}).json["data"]["key"]["id"]
    session = mate.gets("auth/sessions").json["data"]["sessions"][0]["id"]
    (token,) = values_of(browser.opens("/account"), "(//input[@name='csrf_token']/@value)[1]")
    for path in (what.format(session=session, key=key), what.format(session="f" * 32, key=999_999)):
        answer = browser.client.post(f"/account/{path}", data={"csrf_token": token}, headers=ACCEPT)
        assert answer.status_code == 404
    assert mate.gets("auth/me").status_code == 200
    assert len(mate.gets("auth/keys").json["data"]["keys"]) == 1


# -- keys -------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_works_and_is_taken_back(world: World, browser: Browser) -> None:
    page = browser.opens("/account")
    made = browser.sends(page, "/account/keys", name="robot", scopes=["sites:read", "sites:write"], expires_on="")
    assert made.status_code == 201
    (secret,) = text_of(made, "//p[@class='secret']")
    assert re.fullmatch(r"ce_[a-z0-9]{12}_[\w-]{43}", secret)
    headers = {"X-API-Key": secret}
    client = world.app.test_client()
    assert client.get("/api/v1/sites", headers=headers).status_code == 200
    page = browser.opens("/account")
    assert secret not in page.text
    (action,) = values_of(page, "//section[@aria-labelledby='keys']//li//form/@action")
    assert text_of(browser.follows(browser.sends(page, action)), NOTE) == ["robot was removed!"]
    with world.app.app_context():
        cache.clear()  # where a process keeps a key for two seconds
    assert client.get("/api/v1/sites", headers=headers).status_code == 401


def test_a_key_lasts_to_the_end_of_its_last_day_in_the_owners_zone(world: World, browser: Browser) -> None:
    with world.changing_user("owner") as owner:
        owner.time_zone = "Asia/Shanghai"
    day = (utcnow() + timedelta(days=9)).date()
    browser.sends(browser.opens("/account"), "/account/keys", name="robot", scopes=["sites:read"], expires_on=str(day))
    with world.app.app_context():
        expires_at = db.session.scalars(select(ApiKey.expires_at)).one()
    assert expires_at is not None
    assert expires_at.isoformat() == f"{day}T16:00:00+00:00"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("scopes", []),
        ("scopes", ["everything"]),
        ("expires_on", "2001-01-01"),
        ("expires_on", "soon"),
        ("expires_on", "9999-12-31"),
        ("name", "taken"),
    ],
)
def test_a_mistake_in_a_key_is_shown_at_its_field(world: World, browser: Browser, field: str, value: Any) -> None:
    browser.sends(browser.opens("/account"), "/account/keys", name="taken", scopes=["sites:read"])
    fields = {"name": "robot", "scopes": ["sites:read"], "expires_on": "", field: value}
    page = browser.sends(browser.opens("/account"), "/account/keys", **fields)
    assert page.status_code == 400
    assert text_of(page, f"//p[@id='key-{field}-error']") != []
    with world.app.app_context():
        assert db.session.scalars(select(ApiKey.name)).all() == ["taken"]
