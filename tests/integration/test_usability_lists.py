"""Incidents, and how usable many sites are, through the API, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from cloudeye.extensions import db
from cloudeye.models import Incident, Site
from cloudeye.services import keys
from tests.integration.checks import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    Check,
    add,
    checks_between,
    roll_up,
    usability,
    windows,
)
from tests.integration.world import Person, World


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is NOW for the views."""
    monkeypatch.setattr("cloudeye.api.usability.utcnow", lambda: NOW)


# -- incidents ---------------------------------------------------------------------------------------------------


def has_incidents(world: World, name: str, site: int, number: int, open_one: bool = False, back: int = 0) -> list[int]:
    """Give a site incidents, an hour each, the last one open if wanted; return their ids, oldest first."""
    with world.app.app_context():
        found = []
        for place in range(number):
            start = NOW - (back + number - place) * 3 * HOUR
            last = open_one and place == number - 1
            incident = Incident(
                site_id=site,
                owner_id=world.ids[name],
                started_at=start,
                ended_at=None if last else start + HOUR,
                cause=f"http_status: {place}",
                status_code=500,
            )
            db.session.add(incident)
            db.session.flush()
            found.append(incident.id)
        db.session.commit()
        return found


def walk(person: Person, path: str) -> Iterator[list[dict[str, Any]]]:
    """Follow a history to its end."""
    following: str | None = f"/api/v1/{path}"
    while following is not None:
        answer = person.gets(following)
        assert answer.status_code == 200, answer.text
        yield answer.json["data"]["incidents"]
        following = answer.json["data"]["paging"]["next"]


def test_a_sites_incidents_are_listed_part_by_part_newest_first(world: World) -> None:
    owner = world.log_in("owner")
    site, other = owner.has_site(), owner.has_site(name="other")
    ids = has_incidents(world, "owner", site, 7, open_one=True)
    has_incidents(world, "owner", other, 3)
    parts = list(walk(owner, f"sites/{site}/incidents?limit=3"))
    assert [[incident["id"] for incident in part] for part in parts] == [
        ids[:3:-1],
        ids[3:0:-1],
        ids[:1],
    ]
    assert parts[0][0] == {
        "id": ids[-1],
        "started_at": (NOW - 3 * HOUR).isoformat(),
        "ended_at": None,
        "seconds": 10_800,
        "cause": "http_status: 6",
        "status_code": 500,
    }
    assert (parts[0][1]["ended_at"], parts[0][1]["seconds"]) == ((NOW - 5 * HOUR).isoformat(), 3600)


def test_incidents_across_sites_are_ones_own_and_an_admins_all(world: World) -> None:
    owner, mate = world.log_in("owner"), world.log_in("mate")
    mine, also_mine, theirs = owner.has_site(name="mine"), owner.has_site(name="also"), mate.has_site()
    ids = has_incidents(world, "owner", mine, 3) + has_incidents(world, "owner", also_mine, 2, open_one=True)
    others = has_incidents(world, "mate", theirs, 2)

    def seen(name: str, query: str = "") -> list[int]:
        return [one["id"] for part in walk(world.log_in(name), f"incidents?limit=2{query}") for one in part]

    assert seen("owner") == ids[::-1]
    assert seen("outsider") == []
    assert seen("admin") == [*others[::-1], *ids[::-1]]
    assert seen("owner", "&state=open") == [ids[-1]]
    assert seen("owner", "&state=closed") == ids[-2::-1]
    first = owner.gets("incidents?limit=1").json["data"]["incidents"][0]
    assert (first["site_id"], first["name"], first["url"]) == (also_mine, "also", "https://example.com/")


def test_incidents_of_a_tag_are_found_however_rare_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many are looked at for a part of the list: one may be empty, and the next ones go on."""
    monkeypatch.setattr("cloudeye.services.parts.LOOKED_AT", 10)
    owner = world.log_in("owner")
    rare, common = owner.has_site(tags=["shop", "rare"]), owner.has_site(tags=["shop"])
    first = has_incidents(world, "owner", rare, 2, back=100)
    has_incidents(world, "owner", common, 35, back=50)
    last = has_incidents(world, "owner", rare, 2)
    parts = [[one["id"] for one in part] for part in walk(owner, "incidents?tag=rare&limit=5")]
    assert [number for part in parts for number in part] == last[::-1] + first[::-1]
    assert [] in parts
    assert len([one for part in walk(owner, "incidents?tag=shop&limit=5") for one in part]) == 39
    assert list(walk(owner, "incidents?tag=none&limit=5"))[-1] == []


# -- across sites --------------------------------------------------------------------------------------------------


def test_the_list_shows_state_and_uptime_of_ones_own_sites(world: World) -> None:
    owner, mate = world.log_in("owner"), world.log_in("mate")
    mine, theirs = owner.has_site(name="mine", tags=["shop"]), mate.has_site()
    other = owner.has_site(name="other", tags=["blog"])
    for number, site in enumerate((mine, theirs, other)):
        with world.app.app_context():
            state = "up" if site == mine else "down"
            db.session.execute(update(Site).where(Site.id == site).values(state=state))
            db.session.commit()
        add(world, site, checks_between(NOW - 2 * DAY, NOW, 7 * MINUTE, seed=number))

    def seen(query: str, name: str = "owner") -> list[int]:
        return [site["id"] for site in world.log_in(name).gets(f"usability{query}").json["data"]["sites"]]

    assert (seen(""), seen("", "admin"), seen("", "outsider")) == ([mine, other], [mine, theirs, other], [])
    assert (seen("?state=down"), seen("?tag=shop"), seen("?state=down&tag=shop")) == ([other], [mine], [])
    assert seen("?sort=-name") == [other, mine]
    paging = owner.gets("usability?per_page=1").json["data"]["paging"]
    assert (paging["total"], paging["next"]) == (2, "/api/v1/usability?per_page=1&page=2")
    listed = {site["id"]: site for site in owner.gets("usability").json["data"]["sites"]}
    for site in (mine, other):
        assert listed[site]["uptime_24h"] == usability(owner, site)["windows"]["24h"]["uptime"]
    assert (listed[mine]["name"], listed[mine]["tags"]) == ("mine", ["shop"])


def test_the_list_counts_each_check_once_however_far_each_site_has_been_added_up(world: World) -> None:
    owner = world.log_in("owner")
    made: dict[int, list[Check]] = {}
    for number in range(12):
        site = owner.has_site(name=f"site {number}")
        made[site] = checks_between(NOW - 26 * HOUR, NOW, timedelta(minutes=11), seed=number)
        add(world, site, made[site])
        if number < 9:
            roll_up(world, NOW - 3 * number * HOUR)
    listed = owner.gets("usability").json["data"]["sites"]
    assert {site["id"]: site["uptime_24h"] for site in listed} == {
        site: windows(checks)["24h"]["uptime"] for site, checks in made.items()
    }


def test_the_list_asks_the_database_no_more_for_many_sites_than_for_some(world: World) -> None:
    owner = world.log_in("owner")

    def asked() -> int:
        with world.statements() as sent:
            assert owner.gets("usability?per_page=100").status_code == 200
        return len(sent)

    for number in range(10):
        add(world, owner.has_site(name=f"{number}"), [Check(NOW - MINUTE, True, 1.0)])
    few = asked()
    for number in range(90):
        owner.has_site(name=f"more {number}")
    # One statement for ten sites, for what has not been added up yet; and two for 25, which are read at once.
    assert asked() - few <= 9 + 2 * 3


@pytest.mark.parametrize("path", ["usability", "usability/history", "incidents"])
@pytest.mark.parametrize("name", ["mate", "outsider"])
def test_another_users_site_is_as_unknown_as_none(world: World, name: str, path: str) -> None:
    site = world.log_in("owner").has_site()
    other = world.log_in(name)
    there, never = other.gets(f"sites/{site}/{path}"), other.gets(f"sites/{site + 1}/{path}")
    assert there.status_code == never.status_code == 404
    assert there.json == never.json
    assert world.log_in("admin").gets(f"sites/{site}/{path}").status_code == 200


def test_checks_show_where_the_time_went(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    add(world, site, [Check(NOW, True, 200.0, maintenance=True)])
    [check] = owner.gets(f"sites/{site}/checks").json["data"]["checks"]
    assert (check["maintenance"], check["tls_ms"], check["total_ms"]) == (True, 60.0, 210.0)


def test_a_key_needs_the_scope(world: World) -> None:
    owner = world.log_in("owner")
    site = owner.has_site()
    with world.app.test_request_context():
        made = {
            scope: keys.create_key(db.session(), owner.id, name=scope, scopes=[scope])[1]
            for scope in ("sites:read", "usability:read")
        }
        db.session.commit()
    for scope, status in (("sites:read", 403), ("usability:read", 200)):
        owner.headers = {"X-API-Key": made[scope]}
        for path in (f"sites/{site}/usability", f"sites/{site}/incidents", "usability", "incidents"):
            assert owner.gets(path).status_code == status, (scope, path)
