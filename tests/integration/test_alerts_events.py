"""The history of what happened, over the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from cloudeye.extensions import db
from cloudeye.models import Event, Site, utcnow
from cloudeye.services import events
from tests.integration.world import Person, World


def happens(world: World, site_id: int, kind: str = "down", *, owner: str = "owner", **given: Any) -> str:
    """Add an event to a site; return its name."""
    with world.app.app_context():
        said = {"site_id": site_id, "owner_id": world.ids[owner], "at": utcnow() - timedelta(seconds=5)}
        name = events.add(db.session.connection(), kind=kind, **said, **given)
        db.session.commit()
        return name


def seen(person: Person, path: str) -> list[str]:
    answer = person.gets(path)
    assert answer.status_code == 200, answer.text
    return [event["id"] for event in answer.json["data"]["events"]]


def test_events_are_listed_newest_first_with_what_was_said(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site(name="Shop")
    first, second = happens(world, site, cause="timeout"), happens(world, site, "page", severity="high")
    assert seen(owner, "events") == seen(owner, f"sites/{site}/events") == [second, first]
    event = owner.gets("events").json["data"]["events"][1]
    assert {name: event[name] for name in ("site_id", "site_name", "kind", "type", "severity", "what", "told")} == {
        "site_id": site, "site_name": "Shop", "kind": "down", "type": "site.down", "severity": None,
        "what": "Shop is down: timeout", "told": False,
    }  # fmt: skip
    assert event["details"] == {"cause": "timeout"}
    with world.app.app_context():
        db.session.execute(update(Event).values(dispatch_after=None))
        db.session.commit()
    assert owner.gets("events").json["data"]["events"][1]["told"] is True


def test_what_is_kept_in_the_history_alone_was_told_to_nobody(world: World) -> None:
    owner = world.log_in("owner")
    happens(world, owner.has_site(), "page", severity="high", told=False)
    assert [event["told"] for event in owner.gets("events").json["data"]["events"]] == [False]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("kind=page", ["page of a"]),
        ("severity=high", ["finding of b", "page of a"]),
        ("severity=high&kind=finding", ["finding of b"]),
        ("tag=web", ["page of a", "down of a"]),
        ("tag=none", []),
        ("site_id={b}", ["finding of b"]),
        ("site_id={theirs}", []),
        ("site_id=9223372036854775807", []),
        ("", ["finding of b", "page of a", "down of a"]),
    ],
)
def test_events_are_filtered(world: World, query: str, expected: list[str]) -> None:
    owner, mate = world.log_in("owner"), world.log_in("mate")
    a, b = owner.has_site(name="a", tags=["web"]), owner.has_site(name="b")
    theirs = mate.has_site(name="theirs", tags=["web"])
    names = {
        happens(world, a): "down of a",
        happens(world, a, "page", severity="high"): "page of a",
        happens(world, theirs, owner="mate"): "down of theirs",
        happens(world, b, "finding", severity="high", code="no_https", change="opened"): "finding of b",
    }
    assert [names[name] for name in seen(owner, "events?" + query.format(b=b, theirs=theirs))] == expected


def test_a_user_sees_their_own_and_an_admin_all(world: World) -> None:
    site = world.log_in("owner").has_site()
    name = happens(world, site)
    assert seen(world.log_in("mate"), "events") == []
    assert world.log_in("mate").gets(f"sites/{site}/events").status_code == 404
    assert seen(world.log_in("admin"), "events") == seen(world.log_in("admin"), f"sites/{site}/events") == [name]


@pytest.mark.parametrize("path", ["events", "sites/{site}/events"])
def test_the_history_is_read_part_by_part_while_more_happens(world: World, path: str) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    names = [happens(world, site) for _ in range(7)]
    link: str | None = f"/api/v1/{path.format(site=site)}?limit=3&kind=down"
    read: list[str] = []
    while link:
        answer = owner.asks("GET", link)
        read += [event["id"] for event in answer.json["data"]["events"]]
        link = answer.json["data"]["paging"]["next"]
        happens(world, site)
    assert read == names[::-1]


@pytest.mark.parametrize("cursor", ["x", "1", "1.0", "-1.5", "1.5x"])
def test_a_cursor_that_is_none_is_refused(world: World, cursor: str) -> None:
    assert world.log_in("owner").gets(f"events?cursor={cursor}").status_code == 400


def test_events_go_with_their_site(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    happens(world, site)
    with world.app.app_context():
        db.session.execute(delete(Site).where(Site.id == site))
        db.session.commit()
    assert seen(owner, "events") == []
