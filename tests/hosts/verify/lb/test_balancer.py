"""A balancer in front: it spreads, and the app hosts' nginx takes nothing past it."""

from __future__ import annotations

import uuid

import pytest

from tests.hosts.verify.asking import get, reaches, reaches_from
from tests.hosts.verify.fleet import Fleet, Member
from tests.hosts.verify.records import access_lines


@pytest.fixture(autouse=True)
def _behind_a_balancer(fleet: Fleet) -> None:
    if not fleet.has_balancer:
        pytest.skip("clients come to the app hosts themselves")


def test_every_app_host_gets_its_share(fleet: Fleet) -> None:
    mark = f"share-{uuid.uuid4().hex}"
    apps = fleet.on("app")
    for _ in range(10 * len(apps)):
        assert get(fleet.front[0], "/ping", X_Request_ID=mark).status == 200
    shares = {name: len(lines) for name, lines in access_lines(apps, mark, at_least=10 * len(apps)).items()}
    assert sum(shares.values()) >= 10 * len(apps)
    assert min(shares.values()) >= 1, shares


@pytest.mark.on("app")
def test_an_app_host_lets_in_the_balancer_and_nobody_else(fleet: Fleet, member: Member, others: list[Member]) -> None:
    port = member.stack["nginx"]["http_port"]
    assert not reaches(member.address, port), "this machine is no balancer"
    for other in others:
        assert reaches_from(other, member.address, port) == ("lb" in other.groups), f"from {other.name}"
