"""The way in and out of the pages: sessions behind the cookie, registration, resets, links of mails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import event, select, update

from cloudeye.api.auth import EXPIRED_LINK, SENT
from cloudeye.extensions import db
from cloudeye.models import OneTimeToken, Revocation, User, UserSession, utcnow
from cloudeye.services import sessions
from tests.integration.world import PASSWORD, World, end
from tests.unit.cloudeye.browser import ACCEPT, Browser, link_in, mails, text_of, values_of

EMAIL, WORD, NEXT_WORD = "Newcomer@Example.org", "the newcomer's word", "the newcomer's next word"
PROBLEM = "//*[@role='alert']"
NOTE = "//*[@role='status']"


@pytest.fixture
def open_world(world: World) -> Iterator[World]:
    """The same database behind an instance where anyone may register."""
    other = world.second_instance(APP_OPEN_REGISTRATION="1")
    yield other
    end(other.app)


@pytest.fixture
def browser(world: World) -> Browser:
    """A browser without cookies."""
    return Browser(world.app.test_client())


def sessions_of(world: World, name: str) -> list[UserSession]:
    """Return where one of the cast is logged in, oldest first."""
    with world.app.app_context():
        mine = select(UserSession).where(UserSession.user_id == world.ids[name]).order_by(UserSession.created_at)
        return list(db.session.scalars(mine))


def registers(browser: Browser, email: str = EMAIL) -> None:
    """Fill in the form for a new account."""
    page = browser.opens("/register")
    sent = browser.sends(page, "/register", username="newcomer", email=email, password=WORD)
    assert text_of(browser.follows(sent), NOTE) == [SENT]


# -- the session behind the cookie ------------------------------------------------------------------------------


def test_a_login_is_a_session_that_says_by_what_program(world: World) -> None:
    browser = Browser(world.app.test_client(), **{"User-Agent": "Firefox of the owner"})
    browser.logs_in("owner")
    (opened,) = sessions_of(world, "owner")
    assert (opened.method, opened.agent) == ("password", "Firefox of the owner")
    assert opened.expires_at - opened.created_at == timedelta(days=30)


def test_logging_out_ends_the_session_so_that_a_copied_cookie_is_worth_nothing(world: World, browser: Browser) -> None:
    browser.logs_in("owner")
    thief = Browser(world.app.test_client())
    cookie = browser.client.get_cookie("cloudeye_session")
    assert cookie is not None
    thief.client.set_cookie("cloudeye_session", cookie.value)
    assert thief.is_in()
    session_id = sessions_of(world, "owner")[0].id
    browser.sends(browser.opens("/"), "/logout")
    assert not thief.is_in()
    assert sessions_of(world, "owner") == []
    with world.app.app_context():
        assert db.session.scalars(select(Revocation.session_id)).all() == [session_id]


def test_logging_in_once_more_leaves_no_session_behind(world: World, browser: Browser) -> None:
    browser.logs_in("owner")
    (token,) = values_of(browser.opens("/"), "(//input[@name='csrf_token']/@value)[1]")
    fields = {"csrf_token": token, "email": "mate@example.com", "password": PASSWORD}
    assert browser.client.post("/login", data=fields, headers=ACCEPT).status_code == 303
    assert (len(sessions_of(world, "owner")), len(sessions_of(world, "mate"))) == (0, 1)


def test_a_session_that_ends_elsewhere_ends_the_cookie_at_once(world: World, browser: Browser) -> None:
    browser.logs_in("owner")
    with world.app.app_context():
        sessions.end_sessions(db.session(), world.ids["owner"], access=timedelta(minutes=15))
        db.session.commit()
    assert not browser.is_in()


def test_a_session_lasts_as_long_as_it_is_used_and_ends_thirty_days_later(world: World, browser: Browser) -> None:
    browser.logs_in("owner")
    used = utcnow() - timedelta(days=29)
    with world.app.app_context():
        db.session.execute(update(UserSession).values(last_used_at=used, expires_at=used + timedelta(days=30)))
        db.session.commit()
    page = browser.opens("/account")
    assert page.status_code == 200
    assert "Max-Age=2592000" in page.headers["Set-Cookie"] or "Expires=" in page.headers["Set-Cookie"]
    (session,) = sessions_of(world, "owner")
    assert session.expires_at > utcnow() + timedelta(days=29)
    with world.app.app_context():
        db.session.execute(update(UserSession).values(expires_at=utcnow() - timedelta(seconds=1)))
        db.session.commit()
    assert not browser.is_in()


def test_a_page_asks_one_query_for_its_visitor_and_writes_once_a_minute(world: World, browser: Browser) -> None:
    browser.logs_in("owner")
    statements: list[str] = []

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        statements.append(statement.split()[0] + " " + ("user_sessions" if "user_sessions" in statement else "other"))

    with world.app.app_context():
        engine = db.engine
        db.session.execute(update(UserSession).values(last_used_at=utcnow() - timedelta(seconds=70)))
        db.session.commit()
    event.listen(engine, "before_cursor_execute", note)
    try:
        for _ in range(3):
            assert browser.opens("/email").status_code == 200
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert statements == ["SELECT user_sessions", "UPDATE user_sessions", *["SELECT user_sessions"] * 2]


def test_an_error_of_the_database_is_a_page_as_well(world: World, browser: Browser) -> None:
    browser.logs_in("owner")
    with world.app.app_context():
        db.session.execute(db.text("ALTER TABLE user_sessions RENAME TO elsewhere"))
        db.session.commit()
    try:
        page = browser.opens("/")
    finally:
        with world.app.app_context():
            db.session.execute(db.text("ALTER TABLE elsewhere RENAME TO user_sessions"))
            db.session.commit()
    assert page.status_code == 500
    assert text_of(page, "//h1") == ["500"]


def test_a_form_from_another_site_is_refused_whatever_it_carries(browser: Browser) -> None:
    page = browser.opens("/login")
    for said, status in (("cross-site", 400), ("same-site", 400), ("same-origin", 303)):
        browser.headers["Sec-Fetch-Site"] = said
        answer = browser.sends(page, "/login", email="owner@example.com", password=PASSWORD)
        assert answer.status_code == status, said


def test_forms_of_a_page_without_referer_work_over_https(world: World) -> None:
    browser = Browser(world.app.test_client(), **{"X-Forwarded-Proto": "https", "Sec-Fetch-Site": "same-origin"})
    page = browser.opens("/verify?token=x")
    assert browser.sends(page, "/verify", password="nonsense").status_code == 400
    assert text_of(browser.sends(page, "/verify", password="nonsense"), PROBLEM) != []


def test_whoever_tries_too_often_is_told_so_in_the_form(browser: Browser) -> None:
    page = browser.opens("/login")
    for _ in range(10):
        assert browser.sends(page, "/login", email="owner@example.com", password="wrong").status_code == 401
    late = browser.sends(page, "/login", email="owner@example.com", password=PASSWORD)
    assert late.status_code == 429
    assert int(late.headers["Retry-After"]) > 0
    assert text_of(late, PROBLEM) == ["Too many attempts. Please try again later."]
    assert values_of(late, "//input[@id='login-email']/@value") == ["owner@example.com"]


# -- registering ------------------------------------------------------------------------------------------------


def test_where_admins_make_the_accounts_nobody_registers(browser: Browser) -> None:
    assert browser.opens("/register").status_code == 404
    assert values_of(browser.opens("/login"), "//a[@href='/register']/@href") == []


def test_an_account_is_made_by_the_mail_and_the_password_together(open_world: World) -> None:
    browser = Browser(open_world.app.test_client())
    assert values_of(browser.opens("/login"), "//a[@href='/register']/@href") == ["/register"]
    registers(browser)
    (mail,) = mails(open_world)
    assert mail.recipient == EMAIL
    page = browser.opens(link_in(mail))
    assert page.status_code == 200
    assert browser.opens(link_in(mail)).status_code == 200, "opening the link changes nothing"
    wrong = browser.sends(page, "/verify", password="somebody else's word")
    assert wrong.status_code == 400
    assert text_of(wrong, PROBLEM) == ["This link has expired or was used before, or the password is wrong."]
    done = browser.sends(wrong, "/verify", password=WORD)
    assert text_of(browser.follows(done), NOTE) == [f"{EMAIL} was added!"]
    assert browser.is_in()
    again = browser.sends(browser.opens(link_in(mail)), "/verify", password=WORD)
    assert (again.status_code, text_of(again, PROBLEM)) == (400, text_of(wrong, PROBLEM))


def test_registering_looks_the_same_for_an_address_that_has_an_account(open_world: World) -> None:
    registers(Browser(open_world.app.test_client()), "owner@example.com")
    (mail,) = mails(open_world)
    assert "token" not in (mail.body or "")


def test_a_registration_takes_over_the_language_that_was_chosen(open_world: World) -> None:
    browser = Browser(open_world.app.test_client())
    browser.sends(browser.opens("/register"), "/language", language="zh_Hans")
    page = browser.opens("/register")
    browser.sends(page, "/register", username="newcomer", email=EMAIL, password=WORD)
    (mail,) = mails(open_world)
    assert mail.language == "zh_Hans"
    browser.sends(browser.opens(link_in(mail)), "/verify", password=WORD)
    with open_world.app.app_context():
        assert db.session.scalars(select(User.language).where(User.email == EMAIL)).one() == "zh_Hans"


@pytest.mark.parametrize(
    ("field", "value"), [("username", " "), ("email", "nonsense"), ("password", "short"), ("password", "x" * 257)]
)
def test_a_mistake_in_a_registration_is_shown_at_its_field(open_world: World, field: str, value: str) -> None:
    browser = Browser(open_world.app.test_client())
    fields = {"username": "newcomer", "email": EMAIL, "password": WORD, field: value}
    page = browser.sends(browser.opens("/register"), "/register", **fields)
    assert page.status_code == 400
    assert text_of(page, f"//p[@id='register-{field}-error']") != []
    (described,) = values_of(page, f"//input[@id='register-{field}'][@aria-invalid='true']/@aria-describedby")
    assert f"register-{field}-error" in described.split()
    assert values_of(page, "//input[@type='password']/@value") == [], "a password is never sent back"
    assert mails(open_world) == []


# -- resetting --------------------------------------------------------------------------------------------------


def test_a_forgotten_password_is_chosen_anew_and_ends_every_session(world: World, browser: Browser) -> None:
    elsewhere = Browser(world.app.test_client())
    elsewhere.logs_in("owner")
    sent = browser.sends(browser.opens("/reset"), "/reset", email="OWNER@example.com")
    assert text_of(browser.follows(sent), NOTE) == [SENT]
    (mail,) = mails(world)
    page = browser.opens(link_in(mail))
    short = browser.sends(page, "/reset", password="short")
    assert text_of(short, "//p[@id='reset-password-error']") == ["Length must be between 8 and 256."]
    assert elsewhere.is_in(), "nothing has changed yet"
    done = browser.sends(short, "/reset", password=NEXT_WORD)
    assert text_of(browser.follows(done), NOTE) == ["The password was changed."]
    assert not elsewhere.is_in()
    assert browser.logs_in("owner").status_code == 401
    assert browser.logs_in("owner", password=NEXT_WORD).status_code == 303
    again = browser.sends(browser.opens(link_in(mail)), "/reset", password=NEXT_WORD)
    assert (again.status_code, text_of(again, PROBLEM)) == (400, [EXPIRED_LINK])


def test_a_reset_lets_somebody_in_who_was_locked_out(world: World, browser: Browser) -> None:
    for _ in range(10):
        browser.logs_in("owner", password="wrong")
    assert browser.logs_in("owner").status_code == 429
    browser.sends(browser.opens("/reset"), "/reset", email="owner@example.com")
    browser.sends(browser.opens(link_in(mails(world)[-1])), "/reset", password=NEXT_WORD)
    assert browser.logs_in("owner", password=NEXT_WORD).status_code == 303


@pytest.mark.parametrize("email", ["nobody@example.com", "leaver@example.com"])
def test_asking_for_a_reset_does_not_tell_who_has_an_account(world: World, browser: Browser, email: str) -> None:
    sent = browser.sends(browser.opens("/reset"), "/reset", email=email)
    assert text_of(browser.follows(sent), NOTE) == [SENT]
    assert mails(world) == []


def test_resets_are_limited(world: World, browser: Browser) -> None:
    page = browser.opens("/reset")
    answers = [browser.sends(page, "/reset", email="owner@example.com") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [303] * 5 + [429]
    assert text_of(answers[-1], PROBLEM) == ["Too many attempts. Please try again later."]


def test_a_link_that_expired_changes_nothing(world: World, browser: Browser) -> None:
    browser.sends(browser.opens("/reset"), "/reset", email="owner@example.com")
    with world.app.app_context():
        db.session.execute(update(OneTimeToken).values(expires_at=utcnow() - timedelta(seconds=1)))
        db.session.commit()
    page = browser.sends(browser.opens(link_in(mails(world)[0])), "/reset", password=NEXT_WORD)
    assert (page.status_code, text_of(page, PROBLEM)) == (400, [EXPIRED_LINK])
    assert browser.logs_in("owner").status_code == 303


# -- pages with a token in their address ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/verify", "/reset", "/email"])
def test_an_address_with_a_token_is_kept_from_everybody(browser: Browser, path: str) -> None:
    page = browser.opens(f"{path}?token=a-token")
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    (form,) = values_of(page, f"//form[@action='{path}']/@method")
    assert form == "post"
    assert values_of(page, f"//form[@action='{path}']//input[@name='token']/@value") == ["a-token"]
    assert browser.opens(path).headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/verify", "/reset", "/email"])
def test_a_link_that_was_cut_off_says_so(browser: Browser, path: str) -> None:
    page = browser.opens(f"{path}?token={'x' * 101}")
    fields = {} if path == "/email" else {"password": NEXT_WORD}
    answer = browser.sends(page, path, **fields)
    assert (answer.status_code, text_of(answer, PROBLEM)) == (400, ["This link is not complete."])


@pytest.mark.parametrize("path", ["/verify", "/reset", "/email", "/register", "/language"])
def test_forms_of_strangers_carry_our_token_as_well(open_world: World, path: str) -> None:
    answer = open_world.app.test_client().post(path, data={"token": "x", "email": EMAIL}, headers=ACCEPT)
    assert answer.status_code == 400
    assert "CSRF" in answer.text
