"""What the outside relies on, typed by hand: it changes only when clients, operators and their scripts are told."""

from __future__ import annotations

import pytest

from tests.hosts.verify.asking import ask
from tests.hosts.verify.fleet import Fleet, Member


@pytest.fixture(autouse=True)
def _as_shipped(fleet: Fleet) -> None:
    """An inventory that names other values than deploy/stack.yml has a contract of its own."""
    for member in fleet.on("lb", "app"):
        if member.stack["stack"]["name"] != "cloudeye" or member.stack["nginx"]["http_port"] != 80:
            pytest.skip("the inventory gives the stack another name or port")
        if member.stack["nginx"]["tls"]:
            pytest.skip("the inventory switches https on")


@pytest.fixture(params=["/ping", "/healthz", "/readyz"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_ping_answers_on_port_80(fleet: Fleet) -> None:
    answer = ask(fleet.front[0].address, 80, "GET", "/ping")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {"status": "success", "message": "pong!"}


def test_health_is_told_on_port_80(fleet: Fleet, path: str) -> None:
    answer = ask(fleet.front[0].address, 80, "GET", path)
    assert (answer.status, answer.json["status"]) == (200, "success")


@pytest.mark.on("app")
def test_the_unit_is_running_and_starts_with_the_host(member: Member) -> None:
    assert member.root.run("systemctl is-active cloudeye.service").stdout.strip() == "active"
    assert member.root.run("systemctl is-enabled cloudeye.service").stdout.strip() == "enabled"


@pytest.mark.on("app")
@pytest.mark.parametrize(("account", "group"), [("root", ""), ("nobody", "cloudeye-ops")])
def test_plain_supervisorctl_works_for_root_and_the_ops_group(member: Member, account: str, group: str) -> None:
    said = member.as_account(account, "supervisorctl status", group=group)
    assert said.rc == 0, said.stdout + said.stderr
    assert [line.split()[:2] for line in said.stdout.splitlines()] == [
        ["api-8001:api-8001-0", "RUNNING"],
        ["api-8001:api-8001-1", "RUNNING"],
        ["api-8002:api-8002-0", "RUNNING"],
        ["api-8002:api-8002-1", "RUNNING"],
        ["sync", "RUNNING"],
    ]


@pytest.mark.on("app")
def test_supervisorctl_works_for_nobody_else(member: Member) -> None:
    said = member.as_account("nobody", "supervisorctl status", group="cloudeye")
    assert said.rc != 0
    assert "RUNNING" not in said.stdout
