"""What nginx wrote down of a request, found by the id that the request was given."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from tests.hosts.verify.fleet import Member


def access_lines(members: Sequence[Member], request_id: str, *, at_least: int = 1) -> dict[str, list[dict[str, Any]]]:
    """The lines about the requests with an id, by host; nginx writes one a moment after the client has its answer."""
    deadline = time.monotonic() + 5
    while True:
        found = {member.name: _lines(member, request_id) for member in members}
        if sum(map(len, found.values())) >= at_least or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def one_line(members: Sequence[Member], request_id: str) -> dict[str, Any]:
    """The only line about a request on some hosts."""
    lines = [line for found in access_lines(members, request_id).values() for line in found]
    assert len(lines) == 1, lines
    return lines[0]


def _lines(member: Member, request_id: str) -> list[dict[str, Any]]:
    log = f"{member.stack['paths']['nginx_log']}/{member.stack['stack']['name']}.access.log"
    found = member.root.run("grep --fixed-strings %s %s", request_id, log)
    assert found.rc in (0, 1), found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]
