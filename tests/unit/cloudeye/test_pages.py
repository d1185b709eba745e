"""The pages, as a browser without script sees them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from lxml import html

from cloudeye.models import utcnow
from tests.integration.world import PASSWORD, World
from tests.unit.cloudeye.browser import ACCEPT, Browser, text_of


@pytest.fixture
def browser(world: World) -> Browser:
    """A browser without cookies."""
    return Browser(world.app.test_client())


def test_a_stranger_is_asked_to_log_in_and_then_sees_what_was_asked_for(browser: Browser) -> None:
    asked = browser.opens("/?page=1")
    assert asked.status_code == 302
    login = browser.logs_in("owner", asked.headers["Location"])
    assert (login.status_code, login.headers["Location"]) == (303, "/?page=1")
    assert browser.opens("/").status_code == 200
    assert browser.opens("/login").status_code == 302


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "evil", "/\n/x"])
def test_logging_in_never_leads_to_another_host(browser: Browser, target: str) -> None:
    page = browser.opens("/login")
    answer = browser.sends(page, "/login", email="owner@example.com", password=PASSWORD, next=target)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(("name", "password"), [("owner", "wrong"), ("nobody", PASSWORD), ("leaver", PASSWORD)])
def test_a_refused_login_says_so_and_keeps_the_address(browser: Browser, name: str, password: str) -> None:
    page = browser.logs_in(name, password=password)
    assert page.status_code == 401
    assert text_of(page, "//*[@role='alert']") == ["E-mail or password is wrong."]
    assert html.fromstring(page.text).xpath("//input[@id='login-email']/@value") == [f"{name}@example.com"]
    assert browser.opens("/").status_code == 302


@pytest.mark.parametrize("path", ["/login", "/logout", "/sites"])
def test_a_form_without_our_token_is_refused(browser: Browser, path: str) -> None:
    browser.logs_in("owner")
    answer = browser.client.post(path, data={"email": "owner@example.com"}, headers=ACCEPT)
    assert answer.status_code == 400
    assert "CSRF" in answer.text


def test_the_page_shows_ones_own_sites_with_their_state_the_bad_ones_first(world: World, browser: Browser) -> None:
    owner, mate = world.log_in("owner"), world.log_in("mate")
    good, bad = owner.has_site(name="<b>Good</b>"), owner.has_site(name="Bad")
    mate.has_site(name="Theirs")
    with world.changing_site(good) as site:
        site.state, site.status_code, site.latency_ms, site.last_checked_at = "up", 200, 12.4, utcnow()
    with world.changing_site(bad) as site:
        site.state, site.error, site.last_checked_at = "down", "connection refused", utcnow()
    browser.logs_in("owner")
    page = browser.opens("/")
    assert text_of(page, "//tbody/tr/td[1]") == ["down", "up"]
    assert text_of(page, "//tbody//*[@class='name']") == ["Bad", "<b>Good</b>"]
    assert text_of(page, "//tbody//*[@class='why']") == ["connection refused"]
    assert text_of(page, "//tbody/tr[2]/td[@class='number']") == ["200", "12 ms"]
    assert text_of(page, "//ul[@class='counts']/li") == ["1 up", "1 down", "0 unknown"]
    browser_of_admin = Browser(world.app.test_client())
    browser_of_admin.logs_in("admin")
    assert "Theirs" in text_of(browser_of_admin.opens("/"), "//tbody//*[@class='name']")


def test_the_page_is_shown_to_the_bearer_of_a_token_as_well(world: World) -> None:
    owner = world.log_in("owner")
    owner.has_site(name="Seen with curl")
    assert text_of(owner.gets("/"), "//tbody//*[@class='name']") == ["Seen with curl"]
    owner.headers = {"Authorization": "Bearer nonsense"}
    assert owner.gets("/").status_code == 302


def test_a_site_is_added_with_the_form(browser: Browser) -> None:
    browser.logs_in("owner")
    answer = browser.sends(browser.opens("/"), "/sites", name="New one", url="https://example.com/", interval="30")
    assert answer.status_code == 303
    page = browser.opens("/")
    assert text_of(page, "//*[@role='status']") == ["New one was added. Its first check is under way."]
    assert text_of(page, "//tbody//*[@class='name']") == ["New one"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("url", "http://127.0.0.1/"), ("url", "nonsense"), ("interval", "5"), ("interval", "x")],
)
def test_a_form_with_a_mistake_comes_back_with_what_was_typed(browser: Browser, field: str, value: str) -> None:
    browser.logs_in("owner")
    fields: dict[str, Any] = {"name": "New", "url": "https://example.com/", "interval": "30", field: value}
    page = browser.sends(browser.opens("/"), "/sites", **fields)
    assert page.status_code == 400
    assert text_of(page, f"//*[@id='site-{field}-error']") != []
    for name, typed in fields.items():
        (shown,) = html.fromstring(page.text).xpath(f"//input[@id='site-{name}']/@value")
        assert shown == typed or (name == "interval" and not typed)


def test_many_sites_come_in_pages(world: World, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudeye.pages.sites.PER_PAGE", 2)
    owner = world.log_in("owner")
    for number in range(5):
        owner.has_site(name=f"Site {number}")
    browser.logs_in("owner")
    assert text_of(browser.opens("/?page=3"), "//tbody//*[@class='name']") == ["Site 4"]
    assert text_of(browser.opens("/?page=2"), "//nav[@class='pager']/*") == ["Previous", "Page 2 of 3", "Next"]
    assert text_of(browser.opens("/?page=999999"), "//nav[@class='pager']/span") == ["Page 3 of 3"]
    assert text_of(browser.opens("/?page=-1"), "//nav[@class='pager']/span") == ["Page 1 of 3"]


def test_logging_out_ends_the_session(browser: Browser) -> None:
    browser.logs_in("owner")
    assert browser.sends(browser.opens("/"), "/logout").status_code == 303
    assert browser.opens("/").status_code == 302


def test_a_deactivated_user_is_out_at_once(world: World, browser: Browser) -> None:
    browser.logs_in("owner")
    with world.changing_user("owner") as user:
        user.active = False
    assert browser.opens("/").status_code == 302


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(browser: Browser) -> None:
    cookie = browser.logs_in("owner").headers["Set-Cookie"]
    assert cookie.startswith("cloudeye_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


@pytest.mark.parametrize("path", ["/login", "/api/docs"])
def test_a_page_uses_nothing_from_elsewhere_and_all_it_uses_is_there(browser: Browser, path: str) -> None:
    page = browser.opens(path)
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    used = [unescape(url) for url in re.findall(r'<(?:link|script|img)[^>]*?(?:href|src)="([^"]*)"', page.text)]
    assert used
    for url in used:
        assert url.startswith("/")
        with browser.client.get(url) as asset:
            assert asset.status_code == 200, url


def test_only_swagger_uis_own_files_are_sent(browser: Browser) -> None:
    for name in ("swagger-ui.js", "../flask_swagger_ui.py", "index.css"):
        assert browser.client.get(f"/api/docs/assets/{name}").status_code == 404


def test_no_word_in_a_path_of_the_api_is_taken_for_a_number(world: World) -> None:
    """Where a word stands beside numbers, only the word's own methods are allowed."""
    rules = list(world.app.url_map.iter_rules())
    adapter = world.app.url_map.bind("127.0.0.1")
    for path in {rule.rule for rule in rules if rule.rule.startswith("/api/v1/") and not rule.arguments}:
        own = {method for rule in rules if rule.rule == path for method in rule.methods or ()}
        assert set(adapter.allowed_methods(path)) == own, path


def test_the_api_is_described(world: World) -> None:
    described = world.stranger().gets("/api/openapi.json").json
    assert described["openapi"] == "3.1.0"
    served = {
        re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for rule in world.app.url_map.iter_rules()
        if rule.endpoint.startswith("health.") or rule.rule.startswith("/api/v1/")
    }
    assert set(described["paths"]) == served
    sites = described["paths"]["/api/v1/sites"]
    assert sites["get"]["security"] == sites["post"]["security"] == [{"bearer": []}, {"key": []}]
    assert {"201", "400", "401"} <= set(sites["post"]["responses"])
    assert described["components"]["schemas"]["NewSite"]["properties"]["interval"]["minimum"] == 20
    (parameter,) = described["paths"]["/api/v1/sites/{site_id}"]["parameters"]
    assert parameter["schema"]["type"] == "integer"


def test_answers_of_the_api_do_not_depend_on_cookies(world: World) -> None:
    assert "Vary" not in world.stranger().gets("/ping").headers


def test_an_error_of_a_page_is_a_page_for_browsers_and_an_envelope_for_programs(browser: Browser) -> None:
    browser.logs_in("owner")
    page = browser.client.post("/sites", headers=ACCEPT)
    assert text_of(page, "//h1") == ["400"]
    answer = browser.client.post("/sites", headers={"Accept": "application/json"})
    assert answer.json["status"] == "fail"
