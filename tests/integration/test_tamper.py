"""Baselines and versions of pages, in the database and through the API, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, func, select, update

from cloudeye.extensions import db
from cloudeye.models import PageBody, PageVersion, Site, SiteTag
from cloudeye.services.answer import Answer
from cloudeye.services.tamper import snapshots, store
from cloudeye.services.tamper.compare import Comparison
from cloudeye.services.tamper.page import Page, read
from cloudeye.services.tamper.rules import IgnoreRules
from tests.integration.world import Person, World

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CLEAN = "<title>Nova</title><h1>Welcome</h1><p>We sell lamps.</p><p>{} views</p>"
EVIL = '<script src="https://evil.example/a.js"></script>'


def page_of(html: str, rules: dict[str, list[str]] | None = None, **facts: Any) -> Page:
    """Read a page as sync does."""
    seen = {"status": 200, "headers": (("content-type", "text/html; charset=utf-8"),), "url": "https://example.com/"}
    answer = Answer(**{**seen, "body": html.encode(), "truncated": False, **facts})
    return read(answer, IgnoreRules.parse(rules))


class Watched:
    """A site whose page is seen now and then, a minute after the last time."""

    def __init__(self, world: World, engine: Engine, person: Person) -> None:
        self.world, self.engine, self.person = world, engine, person
        self.id = person.has_site()
        self.now = START

    def sees(self, html: str, rules: dict[str, list[str]] | None = None, **facts: Any) -> Comparison | None:
        """What is told of a page."""
        self.now += timedelta(minutes=1)
        with self.engine.begin() as connection:
            return store.record(connection, self.id, page_of(html, rules, **facts), self.now)

    def row(self) -> Site:
        """The site's row."""
        with self.world.app.app_context():
            return db.session.get_one(Site, self.id)

    def tells(self, path: str = "") -> Any:
        """What the API says."""
        answer = self.person.gets(f"sites/{self.id}/tamper{path}")
        assert answer.status_code == 200, answer.text
        return answer.json["data"]

    def accepts(self, **body: Any) -> Any:
        """Accept a version."""
        answer = self.person.asks("POST", f"sites/{self.id}/tamper/accept", body)
        assert answer.status_code == 200, answer.text
        return answer.json["data"]["tamper"]


@pytest.fixture
def engine_of(world: World) -> Engine:
    """The database as sync reaches it."""
    with world.app.app_context():
        return db.engine


@pytest.fixture
def watched(world: World, engine_of: Engine) -> Watched:
    """A site of the owner's."""
    return Watched(world, engine_of, world.log_in("owner"))


@pytest.fixture
def connection(engine_of: Engine) -> Iterator[Connection]:
    """A transaction that is committed at the end."""
    with engine_of.begin() as connection:
        yield connection


def test_the_first_page_becomes_the_baseline_and_nobody_is_told(watched: Watched) -> None:
    before = watched.tells()["tamper"]
    assert (before["state"], before["baseline"], before["version_id"]) == ("unknown", None, None)
    assert watched.sees(CLEAN.format(1)) is None
    tamper = watched.tells()["tamper"]
    assert (tamper["state"], tamper["severity"], tamper["changes"], tamper["diff"]) == ("unchanged", None, [], "")
    assert tamper["since"] == "2026-11-21T12:01:00+00:00"
    assert tamper["baseline"]["baseline"] is True
    assert tamper["baseline"]["status_code"] == 200


def test_what_moves_by_itself_is_neither_told_nor_kept(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    assert [watched.sees(CLEAN.format(number)) for number in (2, 3, 400)] == [None] * 3
    assert len(watched.tells("/versions")["versions"]) == 1


def test_a_change_is_told_once_with_the_gravest_first_and_a_diff(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    told = watched.sees(CLEAN.format(2).replace("lamps", "chairs") + EVIL)
    assert told is not None
    assert (told.severity, told.changes[0].kind, told.changes[-1].severity) == ("critical", "script", "low")
    assert watched.sees(CLEAN.format(3).replace("lamps", "chairs") + EVIL) is None
    tamper = watched.tells()["tamper"]
    assert (tamper["state"], tamper["severity"], tamper["version_id"]) == ("changed", "critical", told.version_id)
    assert tamper["changes"][0] == {
        "kind": "script",
        "severity": "critical",
        "text": "New script: https://evil.example/a.js",
    }
    assert tamper["diff"].splitlines()[:2] == ["--- baseline", "+++ page"]
    assert {"-We sell lamps.", "+We sell chairs.", "+[script] https://evil.example/a.js"} <= set(
        tamper["diff"].splitlines()
    )


def test_another_change_of_a_changed_page_is_told_too(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    first, second = watched.sees(CLEAN.format(1) + "<p>More</p>"), watched.sees(CLEAN.format(1) + EVIL)
    assert first is not None
    assert second is not None
    assert (first.severity, second.severity) == ("low", "critical")
    assert watched.row().tamper_since == START + timedelta(minutes=2)


def test_a_page_that_is_as_before_is_told_as_restored(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    watched.sees(CLEAN.format(1) + EVIL)
    told = watched.sees(CLEAN.format(2))
    assert told is not None
    assert (told.restored, told.severity, [one.kind for one in told.changes]) == (True, "info", ["restored"])
    assert watched.tells()["tamper"]["state"] == "unchanged"
    assert watched.sees(CLEAN.format(3)) is None
    again = watched.sees(CLEAN.format(4) + EVIL)
    assert again is not None
    assert again.severity == "critical"


def test_an_accepted_version_is_what_pages_are_compared_with(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    told = watched.sees(CLEAN.format(1) + "<p>New branch</p>")
    assert told is not None
    tamper = watched.accepts()
    assert (tamper["state"], tamper["baseline"]["id"]) == ("unchanged", told.version_id)
    assert tamper["baseline"]["accepted_at"] is not None
    assert watched.sees(CLEAN.format(5) + "<p>New branch</p>") is None
    back = watched.sees(CLEAN.format(6))
    assert back is not None
    assert back.changes[0].text == "Gone: New branch"


def test_an_older_version_can_be_accepted_and_the_page_is_judged_anew(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    first = watched.tells()["tamper"]["baseline"]["id"]
    watched.sees(CLEAN.format(1) + EVIL)
    watched.accepts()
    with watched.world.changing_site(watched.id) as site:
        site.body_digest = "0" * 64
    assert watched.accepts(version_id=first)["state"] == "unknown"
    assert watched.row().body_digest is None  # the next visit reads the page
    told = watched.sees(CLEAN.format(1) + EVIL)
    assert told is not None
    assert told.severity == "critical"


def test_what_cannot_be_accepted_is_refused(watched: Watched, world: World) -> None:
    path = f"sites/{watched.id}/tamper/accept"
    assert watched.person.asks("POST", path, {}).status_code == 409
    watched.sees(CLEAN.format(1))
    mate = Watched(world, watched.engine, world.log_in("mate"))
    mate.sees(CLEAN.format(1))
    others = mate.tells()["tamper"]["baseline"]["id"]
    assert watched.person.asks("POST", path, {"version_id": others}).status_code == 404
    assert watched.person.gets(f"sites/{watched.id}/tamper/versions/{others}").status_code == 404
    assert watched.person.asks("POST", path, {"version_id": 0}).status_code == 400
    assert watched.person.asks("POST", path, {"version": 1}).status_code == 400


def test_the_last_versions_and_the_baseline_are_kept(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    baseline = watched.tells()["tamper"]["baseline"]["id"]
    for word in "abcdefghijklmn":
        watched.sees(CLEAN.format(1) + f"<p>{word * 5}</p>")
    versions = watched.tells("/versions")["versions"]
    assert len(versions) == store.VERSIONS_KEPT + 1
    assert versions[-1]["id"] == baseline
    assert [version["changes"][0]["text"][-1] for version in versions[:-1]] == list("nmlkjihgfe")


def test_versions_come_in_parts(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    for word in ("one more", "and another"):
        watched.sees(CLEAN.format(1) + f"<p>{word}</p>")
    found, path = [], f"sites/{watched.id}/tamper/versions?limit=1"
    while path:
        data = watched.person.gets(path).json["data"]
        found += [version["id"] for version in data["versions"]]
        path = data["paging"]["next"]
    assert len(found) == 3
    assert found == sorted(found, reverse=True)


def test_a_version_shows_what_the_page_held(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    body = CLEAN.format(1) + EVIL + "é" * 200_000
    told = watched.sees(body, url="https://example.com/home", status=404)
    assert told is not None
    version = watched.tells(f"/versions/{told.version_id}")["version"]
    assert (version["url"], version["status_code"], version["severity"]) == (
        "https://example.com/home",
        404,
        "critical",
    )
    assert version["content"].startswith(CLEAN.format(1) + EVIL)
    assert version["content_complete"] is False
    assert version["size"] > 400_000
    assert "+[script] https://evil.example/a.js" in version["diff"]
    first = watched.tells(f"/versions/{watched.tells()['tamper']['baseline']['id']}")["version"]
    assert (first["content"], first["content_complete"], first["diff"]) == (CLEAN.format(1), True, "")


def test_the_same_body_is_kept_once_however_many_sites_show_it(world: World, watched: Watched) -> None:
    mate = Watched(world, watched.engine, world.log_in("mate"))
    for site in (watched, mate):
        site.sees(CLEAN.format(1))
        site.sees(CLEAN.format(1) + EVIL)
    with watched.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(PageBody)) == 2
        assert connection.scalar(select(func.count()).select_from(PageVersion)) == 4


def test_numbers_of_another_site_are_never_shown(world: World, watched: Watched) -> None:
    mate = Watched(world, watched.engine, world.log_in("mate"))
    watched.sees("<p>Balance 1234</p>")
    mate.sees("<p>Balance 5678</p>")
    baseline = mate.tells()["tamper"]["baseline"]["id"]
    assert mate.tells(f"/versions/{baseline}")["version"]["content"] == "<p>Balance 5678</p>"


def test_new_rules_apply_to_the_baseline_too(watched: Watched) -> None:
    watched.sees(CLEAN.format(1) + "<aside class=deal>Rug</aside>")
    assert watched.sees(CLEAN.format(1) + "<aside class=deal>Lamp</aside>") is not None
    rules = {"selectors": ["aside.deal"], "patterns": []}
    restored = watched.sees(CLEAN.format(1) + "<aside class=deal>Vase</aside>", rules)
    assert restored is not None
    assert restored.restored
    assert watched.sees(CLEAN.format(1) + "<aside class=deal>Desk</aside>", rules) is None


def test_a_page_weighed_against_what_somebody_replaced_meanwhile_is_weighed_again(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    changed = page_of(CLEAN.format(1) + "<p>New branch</p>")
    with watched.engine.begin() as connection:
        standing = store.standing_of(connection, watched.id, changed.digest)
    assert standing is not None
    weighed = store.weigh(standing, changed)
    assert weighed.comparison.alerts
    watched.sees(CLEAN.format(1) + "<p>New branch</p>")
    watched.accepts()
    with watched.engine.begin() as connection:
        assert store.record(connection, watched.id, changed, START + timedelta(hours=1), weighed) is None
    assert watched.tells()["tamper"]["state"] == "unchanged"


def test_a_weighed_page_is_written_as_one_that_was_not(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    page = page_of(CLEAN.format(1) + EVIL)
    with watched.engine.begin() as connection:
        standing = store.standing_of(connection, watched.id, page.digest)
        assert standing is not None
        told = store.record(connection, watched.id, page, START, store.weigh(standing, page))
        assert told is not None
        assert told.severity == "critical"
        again = store.standing_of(connection, watched.id, page.digest)
        assert again is not None
        assert again.body is None  # nothing is to be said, so nothing is read
        assert store.record(connection, watched.id, page, START, store.weigh(again, page)) is None


def test_a_body_that_nobody_unpacked_is_neither_baseline_nor_news(watched: Watched) -> None:
    assert watched.sees("", packed="br", truncated=True) is None
    assert watched.tells()["tamper"]["state"] == "unknown"
    watched.sees(CLEAN.format(1))
    assert watched.sees("", packed="br", truncated=True) is None
    assert watched.tells()["tamper"]["state"] == "unchanged"
    assert len(watched.tells("/versions")["versions"]) == 1


def test_a_site_that_is_gone_is_nobodys_news(connection: Connection) -> None:
    assert store.record(connection, 987_654, page_of(CLEAN.format(1)), START) is None
    assert store.standing_of(connection, 987_654) is None


def test_a_lost_body_makes_the_next_page_the_baseline(watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    with watched.engine.begin() as connection:
        connection.execute(delete(PageBody))
    assert watched.sees(CLEAN.format(1) + "<p>Other</p>") is None
    assert watched.sees(CLEAN.format(1)) is not None


def test_bodies_that_nobody_names_are_deleted_after_an_hour(world: World, watched: Watched) -> None:
    mate = Watched(world, watched.engine, world.log_in("mate"))
    mate.sees(CLEAN.format(1))
    watched.sees(CLEAN.format(1))
    for number in range(5):
        watched.sees(CLEAN.format(1) + "<p>other</p>" * number + EVIL + f"<p>{'x' * (number + 1)}</p>")
    assert watched.person.asks("DELETE", f"sites/{watched.id}").status_code == 200

    def kept() -> int:
        with watched.engine.begin() as connection:
            for _ in range(20):
                if not store.prune_bodies(connection, 2):
                    break
            else:
                raise AssertionError("it never comes to an end")
            return connection.scalar(select(func.count()).select_from(PageBody)) or 0

    assert kept() == 6  # what was written within the hour may be of a version on its way
    with watched.engine.begin() as connection:
        for name in connection.scalars(select(PageBody.hash)).all():
            old = datetime.now(UTC) - store.ORPHANS_KEPT - timedelta(minutes=1)
            connection.execute(update(PageBody).where(PageBody.hash == name).values(created_at=old))
    assert kept() == 1
    assert mate.sees(CLEAN.format(1) + EVIL) is not None


def test_a_body_that_is_seen_again_is_young_again(connection: Connection, watched: Watched) -> None:
    old = datetime.now(UTC) - timedelta(days=1)
    answer = page_of(CLEAN.format(1)).answer
    connection.execute(
        PageBody.__table__.insert().values(
            hash=snapshots.name(answer), body=snapshots.pack(answer), size=snapshots.size(answer), created_at=old
        )
    )
    store.record(connection, watched.id, page_of(CLEAN.format(1)), START)
    while store.prune_bodies(connection, 10):
        pass
    assert connection.scalar(select(PageBody.created_at)) > old


def test_sites_are_listed_by_state_severity_and_tag(world: World, watched: Watched) -> None:
    second = Watched(world, watched.engine, watched.person)
    foreign = Watched(world, watched.engine, world.log_in("mate"))
    for site in (watched, second, foreign):
        site.sees(CLEAN.format(1))
    watched.sees(CLEAN.format(1) + EVIL)
    foreign.sees(CLEAN.format(1) + EVIL)
    with world.app.app_context():
        db.session.add(SiteTag(site_id=second.id, tag="shop"))
        db.session.commit()

    def listed(person: Person, query: str = "") -> list[int]:
        answer = person.gets(f"tamper{query}")
        assert answer.status_code == 200, answer.text
        return [site["id"] for site in answer.json["data"]["sites"]]

    owner = watched.person
    assert listed(owner) == [watched.id, second.id]
    assert listed(owner, "?state=changed") == [watched.id]
    assert listed(owner, "?state=unchanged&tag=shop") == [second.id]
    assert listed(owner, "?severity=critical") == [watched.id]
    assert listed(owner, "?severity=low") == []
    assert listed(owner, "?sort=-id&per_page=1") == [second.id]
    assert listed(world.log_in("admin"), "?state=changed") == [watched.id, foreign.id]
    assert owner.gets("tamper?state=broken").status_code == 400


def test_other_peoples_pages_are_unknown(world: World, watched: Watched) -> None:
    watched.sees(CLEAN.format(1))
    outsider = world.log_in("outsider")
    version = watched.tells()["tamper"]["baseline"]["id"]
    for path in ("", "/versions", f"/versions/{version}"):
        assert outsider.gets(f"sites/{watched.id}/tamper{path}").status_code == 404
    assert outsider.asks("POST", f"sites/{watched.id}/tamper/accept", {}).status_code == 404
