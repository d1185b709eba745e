"""What the app's account may write, and what it may not."""

from __future__ import annotations

import shlex

import pytest

from tests.hosts.verify.fleet import Member

pytestmark = pytest.mark.on("app")


def writable(member: Member, *paths: str) -> list[str]:
    """What the account may write of some folders and all below them; links count as what they point to."""
    words = ["find", *paths, "!", "-type", "l", "-writable", "-print"]
    return str(member.as_account(member.stack["names"]["user"], shlex.join(words)).stdout).splitlines()


def test_the_account_can_write_neither_code_nor_settings(member: Member) -> None:
    paths = member.stack["paths"]
    files = set(member.ok("find %s -type f", paths["secrets"]).splitlines())
    assert set(writable(member, paths["root"], paths["etc"])) <= files, "of all that, its own secret files alone"


def test_the_account_can_write_no_file_of_the_system(member: Member) -> None:
    unit = f"/etc/systemd/system/{member.stack['names']['unit']}"
    assert member.root.file(unit).exists
    assert writable(member, "/etc/systemd", "/etc/nginx", "/usr/local", "/usr/lib/systemd", "/etc/cron.d") == []


def test_the_account_can_write_where_it_keeps_its_state(member: Member) -> None:
    paths = member.stack["paths"]
    for folder in (paths["data"], paths["log"], paths["run"]):
        assert folder in writable(member, folder)


def test_its_processes_see_everything_else_read_only(member: Member) -> None:
    """Even a process that became root would find the system mounted read-only."""
    pid = member.ok("systemctl show --property=MainPID --value %s", member.stack["names"]["unit"]).strip()
    tried = member.root.run(f"nsenter --target {pid} --mount sh -c 'touch {member.stack['paths']['root']}/x'")
    assert "Read-only file system" in tried.stderr


def test_nobody_can_log_in_as_the_account(member: Member) -> None:
    name = member.stack["names"]["user"]
    _, password, *_ = member.ok("getent shadow %s", name).split(":")
    assert password.startswith(("!", "*"))
    assert member.ok("getent passwd %s", name).strip().rpartition("/")[2] == "nologin"
