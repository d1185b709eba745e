"""Asking hosts from this machine: plain HTTP over one connection, and whether a port lets anyone in."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from tests.hosts.verify.fleet import Member


@dataclass(frozen=True)
class Answer:
    """Status, body and headers of an answer: names in small letters, the values of one name joined by commas."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.text)


def ask(address: str, port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """One HTTP request, no redirect followed; `_` in the names of headers stands for `-`."""
    connection = http.client.HTTPConnection(address, port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        names = {name.lower() for name in answer.headers}
        return Answer(answer.status, text, {name: ", ".join(answer.headers.get_all(name, [])) for name in names})
    finally:
        connection.close()


def get(member: Member, path: str, **headers: str) -> Answer:
    """GET from a host's nginx, at the address by which the fleet knows it."""
    return ask(member.address, member.stack["nginx"]["http_port"], "GET", path, None, **headers)


def reaches(address: str, port: int, seconds: float = 3) -> bool:
    """Whether this machine gets a TCP connection."""
    try:
        with socket.create_connection((address, port), timeout=seconds):
            return True
    except OSError:
        return False


def reaches_from(member: Member, address: str, port: int, seconds: float = 3) -> bool:
    """Whether a host of the fleet gets a TCP connection."""
    source = (
        "import socket,sys\n"
        "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))\n"
        "except OSError as error: print(error)\n"
        "else: print('connected')\n"
    )
    said = member.python(source, address, str(port), str(seconds))
    assert said.rc == 0, said.stderr
    return str(said.stdout).strip() == "connected"
