"""The processes: all there, as the app's account, with nothing they do not need."""

from __future__ import annotations

import json
import re

import pytest

from tests.hosts.verify.asking import reaches
from tests.hosts.verify.fleet import Member

pytestmark = pytest.mark.on("app")

# Asks one unix socket for /healthz.
ASK_SOCKET = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost", timeout=30)
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
connection.request("GET", "/healthz")
print(connection.getresponse().read().decode())
"""


def control(member: Member, command: str) -> str:
    """What this stack's own supervisorctl says; also where it is not the host's primary stack."""
    return member.ok(f"{member.stack['stack']['name']}ctl {command}")


def test_supervisor_runs_every_process_of_the_stack_and_no_other(member: Member) -> None:
    lines = [line.split() for line in control(member, "status").splitlines()]
    assert {words[0].rpartition(":")[2]: words[1] for words in lines} == {
        process["name"]: "RUNNING" for process in member.stack["processes"]
    }


def test_each_process_serves_the_release_that_is_current(member: Member) -> None:
    root = member.stack["paths"]["root"]
    current = member.ok("readlink -f %s", f"{root}/current").strip().rpartition("/")[2]
    for process in member.stack["processes"]:
        pointer = f"{root}/instances/{process['name']}"
        assert member.ok("readlink -f %s", pointer).strip().rpartition("/")[2] == current
        if process["kind"] == "api":
            said = member.python(ASK_SOCKET, process["socket"])
            assert json.loads(said.stdout)["data"]["release"] == current, said.stderr


def test_nobody_but_the_account_reaches_an_instances_own_socket(member: Member) -> None:
    socket = next(process["socket"] for process in member.stack["processes"] if process["kind"] == "api")
    assert member.python(ASK_SOCKET, socket, account=member.stack["names"]["user"]).rc == 0
    assert "PermissionError" in member.python(ASK_SOCKET, socket, account="nobody", group="65534").stderr


def test_every_process_of_the_unit_is_the_accounts_and_can_gain_nothing(member: Member) -> None:
    account = member.ok("id -u %s", member.stack["names"]["user"]).strip()
    processes = member.processes
    assert any("supervisord" in words for words in processes.values())
    assert len(processes) > 2 * len(member.stack["api"]["ports"]) * member.stack["api"]["instances"]
    for pid, words in processes.items():
        status = member.root.run(f"cat /proc/{pid}/status")
        if status.rc:  # it has ended meanwhile
            continue
        fields = dict(re.findall(r"^(\w+):\s+(.*)$", status.stdout, re.MULTILINE))
        assert set(fields["Uid"].split()) == {account}, words
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0, words
        assert fields["NoNewPrivs"] == "1", words


def test_only_loopback_reaches_the_api_ports(member: Member) -> None:
    listening = [line.split()[3] for line in member.ok("ss -Hltn").splitlines()]
    for port in member.stack["api"]["ports"]:
        assert [where for where in listening if where.endswith(f":{port}")] == [f"{member.stack['api']['bind']}:{port}"]
        assert not reaches(member.address, port)


def test_the_open_files_allowed_suffice_for_the_connections_allowed(member: Member) -> None:
    wanted = member.stack["nginx"]["open_files"]
    for pid, words in member.processes.items():
        limits = member.root.run(f"cat /proc/{pid}/limits").stdout
        found = re.search(r"^Max open files\s+(\d+)", limits, re.MULTILINE)
        assert found is None or int(found[1]) >= wanted, words


def test_it_has_the_values_of_the_inventory(member: Member) -> None:
    """What deploy.yml wrote down is what the inventory says now; facts of the distribution stand beside it."""
    name = member.stack["stack"]["name"]
    release = member.ok("readlink -f %s", f"{member.stack['paths']['root']}/current").strip()
    settings = dict(
        line.split("=", 1) for line in member.ok("cat %s", f"{release}/rendered/settings.env").splitlines() if line
    )
    assert settings["APP_NAME"] == name
    shown = json.loads(
        member.ok(f"{name}-stack show --profile host --json --config {member.stack['paths']['etc']}/stack.yml")
    )
    for section in ("stack", "app", "api", "sync", "timeouts", "database", "cache", "log", "fleet", "paths"):
        assert shown[section] == member.stack[section], section
