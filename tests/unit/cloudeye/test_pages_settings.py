"""The form with all settings of a site, and files of sites, as a browser without script sees them."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest

from cloudeye.extensions import db
from cloudeye.models import AlertTarget, utcnow
from tests.integration.world import Person, World
from tests.unit.cloudeye.browser import Browser, browser_of, text_of, values_of

WINDOW = {"weekdays": ["mon", "sun"], "at": "02:00", "minutes": 60, "time_zone": "Europe/Berlin"}


@pytest.fixture
def browser(world: World) -> Browser:
    """The owner's browser."""
    return browser_of(world, "owner")


def settings_of(world: World, site: int) -> dict[str, Any]:
    owner = world.log_in("owner")
    rows = dict(zip(_numbers(owner), json.loads(owner.gets("sites/export").text)["sites"], strict=True))
    row: dict[str, Any] = rows[site]
    return row


def _numbers(owner: Person) -> list[int]:
    return [site["id"] for site in owner.gets("sites").json["data"]["sites"]]


EVERYTHING: dict[str, Any] = {
    "name": "Everything",
    "url": "https://example.org/",
    "tags": ["a", "b"],
    "interval": 300,
    "timeout": 2.5,
    "method": "POST",
    "headers": {"Authorization": "Bearer: x", "Accept": "*/*"},
    "body": "\n first\r\nsecond\nlast\n",
    "expected_statuses": "200,404",
    "keyword_present": " a\nb ",
    "keyword_absent": '"<x>"',
    "follow_redirects": False,
    "retries": 3,
    "maintenance": [WINDOW, {"start": "2026-12-24T21:00:00+00:00", "end": "2026-12-25T05:00:00+00:00"}],
    "paused": True,
    "alert_targets": [],
    "ignore_rules": {"selectors": ["#clock"], "patterns": ["a{2} b"]},
    "redirect_paths": ["/go?to={url}"],
}


@pytest.mark.parametrize("given", [{}, EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("name", ["owner", "admin"])
def test_a_form_that_is_sent_as_it_came_changes_nothing(world: World, given: dict[str, Any], name: str) -> None:
    site = world.log_in("owner").has_site(**given)
    before = settings_of(world, site)
    later = utcnow() + timedelta(hours=1)
    with world.changing_site(site) as row:
        row.next_check_at, row.body_digest = later, "b" * 64
    browser = browser_of(world, name)
    page = browser.opens(f"/sites/{site}/edit")
    if name == "admin" and given:
        assert "Bearer" not in page.text
    answer = browser.sends(page, f"/sites/{site}/edit")
    assert answer.status_code == 303, text_of(answer, "//*[contains(@class, 'problem')]")
    assert settings_of(world, site) == before
    with world.changing_site(site) as row:
        assert (row.next_check_at, row.body_digest) == (later, "b" * 64)


def test_all_settings_can_be_changed_with_the_form(world: World, browser: Browser) -> None:
    site = world.log_in("owner").has_site()
    with world.app.app_context():
        targets = [AlertTarget(owner_id=world.ids["owner"], name=f"t{n}", kind="slack", address="x") for n in (1, 2)]
        db.session.add_all(targets)
        db.session.commit()
        numbers = [target.id for target in targets]
    answer = browser.sends(
        browser.opens(f"/sites/{site}/edit"),
        f"/sites/{site}/edit",
        name="Changed",
        url="https://example.org/x",
        tags="one, two three",
        interval="120",
        timeout="2,5",
        method="PUT",
        headers="Accept: text/html\r\n\r\nX-Colon: a:b\r\n",
        body="one\r\ntwo",
        expected_statuses="200",
        keyword_present="Welcome",
        keyword_absent="Error",
        retries="2",
        selectors="#clock\r\n",
        patterns="[0-9]+ visitors",
        redirect_paths="/go?to={url}",
        alerts_to="some",
        targets=[str(numbers[1])],
        weekdays=["sun", "mon"],
        at="02:00",
        minutes="60",
        time_zone="Europe/Berlin",
        start="2026-12-24T22:00",
        end="2026-12-25T06:00",
        follow_redirects=[],
        paused="on",
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/sites/{site}"), text_of(
        answer, "//*[contains(@class, 'problem')]"
    )
    assert settings_of(world, site) == {
        "name": "Changed",
        "url": "https://example.org/x",
        "tags": ["one", "three", "two"],
        "interval": 120,
        "timeout": 2.5,
        "method": "PUT",
        "headers": {"Accept": "text/html", "X-Colon": "a:b"},
        "body": "one\ntwo",
        "expected_statuses": "200",
        "keyword_present": "Welcome",
        "keyword_absent": "Error",
        "follow_redirects": False,
        "retries": 2,
        "maintenance": [WINDOW, {"start": "2026-12-24T22:00:00+00:00", "end": "2026-12-25T06:00:00+00:00"}],
        "paused": True,
        "alert_targets": [numbers[1]],
        "ignore_rules": {"selectors": ["#clock"], "patterns": ["[0-9]+ visitors"]},
        "redirect_paths": ["/go?to={url}"],
    }


def test_a_window_that_comes_once_is_one_of_the_visitors_clock(world: World, browser: Browser) -> None:
    with world.changing_user("owner") as user:
        user.time_zone = "Asia/Shanghai"
    site = world.log_in("owner").has_site()
    page = browser.opens(f"/sites/{site}/edit")
    browser.sends(page, f"/sites/{site}/edit", start="2026-12-24T22:00", end="2026-12-25T06:00")
    (window,) = settings_of(world, site)["maintenance"]
    assert window["start"] == "2026-12-24T14:00:00+00:00"
    shown = text_of(browser.opens(f"/sites/{site}/edit"), "//label[input/@name='keep']")
    assert shown == ["Dec 24, 2026, 10:00:00 PM to Dec 25, 2026, 6:00:00 AM"]


def test_a_window_that_is_not_kept_goes(world: World, browser: Browser) -> None:
    site = world.log_in("owner").has_site(maintenance=EVERYTHING["maintenance"])
    browser.sends(browser.opens(f"/sites/{site}/edit"), f"/sites/{site}/edit", keep=["1"])
    assert settings_of(world, site)["maintenance"] == EVERYTHING["maintenance"][1:]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"interval": "x"}, "interval"),
        ({"interval": "60.5"}, "interval"),
        ({"timeout": "x"}, "timeout"),
        ({"timeout": "99"}, "timeout"),
        ({"headers": "no colon"}, "headers"),
        ({"headers": "A: x\r\nA: y"}, "headers"),
        ({"headers": "Host: x"}, "headers"),
        ({"body": "x"}, "body"),
        ({"selectors": "div:nth-child(2)"}, "ignore_rules"),
        ({"patterns": "("}, "ignore_rules"),
        ({"redirect_paths": "go"}, "redirect_paths"),
        ({"at": "02:00"}, "maintenance"),
        ({"start": "2026-12-24T22:00"}, "maintenance"),
        ({"tags": "x" * 41}, "tags"),
        ({"retries": "11"}, "retries"),
        ({"retries": ""}, "retries"),
        ({"expected_statuses": "many"}, "expected_statuses"),
    ],
)
def test_a_mistake_is_shown_where_it_is_and_nothing_is_changed(
    world: World, browser: Browser, change: dict[str, Any], field: str
) -> None:
    site = world.log_in("owner").has_site()
    before = settings_of(world, site)
    page = browser.sends(browser.opens(f"/sites/{site}/edit"), f"/sites/{site}/edit", name="Typed", **change)
    assert page.status_code == 400
    said = text_of(page, f"//*[@id='site-{field}-error']")
    assert said != []
    assert "Field may not be null." not in said
    assert values_of(page, "//input[@id='site-name']/@value") == ["Typed"]
    assert settings_of(world, site) == before
    mended = browser.sends(page, f"/sites/{site}/edit", **{**dict.fromkeys(change, ""), **_mended(change)})
    assert mended.status_code == 303, text_of(mended, "//*[contains(@class, 'problem')]")


def _mended(change: dict[str, Any]) -> dict[str, Any]:
    needed = {"url": "https://example.com/", "interval": "60", "retries": "0", "expected_statuses": "200"}
    return {name: value for name, value in needed.items() if name in change}


def test_what_somebody_else_changed_meanwhile_is_not_overwritten_unseen(world: World, browser: Browser) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    page = browser.opens(f"/sites/{site}/edit")
    owner.asks("PATCH", f"sites/{site}", {"retries": 5})
    late = browser.sends(page, f"/sites/{site}/edit", name="Late")
    assert late.status_code == 409
    assert settings_of(world, site)["retries"] == 5
    assert browser.sends(late, f"/sites/{site}/edit").status_code == 303
    assert settings_of(world, site)["name"] == "Late"


# -- files -----------------------------------------------------------------------------------------------------


def upload(browser: Browser, name: str, content: str, **fields: str) -> Any:
    page = browser.opens("/sites/import")
    (token,) = values_of(page, "//form[@action='/sites/import']/input[@name='csrf_token']/@value")
    data = {"csrf_token": token, "file": (io.BytesIO(content.encode()), name), **fields}
    return browser.client.post("/sites/import", data=data, headers=browser.headers, content_type="multipart/form-data")


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_file_goes_out_and_in_with_a_browser(world: World, browser: Browser, kind: str) -> None:
    owner = world.log_in("owner")
    owner.has_site(name="=1+1", tags=["a"])
    file = browser.opens(f"/sites/export?format={kind}")
    assert (file.status_code, file.headers["Content-Disposition"]) == (200, f"attachment; filename=sites.{kind}")
    mate = browser_of(world, "mate")
    tried = upload(mate, f"sites.{kind}", file.text, dry_run="on")
    assert text_of(mate.follows(tried), "//*[@role='status']")[0].startswith("The file is fine: it would add 1 ")
    assert text_of(mate.opens("/"), "//tbody//a[@class='name']") == []
    done = upload(mate, "somehow named", file.text)
    assert text_of(mate.follows(done), "//*[@role='status']") == ["1 sites were added; 0 were there already."]
    assert text_of(mate.opens("/"), "//tbody//a[@class='name']") == ["=1+1"]


def test_the_mistakes_of_a_file_are_listed(world: World, browser: Browser) -> None:
    page = upload(browser, "sites.csv", "name,url\nA,nonsense\nB,https://example.com/\nC,ftp://example.com/\n")
    assert page.status_code == 400
    said = text_of(page, "//ul[@class='problem']/li")
    assert [line[:12] for line in said] == ["line 2: url:", "line 4: url:"]
    assert text_of(browser.opens("/"), "//tbody//a[@class='name']") == []


def test_a_form_without_a_file_says_so(browser: Browser) -> None:
    page = upload(browser, "", "")
    assert (page.status_code, text_of(page, "//*[@id='import-file-error']")) == (400, ["Choose a file."])
