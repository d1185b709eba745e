"""The pages on which admins look after people, and the languages of all pages."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from cloudeye.extensions import db
from cloudeye.models import User
from tests.integration.world import PASSWORD, World
from tests.unit.cloudeye.browser import ACCEPT, Browser, browser_of, link_in, mails, text_of, values_of

PROBLEM, NOTE = "//*[@role='alert']", "//*[@role='status']"
NAMES = "//tbody//*[@class='name']"


@pytest.fixture
def browser(world: World) -> Browser:
    """The admin's browser."""
    return browser_of(world, "admin")


def names(world: World) -> list[str]:
    """Return who has an account."""
    with world.app.app_context():
        return list(db.session.scalars(select(User.username).order_by(User.id)))


def test_people_are_for_admins(world: World) -> None:
    browser = Browser(world.app.test_client())
    browser.logs_in("owner")
    page = browser.opens("/")
    assert values_of(page, "//nav//a[@href='/people']/@href") == []
    (token,) = values_of(page, "(//input[@name='csrf_token']/@value)[1]")
    mate = world.ids["mate"]
    for path in ("/people", f"/people/{mate}", f"/people/{mate}/remove"):
        assert browser.opens(path).status_code == 403
        assert browser.client.post(path, data={"csrf_token": token}, headers=ACCEPT).status_code == 403
    assert "mate" in names(world)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["owner", "mate", "outsider", "admin", "leaver"]),
        ("email=OWNER@example.com", ["owner"]),
        ("active=false&email=&phone=", ["leaver"]),
        ("active=true&email=leaver@example.com", []),
        ("phone=13800138000", ["mate"]),
        ("sort=username", ["admin", "leaver", "mate", "outsider", "owner"]),
        ("sort=-id&per_page=2", ["leaver", "admin"]),
        ("sort=-id&per_page=2&page=3", ["owner"]),
    ],
)
def test_people_are_filtered_sorted_and_paged(world: World, browser: Browser, query: str, found: list[str]) -> None:
    with world.changing_user("mate") as mate:
        mate.phone = "13800138000"
    page = browser.opens(f"/people?{query}")
    assert page.status_code == 200
    assert text_of(page, NAMES) == found


def test_the_pages_of_a_list_keep_its_filter(browser: Browser) -> None:
    page = browser.opens("/people?active=true&per_page=2")
    assert text_of(page, "//nav[@class='pager']/span") == ["Page 1 of 2"]
    (link,) = values_of(page, "//a[@rel='next']/@href")
    assert text_of(browser.opens(link), NAMES) == ["outsider", "admin"]


def test_a_filter_with_a_mistake_says_so(browser: Browser) -> None:
    page = browser.opens("/people?sort=password_hash")
    assert page.status_code == 400
    assert text_of(page, "//p[@id='filter-sort-error']") != []


def test_somebody_who_is_added_gets_a_mail_and_chooses_a_password(world: World, browser: Browser) -> None:
    fields = {"username": "michael", "email": "Michael@Example.org", "phone": "+4930123456", "role": "admin"}
    done = browser.sends(browser.opens("/people"), "/people", **fields)
    assert text_of(browser.follows(done), NOTE) == ["Michael@Example.org was added!"]
    (mail,) = mails(world)
    new = Browser(world.app.test_client())
    new.sends(new.opens(link_in(mail)), "/reset", password="the word of michael")
    new.logs_in("Michael@Example.org", password="the word of michael")
    assert new.opens("/people").status_code == 200


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("email", "owner@EXAMPLE.com", "Sorry. That email already exists."),
        ("email", "nonsense", "Not a valid email address."),
        ("phone", "12", "Must be 11 digits or + and digits."),
        ("role", "king", "Must be one of: user, admin."),
    ],
)
def test_a_mistake_adds_nobody_and_is_shown_at_its_field(
    world: World, browser: Browser, field: str, value: str, said: str
) -> None:
    fields = {"username": "michael", "email": "michael@example.org", "phone": "", "role": "user", field: value}
    page = browser.sends(browser.opens("/people"), "/people", **fields)
    assert page.status_code == 400
    assert text_of(page, f"//p[@id='new-{field}-error']") == [said]
    assert values_of(page, "//input[@id='new-username']/@value") == ["michael"]
    assert (len(names(world)), mails(world)) == (5, [])


def test_somebody_made_inactive_is_out_at_once_and_back_when_active(world: World, browser: Browser) -> None:
    owner = Browser(world.app.test_client())
    owner.logs_in("owner")
    path = f"/people/{world.ids['owner']}"
    (token,) = values_of(browser.opens(path), f"(//form[@action='{path}']//input[@name='csrf_token']/@value)[1]")
    fields = {"csrf_token": token, "username": "owner", "email": "owner@example.com", "phone": "", "role": "user"}
    done = browser.client.post(path, data=fields, headers=ACCEPT)  # a box without a tick is not sent
    assert text_of(browser.follows(done), NOTE) == ["owner@example.com was changed."]
    assert not owner.is_in()
    assert owner.logs_in("owner").status_code == 401
    browser.sends(browser.opens(path), path, active="on")
    assert not owner.is_in(), "the session that ended does not come back"
    assert owner.logs_in("owner").status_code == 303


def test_a_role_is_changed_and_holds_at_once(world: World, browser: Browser) -> None:
    owner = Browser(world.app.test_client())
    owner.logs_in("owner")
    path = f"/people/{world.ids['owner']}"
    browser.sends(browser.opens(path), path, role="admin")
    assert owner.opens("/people").status_code == 200
    browser.sends(browser.opens(path), path, role="user")
    assert owner.opens("/people").status_code == 403


def test_the_last_admin_stays_one(world: World, browser: Browser) -> None:
    path = f"/people/{world.ids['admin']}"
    for action in (path, f"{path}/remove"):
        fields = {"role": "user"} if action == path else {}
        page = browser.sends(browser.opens(action), action, **fields)
        assert (page.status_code, text_of(page, PROBLEM)) == (409, ["This is the last active admin."])
    assert browser.opens("/people").status_code == 200


def test_somebody_is_removed_after_a_second_question(world: World, browser: Browser) -> None:
    owner = Browser(world.app.test_client())
    owner.logs_in("owner")
    world.log_in("owner").has_site(name="Theirs")
    (link,) = values_of(browser.opens(f"/people/{world.ids['owner']}"), "//a[@class='danger']/@href")
    asked = browser.opens(link)
    assert "owner" in names(world), "asking removes nobody"
    done = browser.sends(asked, link)
    assert text_of(browser.follows(done), NOTE) == ["owner@example.com was removed!"]
    assert "owner" not in names(world)
    assert not owner.is_in()
    assert text_of(browser.opens("/"), NAMES) == []


@pytest.mark.parametrize(("number", "status"), [("999999", 404), ("-1", 404)])
def test_an_unknown_person_is_no_page(browser: Browser, number: str, status: int) -> None:
    page = browser.opens(f"/people/{number}")
    assert page.status_code == status
    assert text_of(page, "//h1") == [str(status)]


# -- languages --------------------------------------------------------------------------------------------------


def test_a_stranger_switches_the_language_and_stays_on_the_page(world: World) -> None:
    browser = Browser(world.app.test_client())
    page = browser.opens("/login?next=/account")
    assert values_of(page, "/html/@lang") == ["en"]
    answer = browser.sends(page, "/language", language="zh_Hans")
    assert answer.headers["Location"] == "/login?next=/account"
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("language=zh_Hans")
    assert "HttpOnly" in cookie
    page = browser.follows(answer)
    assert values_of(page, "/html/@lang") == ["zh-Hans"]
    assert text_of(page, "//footer//button[@aria-current]") == ["简体中文"]
    back = browser.follows(browser.sends(page, "/language", language="en"))
    assert values_of(back, "/html/@lang") == ["en"]


def test_a_member_takes_the_language_along_with_the_account(world: World) -> None:
    browser = Browser(world.app.test_client())
    browser.logs_in("owner")
    browser.sends(browser.opens("/"), "/language", language="zh_Hans")
    elsewhere = Browser(world.app.test_client())
    elsewhere.logs_in("owner")
    assert values_of(elsewhere.opens("/"), "/html/@lang") == ["zh-Hans"]
    assert text_of(elsewhere.opens("/account"), "//select[@name='language']/option[@selected]") == ["简体中文"]


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/\\evil.example"])
def test_the_switch_leads_to_no_other_host_and_knows_no_other_language(world: World, target: str) -> None:
    browser = Browser(world.app.test_client())
    page = browser.opens("/login")
    answer = browser.sends(page, "/language", language="en", next=target)
    assert answer.headers["Location"] == "/"
    assert browser.sends(page, "/language", language="tlh").status_code == 400


def test_the_switch_leads_back_from_a_form_with_a_mistake(world: World) -> None:
    browser = Browser(world.app.test_client())
    assert "next" in browser.opens("/login").text
    wrong = browser.sends(browser.opens("/login"), "/login", email="owner@example.com", password="wrong")
    assert browser.sends(wrong, "/language", language="en").headers["Location"] == "/login"
    browser.logs_in("owner", password=PASSWORD)
    wrong = browser.sends(browser.opens("/"), "/sites", name="", url="", interval="")
    assert browser.sends(wrong, "/language", language="en").headers["Location"] == "/"
