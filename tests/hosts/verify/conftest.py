"""`pytest tests/hosts/verify --ansible-inventory INVENTORY`: each test once for each host that it is about."""

from __future__ import annotations

import pytest

from tests.hosts.verify.fleet import Fleet, Member

_FLEET = pytest.StashKey[Fleet]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "on(*groups): about the hosts of these groups; of all without one")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Without an inventory there is nothing to hold against anything: `make test` runs this suite by verify.yml."""
    return None if config.getoption("ansible_inventory") else True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "member" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("on")
        members = _fleet_of(metafunc.config).on(*(mark.args if mark else ()))
        metafunc.parametrize("member", members, ids=[member.name for member in members], scope="session")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _FLEET in config.stash:
        config.stash[_FLEET].close()


def _fleet_of(config: pytest.Config) -> Fleet:
    if _FLEET not in config.stash:
        config.stash[_FLEET] = Fleet(str(config.getoption("ansible_inventory")))
    return config.stash[_FLEET]


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest) -> Fleet:
    """All hosts of the inventory."""
    return _fleet_of(request.config)


@pytest.fixture
def others(fleet: Fleet, member: Member) -> list[Member]:
    """The other hosts of the fleet."""
    return [other for other in fleet.members if other.name != member.name]
