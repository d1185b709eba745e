"""Hosts for tests: made once for a session, removed at its end, whichever end that is."""

import os
from collections.abc import Generator, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from tests.hosts import deployed, machines
from tests.hosts.machine import Host, can_boot_hosts
from tests.hosts.machines import HostSet
from tests.hosts.report import REPORT


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows the ends of the logs of every host that the stack is on."""
    report = yield
    if report.failed:
        for deployment in deployed.ACTIVE:
            for host in deployment.made.hosts:
                report.sections.append((f"logs of {host.name}", deployment.logs(host)))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of several hands its tables to the one that prints them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["hosts"] = asdict(REPORT)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take a worker's tables (a hook of pytest-xdist)."""
    for name, rows in getattr(node, "workeroutput", {}).get("hosts", {}).items():
        getattr(REPORT, name).extend(rows)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long each playbook took, and what each fault cost."""
    for line in REPORT.tables():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def this_machine_boots_hosts() -> None:
    """Skip where no host can be booted; in CI that is a failure, or nobody would notice what is not tried.

    Every fixture that makes hosts has it. It is not for all tests below this folder: some are run against
    hosts that stand elsewhere.
    """
    reason = can_boot_hosts()
    if reason and os.environ.get("CI"):
        pytest.fail(f"this machine cannot boot hosts: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"this machine cannot boot hosts: {reason}")


def _made(set_name: str, layout: str, shape: str, cache: bool = False) -> Iterator[HostSet]:
    machines.down(set_name)  # of a run that was not ended, or not yet
    made = machines.up(set_name, layout, shape, cache=cache, owner=os.getpid())
    try:
        yield made
    finally:
        machines.down(set_name)


@pytest.fixture(scope="session")
def one_set(this_machine_boots_hosts: None) -> Iterator[HostSet]:
    """A set with a single bare Debian host in all groups, and its inventory."""
    yield from _made("tone", "one", "debian12")


@pytest.fixture(scope="session")
def one_host(one_set: HostSet) -> Host:
    """A bare Debian host in all groups."""
    return one_set.hosts[0]


@pytest.fixture(scope="session")
def four_hosts(this_machine_boots_hosts: None) -> Iterator[HostSet]:
    """Bare Debian hosts lb, app1, app2 and db (which is the cache too): `four_hosts["app1"]`."""
    yield from _made("tfour", "four", "debian12", cache=True)


@pytest.fixture(scope="session")
def el_set(this_machine_boots_hosts: None) -> Iterator[HostSet]:
    """A set with a single host of the shape of CentOS Stream 9 in all groups, and its inventory."""
    yield from _made("tel9", "one", "centos9")


@pytest.fixture(scope="session")
def el_host(el_set: HostSet) -> Host:
    """A bare host of the shape of CentOS Stream 9."""
    return el_set.hosts[0]


@pytest.fixture(scope="session")
def el10_set(this_machine_boots_hosts: None) -> Iterator[HostSet]:
    """A set with a single host of the shape of CentOS Stream 10 in all groups, and its inventory."""
    yield from _made("tel10", "one", "centos10")


@pytest.fixture(scope="session")
def el10_host(el10_set: HostSet) -> Host:
    """A bare host of the shape of CentOS Stream 10."""
    return el10_set.hosts[0]
