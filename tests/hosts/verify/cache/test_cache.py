"""The cache: it answers the app hosts and nobody else."""

from __future__ import annotations

import pytest

from tests.hosts.verify.asking import reaches, reaches_from
from tests.hosts.verify.fleet import Fleet, Member

# Speaks the protocol of Redis and Valkey: PING is answered by +PONG.
PING = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
connection.sendall(b"PING\\r\\n")
print(connection.recv(64).decode())
"""


@pytest.mark.on("cache")
def test_only_the_app_hosts_reach_it(member: Member, fleet: Fleet) -> None:
    port = member.stack["cache"]["port"]
    assert not reaches(member.address, port), "this machine is no app host"
    for other in fleet.members:
        if other.name != member.name:
            allowed = "app" in other.groups
            assert reaches_from(other, member.address, port) == allowed, f"from {other.name}"


@pytest.mark.on("app")
def test_it_answers_an_app_host(member: Member, fleet: Fleet) -> None:
    if not fleet.on("cache"):
        pytest.skip("the inventory has no cache")
    host, _, port = member.stack["cache"]["url"].removeprefix("redis://").removesuffix("/0").partition(":")
    said = member.python(PING, host, port)
    assert said.stdout.strip() == "+PONG", said.stderr
