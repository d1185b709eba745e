"""Everything on one host of the shape of each Enterprise Linux: as far as that can be real without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts.deployed import Deployment, bare_hosts
from tests.hosts.job import sees_a_site_up_and_down
from tests.hosts.snapshot import differences, snapshot

SHAPES = ["centos9", *(pytest.param(shape, marks=pytest.mark.slow) for shape in ("alma10", "rocky9", "centos10"))]


@pytest.fixture(scope="module", params=SHAPES)
def bare(request: pytest.FixtureRequest, this_machine_boots_hosts: None) -> Iterator[Deployment]:
    """One bare host of a shape."""
    with bare_hosts("el", "one", str(request.param)) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def el(bare: Deployment) -> Deployment:
    """The host with the stack on it."""
    bare.play("deploy.yml").went_well()
    return bare


@pytest.mark.slow
def test_check_mode_on_a_bare_host_ends_well_and_changes_nothing(bare: Deployment) -> None:
    before = snapshot(bare.app)
    bare.play("deploy.yml", "--check").went_well()
    assert differences(before, snapshot(bare.app)) == []


@pytest.mark.timeout(1800)
def test_one_playbook_makes_a_bare_host_serve(el: Deployment) -> None:
    assert el.ask("GET", "/ping") == (200, {"status": "success", "message": "pong!"})
    assert el.all_running()


def test_the_second_run_changes_nothing(el: Deployment) -> None:
    again = el.play("deploy.yml").went_well()
    assert again.changes == []
    assert again.changed == 0


def test_the_host_is_what_it_should_be(el: Deployment) -> None:
    el.play("verify.yml").went_well()


def test_the_app_runs_on_the_python_that_the_distribution_names(el: Deployment) -> None:
    """EL 9's own python3 is 3.9, too old for the app."""
    running = el.app.run("$(readlink /proc/$(cat /run/cloudeye/api-8001-0.pid)/exe) --version", root=True).out
    assert running == el.app.run("/usr/bin/python3.12 --version").out
    assert tuple(int(part) for part in running.split()[1].split(".")[:2]) >= (3, 11)


def test_a_site_registered_through_nginx_is_seen_up_and_down(el: Deployment) -> None:
    sees_a_site_up_and_down(el)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_comes_back_by_itself_after_a_reboot(el: Deployment) -> None:
    el.app.reboot()
    el.wait_until_running()
    assert el.ask("GET", "/readyz")[0] == 200
