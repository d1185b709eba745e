"""What holds for each host, whatever runs on it."""

from __future__ import annotations

import time

import pytest

from tests.hosts.verify.asking import reaches, reaches_from
from tests.hosts.verify.fleet import Member

# Leaves a server behind that takes every connection and ends by itself; prints its port and pid.
LISTENER = """
import os, socket
server = socket.socket()
server.bind(("0.0.0.0", 0))
server.listen()
server.settimeout(60)
child = os.fork()
if child:
    print(server.getsockname()[1], child)
else:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(1, 2)
    while True:
        server.accept()[0].close()
"""


def test_no_compiler_is_on_it(member: Member) -> None:
    names = "gcc g++ cc c++ c89 c99 clang tcc ld as rustc go"
    assert member.root.run(f"for name in {names}; do command -v $name; done").stdout.split() == []


def test_no_unit_of_it_has_failed(member: Member) -> None:
    assert member.ok("systemctl list-units --failed --plain --no-legend") == ""


def test_its_clock_agrees_with_this_machine(member: Member) -> None:
    before = time.time()
    there = float(member.ok("date +%s.%N"))
    allowed = member.stack["limits"]["clock_skew_seconds"]
    assert before - allowed <= there <= time.time() + allowed


def test_a_port_that_nobody_allowed_is_reached_by_nobody(member: Member, others: list[Member]) -> None:
    if not member.stack["firewall"]["enabled"]:
        pytest.skip("the inventory keeps rules of its own (firewall.enabled)")
    made = member.python(LISTENER)
    assert made.rc == 0, made.stderr
    port, pid = made.stdout.split()
    try:
        assert reaches_from(member, "127.0.0.1", int(port)), "it listens"
        assert not reaches(member.address, int(port))
        assert [other.name for other in others if reaches_from(other, member.address, int(port))] == []
    finally:
        member.ok("kill %s", pid)
    assert reaches(member.address, member.stack["firewall"]["ssh_port"]), "the host can be reached at all"


def test_its_firewall_starts_with_it(member: Member) -> None:
    if not member.stack["firewall"]["enabled"]:
        pytest.skip("the inventory keeps rules of its own (firewall.enabled)")
    assert member.root.run("systemctl is-enabled firewalld").stdout.strip() == "enabled"
    assert member.root.run("systemctl is-active firewalld").stdout.strip() == "active"


def test_its_logs_are_rotated(member: Member) -> None:
    """logrotate understands every rule on the host, and the packages' services have theirs."""
    tried = member.root.run("logrotate --debug /etc/logrotate.conf")
    assert tried.rc == 0, tried.stderr
    assert "error:" not in tried.stderr
    if member.groups & {"app", "lb"}:
        log = f"{member.stack['paths']['nginx_log']}/{member.stack['stack']['name']}.access.log"
        assert f"considering log {log}" in tried.stderr
    timer = member.root.run("systemctl is-enabled logrotate.timer").stdout.strip()
    assert timer == "enabled" or member.root.file("/etc/cron.daily/logrotate").exists


def test_selinux_lets_nginx_connect_and_knows_the_labels(member: Member) -> None:
    state = member.root.run("getenforce")
    if state.rc != 0 or state.stdout.strip() == "Disabled":
        pytest.skip("no SELinux on this host")
    if member.groups & {"app", "lb"}:
        assert member.ok("getsebool httpd_can_network_connect").strip().endswith("on")
    if "app" in member.groups:
        assert member.ok("restorecon -Rnv %s", member.stack["paths"]["root"]) == "", "labels differ from the policy"
