"""Proof of control, and scans that are asked for, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta

import pytest

from cloudeye.extensions import db
from cloudeye.models import utcnow
from cloudeye.services.findings import control, proof
from cloudeye.services.findings.found import find
from tests.integration.bugs import recorded, row_of
from tests.integration.world import World, end
from tests.unit.cloudeye.findings.website import Reply, Website


@pytest.fixture
def near(world: World) -> Iterator[World]:
    """An instance that may ask sites of this machine."""
    other = world.second_instance(APP_SYNC_ALLOW_PRIVATE="1")
    yield other
    end(other.app)


def test_control_is_proven_by_the_file_and_a_scan_follows(near: World) -> None:
    owner, site = near.log_in("owner"), Website()
    with site.served() as port:
        number = owner.has_site(url=f"http://127.0.0.1:{port}/shop")
        asked = owner.gets(f"sites/{number}/control").json["data"]["control"]
        assert asked["file_url"] == f"http://127.0.0.1:{port}/.well-known/cloudeye.txt"
        assert (asked["proven"], asked["record_name"]) == (False, None)
        assert owner.asks("POST", f"sites/{number}/scan").status_code == 409
        refused = owner.asks("POST", f"sites/{number}/control")
        assert (refused.status_code, refused.json["message"]) == (400, "Control of this site is not proven.")
        assert refused.json["data"]["control"] == [f"{asked['file_url']}: status 404"]
        assert not owner.gets(f"sites/{number}/control").json["data"]["control"]["proven"]
        site.pages["/.well-known/cloudeye.txt"] = Reply(asked["token"].encode())
        before = row_of(near, number).version
        proven = owner.asks("POST", f"sites/{number}/control")
        assert (proven.status_code, proven.json["data"]["control"]["proven"]) == (200, True)
    row = row_of(near, number)
    assert (row.control_token, row.version) == (asked["token"], before)
    assert row.next_scan_at == row.controlled_at is not None
    assert site.paths == ["/.well-known/cloudeye.txt"] * 2


def test_control_is_lost_when_it_is_looked_for_and_not_found(near: World) -> None:
    owner, site = near.log_in("owner"), Website()
    with site.served() as port:
        number = owner.has_site(url=f"http://127.0.0.1:{port}/shop")
        token = owner.gets(f"sites/{number}/control").json["data"]["control"]["token"]
        site.pages["/.well-known/cloudeye.txt"] = Reply(token.encode())
        assert owner.asks("POST", f"sites/{number}/control").status_code == 200
        del site.pages["/.well-known/cloudeye.txt"]
        assert owner.asks("POST", f"sites/{number}/control").status_code == 400
    assert not owner.gets(f"sites/{number}/control").json["data"]["control"]["proven"]
    assert owner.asks("POST", f"sites/{number}/scan").status_code == 409
    assert row_of(near, number).next_scan_at is None


def test_the_record_to_be_made_is_named(near: World) -> None:
    owner = near.log_in("owner")
    number = owner.has_site(url="https://Shop.Example.com:8443/")
    asked = owner.gets(f"sites/{number}/control").json["data"]["control"]
    assert asked["record_name"] == "_cloudeye.shop.example.com"
    assert asked["record_value"] == f"cloudeye={asked['token']}"
    other = owner.gets(f"sites/{owner.has_site(url='http://shop.example.com/')}/control").json["data"]["control"]
    mate = near.log_in("mate")
    foreign = mate.gets(f"sites/{mate.has_site(url='http://shop.example.com/')}/control").json["data"]["control"]
    assert other["token"] == asked["token"] != foreign["token"]


def test_a_proof_goes_through_the_guard(world: World, near: World) -> None:
    """Of a site that may not be asked any more, since the stack's settings changed."""
    with Website().served() as port:
        number = near.log_in("owner").has_site(url=f"http://127.0.0.1:{port}/")
        answer = world.log_in("owner").asks("POST", f"sites/{number}/control")
    assert answer.status_code == 400
    assert "loopback" in answer.json["data"]["control"][0]


def test_who_comes_while_too_many_prove_control_is_told_when_to_come_again(near: World) -> None:
    owner = near.log_in("owner")
    number = owner.has_site(url="http://127.0.0.1:9/")
    with ExitStack() as taken:
        for _ in range(proof.AT_ONCE):
            taken.enter_context(proof._places)
        answer = owner.asks("POST", f"sites/{number}/control")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
    assert owner.asks("POST", f"sites/{number}/control").status_code == 400


FOUND, LOST, UNDECIDED = proof.Proof("file", False, ()), proof.Proof(None, False, ()), proof.Proof(None, True, ())


def proven_site(world: World, at: datetime | None = None) -> int:
    number = world.log_in("owner").has_site()
    moment = at or utcnow()
    with world.app.app_context(), db.engine.begin() as connection:
        assert control.settle(connection, number, "https://example.com/", "t" * 40, FOUND, moment)
    return number


def test_control_of_another_url_is_not_kept(world: World) -> None:
    number = world.log_in("owner").has_site()
    with world.app.app_context(), db.engine.begin() as connection:
        assert not control.settle(connection, number, "https://other.example.com/", "t" * 40, FOUND, utcnow())
    assert row_of(world, number).controlled_at is None


@pytest.mark.parametrize(("found", "stays"), [(LOST, False), (UNDECIDED, True)])
def test_what_was_known_stays_where_nobody_could_look(world: World, found: proof.Proof, stays: bool) -> None:
    number = proven_site(world)
    with world.app.app_context(), db.engine.begin() as connection:
        assert not control.settle(connection, number, "https://example.com/", "t" * 40, found, utcnow())
    assert (row_of(world, number).controlled_at is not None) is stays


def test_control_is_given_up_with_what_only_scans_can_find(world: World) -> None:
    number, owner = proven_site(world), world.log_in("owner")
    recorded(world, number, find("hsts_missing"))
    recorded(world, number, find("exposed_secret", "/.env"), kind="scan")
    answer = owner.asks("DELETE", f"sites/{number}/control")
    assert (answer.status_code, answer.json["data"]["control"]["proven"]) == (200, False)
    row = row_of(world, number)
    assert (row.control_token, row.controlled_at, row.next_scan_at) == (None, None, None)
    data = owner.gets(f"sites/{number}/bugs").json["data"]
    assert ([one["code"] for one in data["findings"]], data["bugs"]["grade"], row.grade) == (
        ["hsts_missing"],
        "B+",
        "B+",
    )


def test_a_site_that_moves_to_another_host_begins_anew(world: World) -> None:
    number = proven_site(world)
    recorded(world, number, find("hsts_missing"))
    with world.changing_site(number) as site:
        control.forget(site)
        site.url = "https://elsewhere.example.com/"
    row = row_of(world, number)
    assert (row.control_token, row.controlled_at, row.next_scan_at, row.inspected_at) == (None, None, None, None)
    assert (row.grade, row.score, row.worst_severity, row.open_findings) == (None, None, None, 0)
    assert world.log_in("owner").gets(f"sites/{number}/bugs").json["data"]["findings"] == []


def test_a_scan_can_be_asked_for_but_not_too_often(world: World) -> None:
    now = utcnow()
    number, owner = proven_site(world, now - timedelta(hours=3)), world.log_in("owner")
    with world.changing_site(number) as site:
        site.next_scan_at = now + timedelta(hours=21)
    before = row_of(world, number).version
    answer = owner.asks("POST", f"sites/{number}/scan")
    assert answer.status_code == 202
    soon = datetime.fromisoformat(answer.json["data"]["next_scan_at"])
    assert now <= soon <= utcnow()
    assert row_of(world, number).version == before
    with world.changing_site(number) as site:  # scanned a minute ago
        site.controlled_at, site.next_scan_at = now - timedelta(minutes=1), now + timedelta(hours=24)
    again = datetime.fromisoformat(owner.asks("POST", f"sites/{number}/scan").json["data"]["next_scan_at"])
    assert abs(again - (now + timedelta(minutes=9))) < timedelta(seconds=1)
    # Who asks once more does not have to wait longer.
    assert owner.asks("POST", f"sites/{number}/scan").json["data"]["next_scan_at"] == again.isoformat()


def test_no_scan_is_promised_of_a_site_that_is_paused(world: World) -> None:
    number = proven_site(world)
    with world.changing_site(number) as site:
        site.paused, site.next_scan_at = True, None
    answer = world.log_in("owner").asks("POST", f"sites/{number}/scan")
    assert (answer.status_code, answer.json["message"]) == (409, "This site is paused.")
    assert row_of(world, number).next_scan_at is None
