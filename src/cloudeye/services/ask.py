"""What a probe is asked to do: the request it sends and what it expects of the answer.

Light to import, because the web processes check with it what an owner wants to save.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# With these an empty body is announced as such (RFC 9110, 8.6).
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
MAX_CUSTOM_HEADERS = 32
MAX_CUSTOM_HEADER_BYTES = 8192  # of all of them; what servers take at least
MAX_REQUEST_BODY = 65536
# A final answer's status has three digits and is not 1xx, which is an interim answer (RFC 9110, 15). Those above
# 599 are in no standard, but some sites send them.
_FIRST_STATUS, _LAST_STATUS = 200, 999
_MAX_RANGES = 15

# Who decides about a message's framing, its connection and whom it is for is the probe (RFC 9110, 7.6.1; 9112, 6).
# Accept-Encoding is among them because a probe asks for the body as it is, and Expect because it does not wait.
_RESERVED = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[\x20-\x7e]*\Z")
_RANGE = re.compile(r"([0-9]{3})(?:-([0-9]{3}))?\Z")


@dataclass(frozen=True, slots=True)
class StatusSet:
    """A set of statuses as ranges, first and last included, in ascending order and none touching the next."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> StatusSet:
        """The set written as "200-299,301,404". Raises ValueError with a sentence for people."""
        parts = [part.strip() for part in text.split(",")]
        if len(parts) > _MAX_RANGES:
            raise ValueError(f"there are more than {_MAX_RANGES} statuses and ranges")
        found: list[tuple[int, int]] = []
        for part in parts:
            match = _RANGE.match(part)
            if match is None:
                raise ValueError(f"{part[:40]!r} is no status: write them as in 200-299,301,404")
            first = int(match[1])
            last = int(match[2] or first)
            if first > last:
                raise ValueError(f"the range {part} ends before it begins")
            if first < _FIRST_STATUS or last > _LAST_STATUS:
                raise ValueError(f"{part} is outside of {_FIRST_STATUS} to {_LAST_STATUS}")
            found.append((first, last))
        merged: list[tuple[int, int]] = []
        for first, last in sorted(found):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    def contains(self, status: int) -> bool:
        """Whether `status` is in the set."""
        return any(first <= status <= last for first, last in self.ranges)

    def __str__(self) -> str:
        return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in self.ranges)


DEFAULT_STATUSES = StatusSet(((200, 399),))


@dataclass(frozen=True, slots=True)
class Ask:
    """One request and what is expected of its answer.

    `headers` go to the origin of `url` only; `timeout` is the seconds for all of it, redirects included, when the
    limits have more; keywords are looked for in the body as it is sent, case and all. What `check_request` refuses
    is not sent.
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    follow_redirects: bool = True
    timeout: float | None = None
    expected: StatusSet = DEFAULT_STATUSES
    keyword_present: str | None = None
    keyword_absent: str | None = None


def check_headers(headers: Iterable[tuple[str, str]]) -> None:
    """Raise ValueError, with a sentence for people, unless a probe may send these headers.

    Refused: names that are no token, values with control characters or anything beyond ASCII, names given twice
    (RFC 9110, 5.3: one line can hold a list), headers that are the probe's own business (host, connection, framing,
    coding), also when written with underscores, which some servers take for hyphens; and too many or too long ones.
    """
    seen: set[str] = set()
    size = 0
    for name, value in headers:
        if not _TOKEN.match(name):
            raise ValueError(f"{name[:40]!r} is no name of a header")
        normal = name.lower().replace("_", "-")
        if normal in _RESERVED:
            raise ValueError(f"the header {name} cannot be chosen")
        if normal in seen:
            raise ValueError(f"the header {name} is given twice")
        seen.add(normal)
        if not _VALUE.match(value) or value != value.strip():
            raise ValueError(
                f"the value of the header {name} must be printable ASCII without blanks at its beginning and end"
            )
        size += len(name) + len(value) + 4
    if len(seen) > MAX_CUSTOM_HEADERS:
        raise ValueError(f"there are more than {MAX_CUSTOM_HEADERS} headers")
    if size > MAX_CUSTOM_HEADER_BYTES:
        raise ValueError(f"the headers are longer than {MAX_CUSTOM_HEADER_BYTES} characters together")


def check_request(ask: Ask) -> None:
    """Raise ValueError, with a sentence for people, unless a probe may send this; the URL is not looked at."""
    if ask.method not in METHODS:
        raise ValueError(f"the method must be one of: {', '.join(METHODS)}")
    if len(ask.body) > MAX_REQUEST_BODY:
        raise ValueError(f"the body is longer than {MAX_REQUEST_BODY} bytes")
    check_headers(ask.headers)
