"""Findings as the API shows them, of a site and across sites, on both engines."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from cloudeye.extensions import db
from cloudeye.models import Finding, SiteTag
from cloudeye.services.findings.catalogue import CATALOGUE
from cloudeye.services.findings.found import find
from tests.integration.bugs import finding, recorded, row_of
from tests.integration.world import World


def test_a_site_that_was_not_looked_at_has_no_grade(world: World) -> None:
    owner = world.log_in("owner")
    bugs = owner.gets(f"sites/{owner.has_site()}/bugs").json["data"]
    assert (bugs["bugs"]["grade"], bugs["bugs"]["score"], bugs["bugs"]["terms"], bugs["findings"]) == (
        None,
        None,
        [],
        [],
    )


def test_a_sites_bugs_show_the_arithmetic_and_the_worst_first(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    recorded(
        world,
        site,
        find("referrer_missing"),
        find("cookie_no_secure", "b", "Set-Cookie: b"),
        find("cookie_no_secure", "a"),
        find("certificate_expired", evidence="gone"),
    )
    data = owner.gets(f"sites/{site}/bugs").json["data"]
    bugs, findings = data["bugs"], data["findings"]
    assert [(one["code"], one["subject"]) for one in findings] == [
        ("certificate_expired", ""),
        ("cookie_no_secure", "a"),
        ("cookie_no_secure", "b"),
        ("referrer_missing", ""),
    ]
    assert [(term["code"], term["points"]) for term in bugs["terms"]] == [
        ("certificate_expired", -50),
        ("cookie_no_secure", -20),
    ]
    assert bugs["start"] + sum(term["points"] for term in bugs["terms"]) == bugs["score"] == 30
    assert (bugs["grade"], bugs["worst_severity"], bugs["open_findings"]) == ("D", "critical", 4)
    entry = CATALOGUE["certificate_expired"]
    worst = findings[0]
    assert (worst["severity"], worst["evidence"], worst["state"]) == ("critical", "gone", "open")
    assert (worst["title"], worst["remedy"], worst["reference"]) == (entry.title, entry.remedy, entry.reference)
    assert data["paging"]["total"] == 4


def test_the_bonus_is_part_of_the_arithmetic(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    recorded(world, site, find("version_disclosed", "server"))
    bugs = owner.gets(f"sites/{site}/bugs").json["data"]["bugs"]
    assert bugs["start"] + sum(term["points"] for term in bugs["terms"]) == bugs["score"] == 115
    assert bugs["grade"] == "A+"


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("", ["certificate_expired", "hsts_missing", "referrer_missing"]),
        ("?state=open", ["certificate_expired", "referrer_missing"]),
        ("?state=fixed", ["hsts_missing"]),
        ("?state=acknowledged", []),
        ("?severity=info", ["referrer_missing"]),
        ("?severity=critical&state=open", ["certificate_expired"]),
        ("?per_page=1&page=2", ["hsts_missing"]),
    ],
)
def test_a_sites_findings_are_filtered(world: World, query: str, codes: list[str]) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    recorded(world, site, find("hsts_missing"))
    recorded(world, site, find("referrer_missing"), find("certificate_expired"))
    answer = owner.gets(f"sites/{site}/bugs{query}")
    assert [one["code"] for one in answer.json["data"]["findings"]] == codes


@pytest.mark.parametrize("query", ["?state=closed", "?severity=bad", "?page=0", "?colour=red"])
def test_a_filter_that_is_none_is_refused(world: World, query: str) -> None:
    owner = world.log_in("owner")
    assert owner.gets(f"sites/{owner.has_site()}/bugs{query}").status_code == 400
    if "page" not in query:
        assert owner.gets(f"bugs{query}").status_code == 400


def test_a_finding_is_acknowledged_with_a_note_and_stays_so_while_it_is_seen(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    recorded(world, site, find("hsts_missing"), find("csp_missing"))
    number = finding(world, site, "hsts_missing").id
    answer = owner.asks("PATCH", f"sites/{site}/bugs/{number}", {"state": "acknowledged", "note": "next week"})
    shown = answer.json["data"]["finding"]
    assert (answer.status_code, shown["state"], shown["note"]) == (200, "acknowledged", "next week")
    assert shown["acknowledged_by"] == world.ids["owner"]
    assert recorded(world, site, find("hsts_missing"), find("csp_missing")) == []
    assert finding(world, site, "hsts_missing").state == "acknowledged"
    row = row_of(world, site)
    assert (row.open_findings, row.score) == (1, 55)  # it costs all the same
    # Fixed, and seen again: that is news.
    assert recorded(world, site, find("csp_missing")) == [("hsts_missing", "", "fixed")]
    assert recorded(world, site, find("csp_missing"), find("hsts_missing")) == [("hsts_missing", "", "reopened")]
    again = finding(world, site, "hsts_missing")
    assert (again.state, again.note, again.acknowledged_by, again.acknowledged_at) == ("open", None, None, None)


def test_an_acknowledgement_can_be_taken_back(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    recorded(world, site, find("hsts_missing"))
    path = f"sites/{site}/bugs/{finding(world, site, 'hsts_missing').id}"
    owner.asks("PATCH", path, {"state": "acknowledged", "note": "known"})
    shown = owner.asks("PATCH", path, {"state": "open"}).json["data"]["finding"]
    assert (shown["state"], shown["note"], shown["acknowledged_at"]) == ("open", None, None)
    assert row_of(world, site).open_findings == 1


def test_what_is_fixed_cannot_be_acknowledged(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    recorded(world, site, find("hsts_missing"))
    recorded(world, site)
    path = f"sites/{site}/bugs/{finding(world, site, 'hsts_missing').id}"
    for state in ("acknowledged", "open"):
        answer = owner.asks("PATCH", path, {"state": state})
        assert (answer.status_code, answer.json["message"]) == (409, "This finding is fixed.")
    assert finding(world, site, "hsts_missing").state == "fixed"


@pytest.mark.parametrize(
    "body", [{}, {"state": "fixed"}, {"note": "alone"}, {"state": "open", "note": "x" * 256}, {"state": "open", "a": 1}]
)
def test_a_change_that_is_none_is_refused(world: World, body: dict[str, Any]) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    recorded(world, site, find("hsts_missing"))
    path = f"sites/{site}/bugs/{finding(world, site, 'hsts_missing').id}"
    assert owner.asks("PATCH", path, body).status_code == 400


def test_a_finding_belongs_to_its_site(world: World) -> None:
    owner = world.log_in("owner")
    site, other = owner.has_site(), owner.has_site()
    recorded(world, site, find("hsts_missing"))
    number = finding(world, site, "hsts_missing").id
    for path in (f"sites/{other}/bugs/{number}", f"sites/{site}/bugs/999999"):
        assert owner.asks("PATCH", path, {"state": "acknowledged"}).status_code == 404
    assert finding(world, site, "hsts_missing").state == "open"


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("GET", "bugs", None),
        ("PATCH", "bugs/{number}", {"state": "acknowledged"}),
        ("GET", "control", None),
        ("POST", "control", None),
        ("DELETE", "control", None),
        ("POST", "scan", None),
    ],
)
def test_another_users_site_is_as_unknown_as_none(world: World, method: str, suffix: str, body: Any) -> None:
    site = world.log_in("owner").has_site()
    recorded(world, site, find("hsts_missing"))
    number = finding(world, site, "hsts_missing").id
    answer = world.log_in("outsider").asks(method, f"sites/{site}/{suffix.format(number=number)}", body)
    assert (answer.status_code, answer.json["message"]) == (404, "Site does not exist")


TAGGED = ["b cookie_no_secure", "b cookie_no_secure", "b csp_missing"]


@pytest.fixture
def three_sites(world: World) -> dict[str, int]:
    """Two sites of the owner's, of which one is tagged shop, and one of the mate's."""
    owner, mate = world.log_in("owner"), world.log_in("mate")
    sites = {"a": owner.has_site(name="a"), "b": owner.has_site(name="b"), "c": mate.has_site(name="c")}
    with world.app.app_context():
        db.session.add(SiteTag(site_id=sites["b"], tag="shop"))
        db.session.add(SiteTag(site_id=sites["c"], tag="shop"))
        db.session.commit()
    recorded(world, sites["a"], find("hsts_missing"), find("referrer_missing"))
    recorded(world, sites["a"], find("hsts_missing"))
    recorded(world, sites["b"], find("csp_missing"), find("cookie_no_secure", "z"), find("cookie_no_secure", "y"))
    recorded(world, sites["c"], find("csp_missing"))
    return sites


@pytest.mark.parametrize(
    ("name", "query", "expected"),
    [
        ("owner", "", ["a hsts_missing", "a referrer_missing", *TAGGED]),
        ("owner", "?state=open", ["a hsts_missing", *TAGGED]),
        ("owner", "?state=fixed", ["a referrer_missing"]),
        ("owner", "?severity=info", ["a referrer_missing"]),
        ("owner", "?tag=shop&state=open", TAGGED),
        ("owner", "?tag=nothing", []),
        ("mate", "", ["c csp_missing"]),
        ("outsider", "", []),
        ("admin", "?severity=medium&tag=shop", [*TAGGED, "c csp_missing"]),
    ],
)  # fmt: skip
def test_findings_are_listed_across_ones_sites(
    world: World, three_sites: dict[str, int], name: str, query: str, expected: list[str]
) -> None:
    answer = world.log_in(name).gets(f"bugs{query}")
    assert answer.status_code == 200
    found = answer.json["data"]["findings"]
    assert [f"{one['name']} {one['code']}" for one in found] == expected
    assert all(three_sites[one["name"]] == one["site_id"] for one in found)


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_the_list_goes_on_where_it_ended(world: World, three_sites: dict[str, int], limit: int) -> None:
    owner = world.log_in("owner")
    path, seen = f"bugs?limit={limit}", []
    while path:
        data = owner.gets(path).json["data"]
        assert len(data["findings"]) <= limit
        seen += [(one["name"], one["code"], one["subject"]) for one in data["findings"]]
        path = data["paging"]["next"]
    assert seen == [
        ("a", "hsts_missing", ""),
        ("a", "referrer_missing", ""),
        ("b", "cookie_no_secure", "y"),
        ("b", "cookie_no_secure", "z"),
        ("b", "csp_missing", ""),
    ]


def test_a_list_goes_on_though_its_last_finding_is_gone(world: World, three_sites: dict[str, int]) -> None:
    owner = world.log_in("owner")
    path = owner.gets("bugs?limit=1").json["data"]["paging"]["next"]
    with world.app.app_context():
        db.session.delete(db.session.scalars(select(Finding).where(Finding.code == "hsts_missing")).one())
        db.session.commit()
    assert [one["code"] for one in owner.gets(path).json["data"]["findings"]] == ["referrer_missing"]
    assert owner.gets("bugs?cursor=x").status_code == 400


def test_a_key_needs_the_scope_of_bugs(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    recorded(world, site, find("hsts_missing"))
    made = owner.asks("POST", "auth/keys", {"name": "robot", "scopes": ["bugs:read"]})
    robot = world.person("owner")
    robot.headers = {"X-API-Key": made.json["data"]["secret"]}
    assert robot.gets("bugs").status_code == 200
    assert robot.gets(f"sites/{site}/bugs").status_code == 200
    number = finding(world, site, "hsts_missing").id
    assert robot.asks("PATCH", f"sites/{site}/bugs/{number}", {"state": "open"}).status_code == 403
    assert robot.gets("sites").status_code == 403
