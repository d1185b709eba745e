"""The pages of status pages, as a browser without script sees them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from cloudeye.extensions import db
from cloudeye.models import StatusPage
from tests.integration.world import World
from tests.unit.cloudeye.browser import ACCEPT, Browser, browser_of, text_of, values_of

PATH = "/status-pages"
SHOP = {"slug": "our-shop", "title": "Our <shop>", "tag": "", "language": "en"}


@pytest.fixture
def browser(world: World) -> Browser:
    """The owner's browser."""
    return browser_of(world, "owner")


def rows(world: World) -> list[StatusPage]:
    with world.app.app_context():
        return list(db.session.scalars(select(StatusPage).order_by(StatusPage.id)))


def adds(browser: Browser, **fields: Any) -> Any:
    return browser.sends(browser.opens(PATH), PATH, **{**SHOP, **fields})


def test_a_page_is_published_with_the_form_and_found_by_its_link(world: World, browser: Browser) -> None:
    assert text_of(browser.opens("/"), "//nav/a[@href='/status-pages']") == ["Status pages"]
    page = browser.follows(adds(browser))
    assert text_of(page, "//*[@role='status']") == ["Our <shop> was added!"]
    (link,) = values_of(page, "//li[@data-page]//a[@class='url']/@href")
    stranger = Browser(world.app.test_client())
    shown = stranger.opens(link)
    assert text_of(shown, "//h1") == ["Our <shop>"]
    assert text_of(shown, "//*[@id='overall']") == ["Nothing is known yet"]
    assert stranger.client.get("/status/our-shop/badge.svg").mimetype == "image/svg+xml"


def test_a_public_page_uses_nothing_from_elsewhere_and_no_script(world: World, browser: Browser) -> None:
    world.log_in("owner").has_site(name="Example")
    adds(browser)
    page = Browser(world.app.test_client()).opens("/status/our-shop")
    assert text_of(page, "//tbody//*[@class='name']") == ["Example"]
    assert values_of(page, "//script | //form | //iframe") == []
    used = values_of(page, "//link/@href | //img/@src")
    assert used
    assert all(url.startswith("/static/") for url in used)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "Set-Cookie" not in page.headers


@pytest.mark.parametrize(
    ("change", "field"),
    [({"slug": "Our Shop"}, "slug"), ({"slug": ""}, "slug"), ({"title": ""}, "title"), ({"tag": "two words"}, "tag")],
)
def test_a_mistake_is_shown_where_it_is(world: World, browser: Browser, change: dict[str, str], field: str) -> None:
    page = adds(browser, **change)
    assert page.status_code == 400
    assert text_of(page, f"//*[@id='new-{field}-error']") != []
    assert rows(world) == []


def test_an_address_that_is_taken_is_said_at_its_field(world: World, browser: Browser) -> None:
    adds(browser)
    page = adds(browser)
    assert text_of(page, "//*[@id='new-slug-error']") == ["There is a status page at this address already."]


def test_a_page_is_changed_and_removed(world: World, browser: Browser) -> None:
    adds(browser)
    path = f"{PATH}/{rows(world)[0].id}"
    fields = {"slug": "renamed", "tag": "shop", "language": "zh_Hans"}
    assert browser.sends(browser.opens(path), path, **fields).status_code == 303
    (row,) = rows(world)
    assert (row.slug, row.title, row.tag, row.language) == ("renamed", "Our <shop>", "shop", "zh_Hans")
    assert text_of(browser.opens(PATH), "//li[@data-page]//span[@class='faint']") == ["sites with the tag shop"]
    refused = browser.sends(browser.opens(path), path, slug="x")
    assert (refused.status_code, text_of(refused, "//*[@id='page-slug-error']") != []) == (400, True)
    browser.sends(browser.opens(path), path, tag="")
    assert rows(world)[0].tag is None
    browser.sends(browser.opens(PATH), f"{path}/remove")
    assert rows(world) == []


@pytest.mark.parametrize("below", ["", "/remove"])
@pytest.mark.parametrize("name", ["mate", "admin"])
def test_another_users_page_is_nobodys_business(world: World, browser: Browser, name: str, below: str) -> None:
    adds(browser)
    other = browser_of(world, name)
    (token,) = values_of(other.opens("/account"), "//form[@action='/logout']/input[@name='csrf_token']/@value")
    path = f"{PATH}/{rows(world)[0].id}{below}"
    assert other.client.post(path, data={"csrf_token": token}, headers=ACCEPT).status_code == 404
    assert text_of(other.opens(PATH), "//li[@data-page]") == []


def test_strangers_are_sent_to_the_login(world: World) -> None:
    answer = Browser(world.app.test_client()).opens(PATH)
    assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/login")
