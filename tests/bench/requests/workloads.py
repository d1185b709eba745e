"""What is asked of each contestant, and by how many clients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CLIENTS = 64
BUSY = 32  # clients that have idle or slow ones beside them
IDLE = 1000  # connections that are kept open and ask for nothing
SLOW = 200  # clients that send their bodies at one byte a second
WAIT_MS = 50
PER_PAGE = 50
SLUG = "bench"  # of the public status page, where this tree has such pages
PUBLIC, SHOWN = "public", 10  # the tag of the sites on that page, and how many there are
CONSTANT = b'{"message":"pong!","status":"success"}\n'  # what nginx returns at the limit: the same as /ping

NEW_SITE = {"name": "Example", "url": "https://example.com/", "paused": True}  # paused, lest sync visits it
READER, WRITER = "reader", "writer"  # two accounts: what one creates does not lengthen the list of the other


@dataclass(frozen=True)
class Workload:
    """One kind of request from a number of clients, each of which asks again as soon as it was answered.

    `who` are the contestants that it is asked of: `all`, `stack` (what is nginx's work, or compared with this stack
    itself) or `limit`. `brief` ones are asked of all in a short run too; otherwise of this stack alone.
    """

    name: str
    title: str
    path: str
    clients: int = CLIENTS
    account: str = ""  # whose token goes along
    body: Mapping[str, Any] | None = None  # makes it a POST
    status: int = 200
    who: str = "all"
    brief: bool = False
    steady: bool = False  # asked at half the saturating rate too, for the latency
    beside: str = ""  # `idle` or `slow`: the clients beside those that are counted
    longer: int = 0  # seconds more than others: where answers may take long, so that those that time out are seen

    @property
    def method(self) -> str:
        """The method of its requests."""
        return "GET" if self.body is None else "POST"

    def request(self, host: str, token: str) -> bytes:
        """The request as it goes over the wire (RFC 9112)."""
        body = b"" if self.body is None else json.dumps(self.body).encode()
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers(token).items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def headers(self, token: str) -> dict[str, str]:
        """The headers beside those that every request has."""
        headers = {"Authorization": f"Bearer {token}"} if self.account else {}
        return headers if self.body is None else {**headers, "Content-Type": "application/json"}

    def script(self, token: str) -> str:
        """The same for wrk, which reads Lua; at its end it prints what it counted as a line of JSON."""
        # What is quoted is ASCII without control characters, which JSON and Lua write alike.
        lines = [f"wrk.method = {json.dumps(self.method)}"]
        for name, value in self.headers(token).items():
            lines.append(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}")
        if self.body is not None:
            lines.append(f"wrk.body = {json.dumps(json.dumps(self.body))}")
        return "\n".join([*lines, _DONE])


_DONE = """
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"requests": %d, "microseconds": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\\n',
    summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"""

_SITE = "/api/v1/sites/1"


def _waiting(clients: int) -> Workload:
    return Workload(
        f"wait-{clients}", f"{WAIT_MS} ms query, {clients:,} clients", f"/bench/query/{WAIT_MS}", clients, longer=2
    )


# In the order in which a contestant is asked: what may leave work behind comes last.
WORKLOADS = (
    Workload("ping", "/ping", "/ping", brief=True, steady=True),
    Workload("read", "read by key", _SITE, account=READER, brief=True, steady=True),
    Workload(
        "list", f"list of {PER_PAGE}", f"/api/v1/sites?per_page={PER_PAGE}", account=READER, brief=True, steady=True
    ),
    Workload("create", "create", "/api/v1/sites", account=WRITER, body=NEW_SITE, status=201, brief=True, steady=True),
    Workload("status", "public status page", f"/status/{SLUG}", who="stack", steady=True),
    Workload("static", "static file", "/static/style.css", who="stack", steady=True),
    Workload("busy", f"read by key, {BUSY} clients", _SITE, BUSY, READER, who="stack"),
    Workload("idle", f"the same beside {IDLE:,} idle", _SITE, BUSY, READER, who="stack", beside="idle"),
    Workload("slow", f"the same beside {SLOW} slow", _SITE, BUSY, READER, who="stack", beside="slow"),
    Workload("busy-again", "the same, alone again", _SITE, BUSY, READER, who="stack"),
    Workload("query", "the query without the wait", "/bench/query/0"),
    _waiting(64),
    _waiting(256),
    _waiting(1000),
    Workload("constant", "nginx's constant", "/constant", who="limit"),
    Workload("constant-logged", "the same, logged as a site", "/constant/logged", who="limit"),
)
