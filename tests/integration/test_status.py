"""What a status page shows to anybody, what it costs, and that it is the same for everybody; on both engines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from lxml import html
from sqlalchemy import insert
from werkzeug.test import TestResponse

from cloudeye.extensions import db
from cloudeye.models import CheckResult, HourlyResult, Site, SiteTag, StatusPage, utcnow
from cloudeye.preconditions import PUBLIC
from cloudeye.services.status import SHOWN
from tests.integration.checks import DAY, HOUR, MINUTE, NOW, add, checks_between, exact, roll_up
from tests.integration.world import World

KINDS = ("", ".json", "/badge.svg")
SECRET = "https://somebody:secret@hidden.example/path?token=secret"


def has_page(world: World, slug: str = "our-shop", **given: Any) -> None:
    values = {"title": "Our shop", "language": "en", **given}
    with world.app.app_context():
        db.session.add(StatusPage(owner_id=world.ids["owner"], slug=slug, **values))
        db.session.commit()


def has_sites(world: World, *sites: dict[str, Any], owner: str = "owner") -> list[int]:
    """Give somebody sites as sync leaves them, and return their numbers."""
    with world.app.app_context():
        made = []
        for given in sites:
            tags = given.pop("tags", [])
            values = {"name": "Example", "url": SECRET, "interval": 60, "state": "up", **given}
            site = Site(owner_id=world.ids[owner], headers={"Authorization": "secret"}, error="secret", **values)
            site.tag_rows = [SiteTag(tag=tag) for tag in tags]
            db.session.add(site)
            db.session.flush()
            made.append(site.id)
        db.session.commit()
        return made


def gets(world: World, path: str, **headers: str) -> TestResponse:
    return world.app.test_client().get(f"/status/{path}", headers=headers)


def shown(world: World, path: str = "our-shop.json") -> Any:
    answer = gets(world, path)
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


@pytest.fixture
def at_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is NOW for the pages."""
    monkeypatch.setattr("cloudeye.pages.public.utcnow", lambda: NOW)


# -- what it shows ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("at_now")
def test_uptimes_are_those_of_all_checks_rolled_up_or_not(world: World) -> None:
    first, second, third = has_sites(world, {}, {}, {"created_at": NOW})
    has_page(world)
    checks = {first: checks_between(NOW - 95 * DAY, NOW, 30 * MINUTE), second: checks_between(NOW - HOUR, NOW, MINUTE)}
    for site, those in checks.items():
        add(world, site, those)
    for _ in range(2):
        found = {site["id"]: (site["uptime_24h"], site["uptime_90d"]) for site in shown(world)["sites"]}
        for site, those in checks.items():
            hour = NOW.replace(minute=0, second=0, microsecond=0)
            assert found[site] == tuple(
                exact([check for check in those if check.at >= hour - length])["uptime"] for length in (DAY, 90 * DAY)
            )
        assert found[third] == (None, None)
        roll_up(world, NOW)


@pytest.mark.parametrize(
    ("states", "together"),
    [
        ([], "unknown"),
        (["unknown"], "unknown"),
        (["paused"], "unknown"),
        (["up", "unknown", "paused"], "up"),
        (["up", "maintenance"], "maintenance"),
        (["up", "maintenance", "down"], "down"),
    ],
)
def test_the_worst_state_is_that_of_all(world: World, states: list[str], together: str) -> None:
    now = utcnow()
    window = {"start": (now - HOUR).isoformat(), "end": (now + HOUR).isoformat()}
    kinds: dict[str, dict[str, Any]] = {
        "paused": {"paused": True, "state": "unknown"},
        "maintenance": {"maintenance": [window], "state": "down"},
    }
    has_sites(world, *({"state": state} if state not in kinds else dict(kinds[state]) for state in states))
    has_page(world)
    data = shown(world)
    assert data["page"]["state"] == together
    assert [site["state"] for site in data["sites"]] == states


def test_it_tells_since_when_a_site_is_down_and_what_maintenance_is_planned(world: World) -> None:
    since = datetime.fromisoformat("2026-11-21T20:00:00+00:00")
    start, end = utcnow() + DAY, utcnow() + 2 * DAY
    window = {"start": start.isoformat(), "end": end.isoformat()}
    later = {"start": (start + 9 * DAY).isoformat(), "end": (end + 9 * DAY).isoformat()}
    has_sites(
        world, {"state": "down", "state_since": since}, {"maintenance": [later, window]}, {"maintenance": [later]}
    )
    has_page(world)
    down, planned, far = shown(world)["sites"]
    assert (down["state"], down["since"], down["maintenance"]) == ("down", since.isoformat(), None)
    assert planned["maintenance"] == {"start": start.isoformat(), "end": end.isoformat()}
    assert far["maintenance"] is None
    page = html.fromstring(gets(world, "our-shop").text)
    assert [node.text for node in page.xpath("//*[@class='why']")] == ["down since Nov 21, 2026, 8:00:00\u202fPM (UTC)"]
    assert page.xpath("string(//*[@id='overall'])").strip() == "1 site is down"


@pytest.mark.parametrize("kind", KINDS)
def test_it_shows_names_and_nothing_of_how_a_site_is_asked(world: World, kind: str) -> None:
    has_sites(world, {"name": "<b>Shop</b> & co", "state": "down", "state_since": utcnow()})
    has_page(world, title="<i>Ours</i>")
    answer = gets(world, f"our-shop{kind}")
    assert "secret" not in answer.text
    assert "hidden.example" not in answer.text
    assert "<b>" not in answer.text or kind == ".json"
    assert "<i>" not in answer.text or kind == ".json"


def test_a_tag_chooses_and_other_peoples_sites_are_never_shown(world: World) -> None:
    mine = has_sites(world, {"name": "shop", "tags": ["shop"]}, {"name": "blog"})
    theirs = has_sites(world, {"name": "theirs", "tags": ["shop"]}, owner="mate")
    has_page(world)
    has_page(world, "tagged", tag="shop")
    assert [site["id"] for site in shown(world)["sites"]] == mine
    assert [site["name"] for site in shown(world, "tagged.json")["sites"]] == ["shop"]
    for path, status in (
        (f"tagged/{mine[0]}.svg", 200),
        (f"tagged/{mine[1]}.svg", 404),
        (f"our-shop/{mine[1]}.svg", 200),
        (f"our-shop/{theirs[0]}.svg", 404),
        (f"our-shop/{2**63}.svg", 404),
        (f"our-shop/{10**30}.svg", 404),
    ):
        assert gets(world, path).status_code == status, path


@pytest.mark.parametrize("slug", ["nothing", "no", "UPPER", "x" * 65, "a%00b", "our-shop%20", "%E4%B8%AD%E6%96%87"])
@pytest.mark.parametrize("kind", [*KINDS, "/1.svg"])
def test_what_is_not_there_is_a_404_that_may_be_kept(world: World, slug: str, kind: str) -> None:
    has_page(world)
    answer = gets(world, slug + kind)
    assert answer.status_code == 404
    assert answer.headers["Cache-Control"] == PUBLIC["Cache-Control"]
    assert "Vary" not in answer.headers
    assert "Set-Cookie" not in answer.headers


def test_a_page_of_somebody_whose_account_is_not_active_is_not_shown(world: World) -> None:
    has_page(world)
    with world.changing_user("owner") as user:
        user.active = False
    assert gets(world, "our-shop").status_code == 404


def test_a_page_is_in_its_own_language_whoever_asks(world: World) -> None:
    has_sites(world, {})
    has_page(world, language="zh_Hans")
    asked = gets(world, "our-shop", **{"Accept-Language": "en"})
    assert html.fromstring(asked.text).get("lang") == "zh-Hans"
    assert asked.headers["Content-Language"] == "zh-Hans"
    assert "正常" in asked.text
    assert "正常" in gets(world, "our-shop/badge.svg", **{"Accept-Language": "en"}).text


# -- the same for everybody ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_a_visitor_sends_makes_a_difference(world: World, kind: str) -> None:
    has_sites(world, {"state": "down", "state_since": utcnow()})
    has_page(world)
    owner = world.log_in("owner")
    plain = gets(world, f"our-shop{kind}")
    client = world.app.test_client()
    client.set_cookie("language", "zh_Hans")
    client.set_cookie("cloudeye_session", "nonsense")
    headers = {**owner.headers, "Accept-Language": "zh", "Accept": "application/json", "X-API-Key": "ce_x"}
    with world.statements() as sent:
        other = client.get(f"/status/our-shop{kind}?a=b", headers=headers)
    assert not any("user_sessions" in statement for statement in sent)
    assert (other.data, other.headers["ETag"]) == (plain.data, plain.headers["ETag"])
    for answer in (plain, other):
        assert answer.headers["Cache-Control"] == PUBLIC["Cache-Control"]
        assert "Vary" not in answer.headers
        assert "Set-Cookie" not in answer.headers


def test_the_description_of_the_api_may_be_kept_too(world: World) -> None:
    assert world.stranger().gets("/api/openapi.json").headers["Cache-Control"] == PUBLIC["Cache-Control"]


# -- what it costs ---------------------------------------------------------------------------------------------


def fill(world: World, numbers: list[int], hours: int) -> None:
    """Give sites hours that were added up, and a check since."""
    top = utcnow().replace(minute=0, second=0, microsecond=0)
    nothing = dict.fromkeys(("latency_ms", "dns_ms", "connect_ms", "tls_ms", "first_byte_ms", "total_ms"), 0.0)
    rows = [
        {"site_id": site, "hour": top - HOUR * n, "checks": 60, "down": 1, "maintenance": 0, "timed": 0, **nothing}
        for site in numbers
        for n in range(1, hours + 1)
    ]
    with world.app.app_context():
        for start in range(0, len(rows), 1000):
            db.session.execute(insert(HourlyResult), rows[start : start + 1000])
        db.session.execute(
            insert(CheckResult), [{"site_id": site, "checked_at": top, "state": "up"} for site in numbers]
        )
        db.session.query(Site).update({"rolled_until": top, "last_checked_at": top})
        db.session.commit()


@pytest.mark.parametrize(("kind", "most"), [("", 37), (".json", 37), ("/badge.svg", 13)])
def test_however_many_sites_there_are_a_page_takes_so_many_statements(world: World, kind: str, most: int) -> None:
    numbers = has_sites(world, *({"name": f"Site {n}"} for n in range(SHOWN + 50)))
    has_page(world)
    fill(world, numbers, hours=3)
    with world.statements() as sent:
        answer = gets(world, f"our-shop{kind}")
    assert answer.status_code == 200
    assert len(sent) <= most, sent
    if kind == ".json":
        data = answer.json["data"]
        assert [site["id"] for site in data["sites"]] == numbers[:SHOWN]
        assert data["page"]["more"] is True
        assert data["sites"][0]["uptime_24h"] == pytest.approx(1 - 3 / 181, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_has_it_already_costs_two_statements_until_something_changes(world: World, kind: str) -> None:
    (site,) = has_sites(world, {})
    has_page(world)
    tag = gets(world, f"our-shop{kind}").headers["ETag"]
    with world.statements() as sent:
        again = gets(world, f"our-shop{kind}", **{"If-None-Match": tag})
    assert (again.status_code, again.data, len(sent)) == (304, b"", 2)
    assert (again.headers["ETag"], again.headers["Cache-Control"]) == (tag, PUBLIC["Cache-Control"])
    with world.changing_site(site) as found:
        found.last_checked_at = utcnow()
    after = gets(world, f"our-shop{kind}", **{"If-None-Match": tag})
    assert (after.status_code, after.headers["ETag"] != tag) == (200, True)


def test_an_address_that_no_page_can_have_costs_nothing(world: World) -> None:
    with world.statements() as sent:
        assert gets(world, "No_Slug").status_code == 404
    assert sent == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Renamed"},
        {"state": "down"},
        {"state_since": NOW},
        {"paused": True},
        {"rolled_until": NOW},
        {"maintenance": [{"start": "2020-01-01T00:00:00+00:00", "end": "2050-01-01T00:00:00+00:00"}]},
    ],
)
def test_a_change_of_what_is_shown_is_a_new_tag(world: World, change: dict[str, Any]) -> None:
    (site,) = has_sites(world, {})
    has_page(world)
    before = gets(world, "our-shop").headers["ETag"]
    with world.changing_site(site) as found:
        for name, value in change.items():
            setattr(found, name, value)
    assert gets(world, "our-shop").headers["ETag"] != before


def test_the_tag_changes_with_the_hour_which_the_windows_begin_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_sites(world, {})
    has_page(world)
    tags = []
    for later in (timedelta(0), MINUTE, HOUR):
        monkeypatch.setattr("cloudeye.pages.public.utcnow", lambda later=later: NOW + later)
        tags.append(gets(world, "our-shop").headers["ETag"])
    assert tags[0] == tags[1] != tags[2]
