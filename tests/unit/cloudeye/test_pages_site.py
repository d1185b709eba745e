"""The page of a site, its settings, and files of sites, as a browser without script sees them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from lxml import html

from cloudeye.extensions import db
from cloudeye.models import CheckResult, Finding, Incident, PageVersion, Site, utcnow
from tests.integration.world import World
from tests.unit.cloudeye.browser import ACCEPT, Browser, browser_of, text_of, values_of

WINDOW = {"weekdays": ["mon", "sun"], "at": "02:00", "minutes": 60, "time_zone": "Europe/Berlin"}

NONE = "\u2013"  # stands where there is no figure


@pytest.fixture
def browser(world: World) -> Browser:
    """The owner's browser."""
    return browser_of(world, "owner")


def watched(world: World, **given: Any) -> int:
    """Give the owner a site that was watched for three hours, and was down for a while."""
    site = world.log_in("owner").has_site(**given)
    now = utcnow()
    with world.changing_site(site) as row:
        row.state, row.status_code, row.latency_ms, row.error = "down", 503, 81.6, "http_status: 503 <b>"
        row.state_since, row.last_checked_at = now - timedelta(minutes=5), now
        row.tamper_state, row.tamper_severity, row.tamper_since, row.page_hash = "changed", "critical", now, "b" * 64
        row.grade, row.score, row.open_findings, row.inspected_at = "B", 70, 2, now
        times = {"dns_ms": 1.5, "connect_ms": 10.0, "tls_ms": 20.0, "first_byte_ms": 30.0, "total_ms": 80.0}
        for minute in range(180):
            state = "down" if minute < 5 else "up"
            at = now - timedelta(minutes=minute)
            db.session.add(CheckResult(site_id=site, checked_at=at, state=state, latency_ms=50.0 + minute, **times))
        began = now - timedelta(minutes=5)
        db.session.add(Incident(site_id=site, owner_id=row.owner_id, started_at=began, cause="http_status: 503"))
        first = PageVersion(site_id=site, hash="a" * 64, seen_at=now - timedelta(days=1), status_code=200)
        changes = [
            {"kind": "script", "severity": "critical", "text": "New script: <script src=//evil.example>"},
            {"kind": "text", "severity": "low", "text": "A sentence changed"},
        ]
        second = PageVersion(
            site_id=site, hash="b" * 64, seen_at=now, status_code=200, severity="critical", changes=changes,
            diff="--- before\n+++ after\n@@ -1 +1 @@\n-Welcome\n+<b>Hacked</b>\n",
        )  # fmt: skip
        db.session.add_all([first, second])
        for code, severity in (("hsts_missing", "medium"), ("no_https", "high")):
            finding = Finding(
                site_id=site, code=code, subject="", kind="visit", severity=severity, evidence="<i>nothing</i>",
                first_seen_at=now, last_seen_at=now,
            )  # fmt: skip
            db.session.add(finding)
        db.session.flush()
        row.baseline_id = first.id
    return site


# -- the list --------------------------------------------------------------------------------------------------


def test_the_list_shows_page_grade_tags_and_pause(world: World, browser: Browser) -> None:
    site = watched(world, tags=["prod", "shop"])
    world.log_in("owner").has_site(name="Asleep", paused=True)
    page = browser.opens("/")
    row = f"//tr[@data-site='{site}']"
    assert text_of(page, f"{row}/td[4]") == ["changed"]
    assert text_of(page, f"{row}/td[5]") == ["B (2 findings)"]
    assert text_of(page, f"{row}//a[@class='tag']") == ["prod", "shop"]
    assert text_of(page, "//tr[@data-state='unknown']/td[1]") == ["paused"]
    assert text_of(page, "//ul[@class='counts']/li") == ["0 up", "1 down", "0 unknown", "1 paused"]
    assert values_of(page, f"{row}//a[@class='name']/@href") == [f"/sites/{site}"]


def test_the_list_is_filtered_and_its_pages_keep_the_filter(
    world: World, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudeye.pages.sites.PER_PAGE", 1)
    owner = world.log_in("owner")
    for name, tags in (("A shop", ["prod"]), ("B shop", ["prod", "中文"]), ("C shop", []), ("D", ["prod"])):
        owner.has_site(name=name, tags=tags)
    page = browser.opens("/?tag=prod&q=SHOP")
    assert text_of(page, "//tbody//a[@class='name']") == ["A shop"]
    assert text_of(page, "//nav[@class='pager']/span") == ["Page 1 of 2"]
    (following,) = values_of(page, "//nav[@class='pager']/a[@rel='next']/@href")
    assert text_of(browser.opens(following), "//tbody//a[@class='name']") == ["B shop"]
    assert values_of(page, "//input[@id='filter-tag']/@value") == ["prod"]
    (link,) = values_of(browser.opens("/?q=b+shop"), "//a[@class='tag'][text()='中文']/@href")
    assert text_of(browser.opens(link), "//tbody//a[@class='name']") == ["B shop"]
    assert text_of(browser.opens("/?q=nothing"), "//p[contains(@class, 'empty')]") == ["No site is found by this."]
    refused = browser.opens("/?state=great&q=shop")
    assert text_of(refused, "//*[@id='filter-state-error']") != []
    assert text_of(refused, "//nav[@class='pager']/span") == ["Page 1 of 3"]


# -- the page of a site ----------------------------------------------------------------------------------------


def test_the_page_of_a_site_shows_all_that_was_found(world: World, browser: Browser) -> None:
    site = watched(world, name="The <b>shop</b>", tags=["prod"])
    page = browser.opens(f"/sites/{site}")
    assert page.status_code == 200
    assert text_of(page, "//h1") == ["The <b>shop</b>"]
    assert text_of(page, "//section[@aria-labelledby='usability']//p[@class='why']") == ["http_status: 503 <b>"]
    cells = text_of(page, "//tr[@data-window='24h']/td")
    assert cells[1:3] == ["180", "5"]
    assert cells[0] == "97.222 %"
    assert text_of(page, "//tr[@data-window='90d']/td[2]") == ["180"]
    assert text_of(page, "//dl[@class='facts']/div/dt")[3:] == [
        "Name lookup", "Connection", "Encryption", "First byte", "All of it",
    ]  # fmt: skip
    assert text_of(page, "//dl[@class='facts']/div/dd")[3:] == ["1.5 ms", "10.0 ms", "20.0 ms", "30.0 ms", "80.0 ms"]
    assert text_of(page, "//li[@data-incident]//span[@class='faint']") == ["5 min 0 s · http_status: 503"]
    assert text_of(page, "//ul[@class='changes']/li") == [
        "critical New script: <script src=//evil.example>",
        "low A sentence changed",
    ]
    assert text_of(page, "//pre/span[@class='added']") == ["+<b>Hacked</b>"]
    assert text_of(page, "//pre/span[@class='gone']") == ["-Welcome"]
    assert values_of(page, "//li[@data-finding]/@data-finding") == ["no_https", "hsts_missing"]
    assert text_of(page, "//code[@class='evidence']") == ["<i>nothing</i>"] * 2
    terms = [int(text) for text in text_of(page, "//table[@class='sum']//td")]
    assert max(0, sum(terms[:-1])) == terms[-1]


@pytest.mark.parametrize("span", ["24h", "7d", "30d", "90d", "nonsense"])
def test_the_chart_is_drawn_for_any_time(world: World, browser: Browser, span: str) -> None:
    page = browser.opens(f"/sites/{watched(world)}?span={span}")
    (label,) = values_of(page, "//*[local-name()='svg']/@aria-label")
    assert label.startswith("Latency: The median latency lies between ")
    assert values_of(page, "//*[local-name()='svg']/*/@class").count("down") >= 1
    assert text_of(page, "//nav[@class='spans']/a[@aria-current]") == [span if span != "nonsense" else "24h"]


def test_a_site_that_was_never_looked_at_has_a_page_too(world: World, browser: Browser) -> None:
    page = browser.opens(f"/sites/{world.log_in('owner').has_site()}")
    assert page.status_code == 200
    assert text_of(page, "//figure") == ["There was no check in this time."]
    assert text_of(page, "//tr[@data-window='24h']/td") == [NONE, "0", "0", NONE, NONE, NONE]
    assert "It was not looked into yet." in page.text


@pytest.mark.parametrize("path", ["", "?span=7d", "/edit", "/remove"])
def test_the_pages_of_a_site_need_neither_script_nor_style_of_their_own(
    world: World, browser: Browser, path: str
) -> None:
    page = browser.opens(f"/sites/{watched(world, maintenance=[WINDOW])}{path}")
    assert page.status_code == 200
    tree = html.fromstring(page.text)
    assert tree.xpath("//script | //style | //@style | //@*[starts-with(name(), 'on')]") == []
    labelled = {label.get("for") for label in tree.xpath("//label[@for]")}
    for field in tree.xpath("//input[not(@type='hidden')] | //select | //textarea"):
        inside = field.xpath("ancestor::label")
        assert inside or field.get("id") in labelled, html.tostring(field)
    numbers = tree.xpath("//@id")
    assert len(numbers) == len(set(numbers))
    for described in tree.xpath("//@aria-labelledby"):
        assert described in numbers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/edit"),
        ("POST", "/edit"),
        ("POST", "/pause"),
        ("GET", "/remove"),
        ("POST", "/remove"),
        ("POST", "/findings/1"),
        ("POST", "/control"),
        ("POST", "/control/end"),
        ("POST", "/baseline"),
    ],
)
def test_another_users_site_has_no_page(world: World, method: str, path: str) -> None:
    site = world.log_in("owner").has_site(name="Secret name")
    mate = browser_of(world, "mate")
    (token,) = values_of(mate.opens("/account"), "//form[@action='/logout']/input[@name='csrf_token']/@value")
    data = {"csrf_token": token} if method == "POST" else None
    for number in (site, site + 1):
        answer = mate.client.open(f"/sites/{number}{path}", method=method, data=data, headers=ACCEPT)
        assert answer.status_code == 404
        assert "Secret name" not in answer.text
    stranger = Browser(world.app.test_client())
    assert stranger.client.get(f"/sites/{site}", headers=ACCEPT).status_code == 302


# -- what may be done about it ---------------------------------------------------------------------------------


def test_a_page_is_accepted_as_the_new_baseline(world: World, browser: Browser) -> None:
    site = watched(world)
    before = browser.opens(f"/sites/{site}")
    assert text_of(before, "//li[@data-version]//span[@class='state up']") == ["baseline"]
    page = browser.follows(browser.sends(before, f"/sites/{site}/baseline"))
    assert text_of(page, "//*[@role='status']") == ["Pages are compared with this one from now on."]
    with world.changing_site(site) as row:
        versions = {version.hash[0]: version for version in db.session.query(PageVersion).filter_by(site_id=site)}
        assert (row.baseline_id, row.tamper_state, row.body_digest) == (versions["b"].id, "unchanged", None)
        assert versions["b"].accepted_at is not None
        assert versions["a"].accepted_at is None
    assert text_of(page, "//section[@aria-labelledby='tamper']//ul[@class='changes']") == []
    again = browser.sends(before, f"/sites/{site}/baseline", version="0")
    assert again.status_code == 404


def test_a_page_of_another_site_is_no_baseline(world: World, browser: Browser) -> None:
    mine, other = watched(world), watched(world)
    with world.app.app_context():
        theirs = db.session.query(PageVersion.id).filter_by(site_id=other, hash="b" * 64).scalar()
    page = browser.opens(f"/sites/{mine}")
    assert browser.sends(page, f"/sites/{mine}/baseline", version=str(theirs)).status_code == 404


def test_a_site_is_paused_and_goes_on_with_a_button(world: World, browser: Browser) -> None:
    site = world.log_in("owner").has_site()
    page = browser.follows(browser.sends(browser.opens(f"/sites/{site}"), f"/sites/{site}/pause", paused="true"))
    assert text_of(page, "//*[@role='status']") == ["The site is paused."]
    assert text_of(page, "//form[contains(@action, 'pause')]/button") == ["Resume"]
    assert world.log_in("owner").gets(f"sites/{site}").json["data"]["site"]["paused"] is True
    browser.sends(page, f"/sites/{site}/pause", paused="false")
    assert world.log_in("owner").gets(f"sites/{site}").json["data"]["site"]["paused"] is False


def test_a_site_is_removed_after_a_question(world: World, browser: Browser) -> None:
    site = watched(world)
    answer = browser.sends(browser.opens(f"/sites/{site}/remove"), f"/sites/{site}/remove")
    assert text_of(browser.follows(answer), "//*[@role='status']") == ["Example was removed!"]
    with world.app.app_context():
        assert db.session.get(Site, site) is None


def test_a_finding_is_acknowledged_and_opened_again(world: World, browser: Browser) -> None:
    site = watched(world)
    page = browser.opens(f"/sites/{site}")
    action = values_of(page, "//li[@data-finding='no_https']//form/@action")[0]
    page = browser.follows(browser.sends(page, action, state="acknowledged", note="known since May"))
    assert "Note: known since May" in text_of(page, "//li[@data-finding='no_https']//span[@class='faint']")
    with world.app.app_context():
        finding = db.session.query(Finding).filter_by(code="no_https").one()
        assert (finding.state, finding.acknowledged_by) == ("acknowledged", world.ids["owner"])
    browser.sends(page, action, state="open")
    with world.app.app_context():
        assert db.session.query(Finding).filter_by(code="no_https").one().state == "open"


@pytest.mark.parametrize("sent", [{"state": "acknowledged", "note": "x" * 256}, {"note": "known"}])
def test_a_finding_is_left_alone_where_what_was_sent_does_not_fit(
    world: World, browser: Browser, sent: dict[str, str]
) -> None:
    site = watched(world)
    page = browser.opens(f"/sites/{site}")
    action = values_of(page, "//li[@data-finding='no_https']//form/@action")[0]
    (token,) = values_of(page, "//form[@action='/logout']/input[@name='csrf_token']/@value")
    answer = browser.client.post(action, data={"csrf_token": token, **sent}, headers=ACCEPT)
    assert answer.status_code == 400
    with world.app.app_context():
        finding = db.session.query(Finding).filter_by(code="no_https").one()
        assert (finding.state, finding.acknowledged_by) == ("open", None)


def test_a_finding_of_another_site_cannot_be_reached_through_ones_own(world: World, browser: Browser) -> None:
    mine, other = world.log_in("owner").has_site(), watched(world)
    with world.app.app_context():
        number = db.session.query(Finding.id).filter_by(site_id=other, code="no_https").scalar()
        db.session.get_one(Site, other).owner_id = world.ids["mate"]
        db.session.commit()
    (token,) = values_of(browser.opens("/account"), "//form[@action='/logout']/input[@name='csrf_token']/@value")
    data = {"csrf_token": token, "state": "acknowledged"}
    answer = browser.client.post(f"/sites/{mine}/findings/{number}", data=data, headers=ACCEPT)
    assert answer.status_code == 404


def test_how_control_is_proven_is_said_and_a_check_tells_what_is_missing(world: World) -> None:
    private = world.second_instance(APP_SYNC_ALLOW_PRIVATE="1")
    try:
        site = private.log_in("owner").has_site(url="http://127.0.0.1:9/")
        browser = browser_of(private, "owner")
        page = browser.opens(f"/sites/{site}")
        (address, token) = text_of(page, "//section[@aria-labelledby='control']//code")
        assert address == "http://127.0.0.1:9/.well-known/cloudeye.txt"
        assert len(token) == 40
        refused = browser.sends(page, f"/sites/{site}/control")
        assert refused.status_code == 400
        said = text_of(refused, "//section[@aria-labelledby='control']//ul[@role='alert']/li")
        assert said[0] == "Control of this site is not proven."
        assert said[1].startswith("http://127.0.0.1:9/.well-known/cloudeye.txt: ")
        with private.changing_site(site) as row:
            row.controlled_at, row.control_token, row.next_scan_at = utcnow(), token, utcnow()
        page = browser.opens(f"/sites/{site}")
        assert text_of(page, "//section[@aria-labelledby='control']//span[@class='state up']") == ["proven"]
        browser.sends(page, f"/sites/{site}/control/end")
        with private.changing_site(site) as row:
            assert (row.controlled_at, row.next_scan_at) == (None, None)
    finally:
        with private.app.app_context():
            db.engine.dispose()
