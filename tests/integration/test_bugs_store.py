"""Findings as they are kept and graded, on both engines."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from cloudeye.extensions import db
from cloudeye.models import Finding, utcnow
from cloudeye.services.findings import store
from cloudeye.services.findings.catalogue import CATALOGUE, codes_of
from cloudeye.services.findings.found import Look, find
from cloudeye.services.findings.store import KEPT_FIXED, FindingChange
from tests.integration.bugs import VISIT, finding, recorded, row_of
from tests.integration.world import World


def test_a_finding_is_opened_fixed_and_opened_again(world: World) -> None:
    site = world.log_in("owner").has_site()
    assert recorded(world, site, find("hsts_missing")) == [("hsts_missing", "", "opened")]
    first = finding(world, site, "hsts_missing")
    assert recorded(world, site, find("hsts_missing", evidence="still")) == []
    assert recorded(world, site) == [("hsts_missing", "", "fixed")]
    assert finding(world, site, "hsts_missing").fixed_at is not None
    assert recorded(world, site) == []
    assert recorded(world, site, find("hsts_missing")) == [("hsts_missing", "", "reopened")]
    again = finding(world, site, "hsts_missing")
    assert (again.id, again.state, again.fixed_at) == (first.id, "open", None)
    assert again.first_seen_at == first.first_seen_at
    assert again.last_seen_at > first.last_seen_at


def test_what_changed_comes_worst_first(world: World) -> None:
    site = world.log_in("owner").has_site()
    with world.app.app_context(), db.engine.begin() as connection:
        look = Look((find("referrer_missing"), find("exposed_secret", "/.env"), find("hsts_missing")), VISIT)
        changes = store.record(connection, site, look, "visit", utcnow())
    assert changes == [
        FindingChange("exposed_secret", "/.env", "critical", "opened"),
        FindingChange("hsts_missing", "", "medium", "opened"),
        FindingChange("referrer_missing", "", "info", "opened"),
    ]


def test_only_a_look_of_the_kind_that_found_it_can_say_that_it_is_fixed(world: World) -> None:
    site = world.log_in("owner").has_site()
    recorded(world, site, find("hsts_missing"))
    recorded(world, site, find("exposed_repository", "/.git/HEAD"), kind="scan")
    assert recorded(world, site, find("hsts_missing"), looked=frozenset(CATALOGUE)) == []
    assert recorded(world, site, kind="scan", looked=frozenset(CATALOGUE)) == [
        ("exposed_repository", "/.git/HEAD", "fixed")
    ]
    assert finding(world, site, "hsts_missing").state == "open"


def test_a_look_that_could_not_see_it_fixes_nothing(world: World) -> None:
    site = world.log_in("owner").has_site()
    recorded(world, site, find("hsts_missing"), find("certificate_expired"))
    assert recorded(world, site, looked=frozenset()) == []
    assert recorded(world, site, looked=codes_of("certificate")) == [("certificate_expired", "", "fixed")]
    assert finding(world, site, "hsts_missing").state == "open"


def test_findings_of_one_code_are_told_apart_by_their_subject(world: World) -> None:
    site = world.log_in("owner").has_site()
    recorded(world, site, find("cookie_no_secure", "a"), find("cookie_no_secure", "b"), find("cookie_no_secure", "A"))
    assert recorded(world, site, find("cookie_no_secure", "b")) == [
        ("cookie_no_secure", "A", "fixed"),
        ("cookie_no_secure", "a", "fixed"),
    ]


@pytest.mark.parametrize("subject", ["x" * 500, "päth ✓ 🙂", "trailing   ", "a\x00b"])
def test_any_subject_can_be_kept_and_is_found_again(world: World, subject: str) -> None:
    site = world.log_in("owner").has_site()
    found = find("cookie_no_secure", subject, "\ud800" + subject)
    assert [change[2] for change in recorded(world, site, found)] == ["opened"]
    assert recorded(world, site, found) == []


def test_a_finding_that_another_release_knew_is_fixed_by_the_next_look(world: World) -> None:
    site = world.log_in("owner").has_site()
    now = utcnow()
    with world.app.app_context():
        times = {"first_seen_at": now, "last_seen_at": now}
        db.session.add(Finding(site_id=site, code="p3p", subject="", kind="visit", severity="low", **times))
        db.session.commit()
    shown = world.log_in("owner").gets(f"sites/{site}/bugs").json["data"]["findings"][0]
    assert (shown["code"], shown["points"]) == ("p3p", 0)
    assert recorded(world, site) == [("p3p", "", "fixed")]


def test_old_fixed_findings_are_dropped(world: World) -> None:
    site = world.log_in("owner").has_site()
    for turn in range(KEPT_FIXED // 50 + 2):
        recorded(world, site, *(find("cookie_no_secure", f"{turn}-{number}") for number in range(50)))
    with world.app.app_context():
        states = [row.state for row in db.session.scalars(select(Finding).where(Finding.site_id == site))]
    assert (states.count("fixed"), states.count("open")) == (KEPT_FIXED, 50)


def test_the_site_carries_its_grade_and_its_worst(world: World) -> None:
    site = world.log_in("owner").has_site()
    recorded(world, site)
    row = row_of(world, site)
    assert (row.grade, row.score, row.worst_severity, row.open_findings) == ("A+", 120, None, 0)
    version = row.version
    recorded(world, site, find("hsts_missing"), find("referrer_missing"))
    recorded(world, site, find("exposed_repository", "/.git/HEAD"), kind="scan")
    row = row_of(world, site)
    assert (row.grade, row.score, row.worst_severity, row.open_findings) == ("D", 30, "critical", 3)
    assert row.version == version  # a change of its owner's it is not


def test_a_site_that_is_removed_takes_its_findings_along(world: World) -> None:
    owner = world.log_in("owner")
    site, other = owner.has_site(), owner.has_site()
    recorded(world, site, find("hsts_missing"))
    recorded(world, other, find("hsts_missing"))
    assert owner.asks("DELETE", f"sites/{site}").status_code == 200
    with world.app.app_context():
        assert [row.site_id for row in db.session.scalars(select(Finding))] == [other]


def test_a_site_that_never_answered_has_no_grade_until_it_does(world: World) -> None:
    site = world.log_in("owner").has_site()
    recorded(world, site, looked=frozenset())
    assert row_of(world, site).grade is None
    recorded(world, site)
    assert row_of(world, site).grade == "A+"
    recorded(world, site, looked=frozenset())
    assert row_of(world, site).grade == "A+"  # what was known when it answered last
