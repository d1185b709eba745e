"""A balancer, two app hosts and a database on four Debian hosts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.hosts import breaking
from tests.hosts.deployed import Deployment, bare_hosts
from tests.hosts.job import sees_a_site_up_and_down
from tests.hosts.probing import Probe

# The rate limit stays as it is shipped: the suite of verify.yml runs into it here.
VALUES = {
    "sync": {"allow_private": True, "minimum_interval": 1, "poll_seconds": 0.2, "heartbeat_seconds": 1},
    "releases": {"watch_seconds": 3},
}


@pytest.fixture(scope="module")
def bare(this_machine_boots_hosts: None) -> Iterator[Deployment]:
    """Four bare hosts; the cache is on the database's."""
    with bare_hosts("four", "four", cache=True, overrides=VALUES) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def four(bare: Deployment) -> Deployment:
    """The hosts with the stack on them."""
    bare.play("deploy.yml").went_well()
    return bare


@pytest.mark.slow
def test_check_mode_on_bare_hosts_ends_well(bare: Deployment) -> None:
    bare.play("deploy.yml", "--check").went_well()


@pytest.mark.timeout(1800)
def test_one_playbook_makes_four_bare_hosts_serve(four: Deployment) -> None:
    assert four.ask("GET", "/ping") == (200, {"status": "success", "message": "pong!"})
    assert four.ask("GET", "/readyz")[0] == 200


def test_the_second_run_changes_nothing(four: Deployment) -> None:
    again = four.play("deploy.yml").went_well()
    assert again.changes == []
    assert again.changed == 0


def test_the_hosts_are_what_they_should_be(four: Deployment) -> None:
    four.play("verify.yml").went_well()


def test_a_site_registered_at_the_balancer_is_seen_up_and_down(four: Deployment) -> None:
    sees_a_site_up_and_down(four)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_app_host_without_power_is_not_missed(four: Deployment) -> None:
    lost = four.made["app2"]
    with Probe(four.url, "/readyz", pause=0.2) as probe:
        time.sleep(1)
        probe.mark()
        lost.pull_power()
        try:
            probe.wait_until_good(60, in_a_row=200)  # long enough that the balancer has tried it and given it up
            breaking.note("app host without power", probe, "it stays off")
        finally:
            lost.start()
            lost.wait_until_ready()
        probe.mark()
        probe.wait_until_good(60)
