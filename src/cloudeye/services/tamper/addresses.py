"""Addresses in a page: where they lead, and what of them stays from visit to visit."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

LONGEST = 2048  # characters of an address that are looked at
# Programs are what ends so when it is opened; the rest is documents with macros.
_PROGRAM = re.compile(
    r"\.(?:exe|msi|msix|apk|dmg|pkg|deb|rpm|jar|scr|bat|cmd|ps1|vbs|js|hta|lnk|iso|img|sh|appimage|docm|xlsm|com)$",
    re.I,
)
_SHARD = re.compile(r"^(cdn|static|assets?|img|images?|media|edge|node|cache|files|s|i|a|m)-?\d{1,4}(?=\.[^.]+\.)")
_MOVING = re.compile(r"[A-Za-z0-9]*\d[A-Za-z0-9]*")
_HEX = re.compile(r"(?<![A-Za-z0-9])[a-f]{6,}(?![A-Za-z0-9])")
_HASHED = re.compile(
    r"^(?P<name>.*?[-._])(?P<hash>[A-Za-z0-9_-]{8}|[A-Za-z0-9_-]{10,})(?P<end>(?:\.[A-Za-z0-9]{1,5})+)$"
)
_UNWRITTEN = re.compile(r"\d|[a-z][A-Z]|[A-Z]{2}[a-z]")
_CAPITAL_OR_DIGIT = re.compile(r"[A-Z0-9]")  # among the eight letters of a hash there is one
_LONG = re.compile(r"^[A-Za-z0-9_=-]{16,}$")
# Parameters that carry nothing but the visit.
_PASSING = re.compile(
    r"^_?(?:_|v|ver|version|t|ts|time|timestamp|date|rev|build|cb|bust|cache\w*|nocache|rnd|rand|random|r|hash|h|sig"
    r"|signature|exp|expires?|key-pair-id|policy|\w*token|\w*nonce|\w*csrf\w*|\w*xsrf\w*|\w*sess\w*|s|sid|phpsessid"
    r"|utm_\w+|ref|referrer|gclid|fbclid|msclkid)$",
    re.I,
)
_HEXADECIMAL = re.compile(r"[0-9a-f]{6,}")
_IN_ADDRESS = re.compile(r"[A-Za-z0-9_-]*\d[A-Za-z0-9_-]{15,}|(?<=[.-])[0-9a-f]{6,}(?=\.)")
_BREAKS = re.compile(r"[\t\n\r]")
_SLASHES = ("/", "\\")
_PARAMETER = re.compile(r";[^/?#]*")
DEFAULT_PORTS = {"http": 80, "https": 443}


class Place(NamedTuple):
    """Where an address leads. `origin` is empty for the page's own, `key` is what stays of it, `scheme` as given."""

    origin: str
    key: str
    shown: str
    scheme: str


def looks_random(text: str) -> bool:
    """Is it made by a machine: digits, or capitals where no writer puts them."""
    return _UNWRITTEN.search(text) is not None


class Base:
    """The page's own address, against which the others are read."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.origin = origin_of(url)
        self._at_home = True  # relative addresses lead to where the page is
        self._mine = {self.origin, *_relatives(self.origin)}

    def moved(self, href: str) -> Base:
        """What relative addresses are read against once <base> said so; what is one's own stays."""
        other = Base(self.url)
        try:
            other.url = urljoin(self.url, href[:LONGEST])
            other._at_home = origin_of(other.url) == other.origin
        except ValueError:
            return self
        return other

    def place(self, address: str) -> Place | None:
        """Say where an address leads; None for one that leads nowhere (a fragment, nothing)."""
        address = address[:LONGEST].strip()
        if _BREAKS.search(address):
            address = _BREAKS.sub("", address)  # as browsers do (WHATWG URL, basic URL parser)
        if not address or address[0] == "#":
            return None
        if self._at_home and address[0] == "/" and address[1:2] not in _SLASHES:
            return Place("", _path_key(address), address[:200], "")  # the usual case, without the whole machinery
        scheme, colon, rest = address.partition(":")
        scheme = scheme.lower()
        if colon and scheme.isalnum() and scheme not in ("http", "https"):
            if scheme in ("javascript", "data", "vbscript", "blob"):
                return Place(f"{scheme}:", rest, address[:200], scheme)
            return Place("", f"{scheme}:{_contact(rest)}", address[:200], scheme)
        if self._at_home and not colon and not address.startswith(("//", "\\", "/\\")):
            return Place("", _path_key(address), address[:200], "")
        try:
            joined = urljoin(self.url, address.replace("\\", "/"))
            origin = origin_of(joined)
            parts = urlsplit(joined)
        except ValueError:
            return Place("invalid:", "", address[:200], "invalid")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        if origin in self._mine:
            return Place("", _path_key(path), address[:200], "")
        return Place(origin, _path_key(path), joined[:200], parts.scheme)


def still_address(text: str) -> str:
    """Return an address that stands in code without what moves in its path; what it is relative to is not asked."""
    path, asked, _ = text.partition("?")
    return "/".join(map(_file_key, path.split("/"))) + asked


def is_program(key: str) -> bool:
    """Would a visitor download a program here."""
    return _PROGRAM.search(key.partition("?")[0]) is not None


@lru_cache(maxsize=256)
def origin_of(url: str) -> str:
    """Return scheme and authority, the number of a cache's machine left out (cdn1 and cdn2 are one)."""
    parts = urlsplit(url)
    host = _SHARD.sub(r"\1#", (parts.hostname or "").rstrip("."))
    port = "" if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _relatives(origin: str) -> set[str]:
    """The same place by its other names: with www or without, encrypted or not."""
    host = origin.partition("://")[2]
    other = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
    hosts = {host, other} if ":" not in host else {host}
    return {f"{each}://{name}" for each in ("http", "https") for name in hosts}


def _contact(rest: str) -> str:
    return rest.partition("?")[0].strip().lower()[:200]


@lru_cache(maxsize=4096)
def _path_key(address: str) -> str:
    """Return path and query without what moves: numbers, hashes, sessions, times."""
    address = address.partition("#")[0]
    path, asked, query = address.partition("?")
    if ";" in path:
        path = _PARAMETER.sub("", path)
    pieces = path.split("/")
    for place, piece in enumerate(pieces[:-1]):
        if not piece.isalpha() or len(piece) >= 16:
            pieces[place] = "#" if len(piece) >= 16 and _LONG.match(piece) and looks_random(piece) else _bare(piece)
    pieces[-1] = _file_key(pieces[-1])
    key = "/".join(pieces)
    if not asked:
        return key
    kept = []
    for parameter in re.split("&(?:amp;)?", query):
        name, equals, value = parameter.partition("=")
        if not equals:
            kept.append(_bare(name))
        elif not _PASSING.match(name):
            kept.append(f"{_bare(name)}={_value(value)}")
    return f"{key}?{'&'.join(sorted(kept))}" if any(kept) else key


def _file_key(name: str) -> str:
    """What stays of the last part of a path: its hash goes, its ending stays."""
    if name.isalpha():
        return name
    if len(name) >= 16 and _LONG.match(name) and looks_random(name):
        return "#"
    hashed = _HASHED.match(name)
    if hashed and _CAPITAL_OR_DIGIT.search(hashed["hash"]):
        name = f"{hashed['name']}#{hashed['end']}"
    stem, dot, end = name.rpartition(".")
    return f"{_bare(stem)}{dot}{end}" if dot and len(end) <= 5 else _bare(name)


def _bare(text: str) -> str:
    return _HEX.sub("#", _MOVING.sub("#", text)) if text else text


def _value(value: str) -> str:
    """What stays of a parameter: short words with digits do (G-12AB34), long ones and numbers do not."""
    if value.replace(".", "").replace("-", "").isdigit() or _HEXADECIMAL.fullmatch(value):
        return "#"
    if "/" in value or "%2F" in value.upper():  # an address in an address: its parts, not all of it
        return _IN_ADDRESS.sub("#", value)
    return "#" if len(value) >= 16 and looks_random(value) else value
