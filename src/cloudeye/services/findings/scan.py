"""A closer look at one site, for an owner who proved control: exposed files, CORS, redirects, versions of TLS.

Bounded in requests, in time, and by a pause between two of them; only GET, and only the site's own origin (and for
https on its usual port one request to the plain address of the same host). Redirects are not followed. It stops when
the site fails or asks for fewer requests; what it did not get to is not said to be mended.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit

import gevent

from cloudeye.services.answer import Answer
from cloudeye.services.ask import Ask, StatusSet
from cloudeye.services.findings import page
from cloudeye.services.findings.catalogue import codes_of
from cloudeye.services.findings.exposures import EXPOSURES, FOLDERS, IN_FOLDERS, Recogniser
from cloudeye.services.findings.found import Found, Look, find, limited
from cloudeye.services.findings.handshake import NAMES, SSL3, TLS10, TLS11, TLS12, TLS13
from cloudeye.services.netguard import RefusedAddress, Target, check_url
from cloudeye.services.probe import ProbeResult

Get = Callable[[Ask], ProbeResult]
Offers = Callable[[Target, int], bool | None]

ANY_STATUS = StatusSet.parse("200-999")
MAX_REDIRECT_PATHS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SIMILAR = 0.9  # of the words of two pages
_ELSEWHERE = "example.net"  # kept for examples (RFC 2606): nobody is asked or sent there


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a scan may ask of a site. Times are seconds."""

    requests: int = 180  # connections, handshakes included
    pause: float = 0.25
    total: float = 300.0
    each: float = 10.0
    failures: int = 3  # in a row, after which the site is left alone


class Stopped(Exception):
    """The scan has come to one of its bounds, or the site wants no more of it."""


def scan(
    target: Target, get: Get, offers: Offers, redirect_paths: Sequence[str] = (), bounds: Bounds | None = None
) -> Look:
    """Look closely at the site of a URL whose owner proved control, just before.

    Args:
        target: the site's URL, taken apart.
        get: asks for one URL, through netguard.
        offers: asks a server for a version of TLS; None when it did not say.
        redirect_paths: paths that may redirect, with {url} where a visitor's wish goes.
        bounds: None for the usual ones.
    """
    run = _Run(target, get, offers, bounds or Bounds())
    found: list[Found] = []
    looked: frozenset[str] = frozenset()
    sections: tuple[tuple[Callable[[], Iterator[Found]], frozenset[str]], ...] = (
        (run.versions, codes_of("tls")),
        (run.plain, codes_of("plain")),
        (run.sharing, codes_of("cors")),
        (lambda: run.redirects(redirect_paths), codes_of("redirects")),
        (run.files, codes_of("files")),
        (run.folders, frozenset({"directory_listing"})),
    )
    try:
        for section, codes in sections:
            run.complete = True
            for one in section():
                found.append(one)
            if run.complete:
                looked |= codes
    except Stopped:
        pass
    return Look(limited(found), looked)


@dataclass(slots=True)
class _Run:
    """One scan under way."""

    target: Target
    get: Get
    offers: Offers
    bounds: Bounds
    complete: bool = True  # nothing of the section at hand was left out
    asked: int = 0
    failed: int = 0  # in a row
    _deadline: float = field(init=False)
    _everywhere: list[tuple[str, bytes]] | None = None  # what random paths are answered with

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.bounds.total

    # -- asking -----------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait for the next request's turn."""
        if self.asked:
            gevent.sleep(self.bounds.pause)
        if self.asked >= self.bounds.requests or time.monotonic() >= self._deadline:
            raise Stopped
        self.asked += 1

    def _url(self, path: str) -> str:
        return f"{self.target.scheme}://{self.target.authority}{path}"

    def ask(self, url: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer | None:
        """Ask for a URL; None when there was no answer to it, and then the section is not complete."""
        self._turn()
        left = max(1.0, self._deadline - time.monotonic())
        each = min(self.bounds.each, left)
        result = self.get(Ask(url, headers=headers, follow_redirects=False, timeout=each, expected=ANY_STATUS))
        answer = result.answer
        if answer is None:
            self.complete = False
            self.failed += 1
            if self.failed >= self.bounds.failures:
                raise Stopped
            return None
        self.failed = 0
        if answer.status == 429:
            raise Stopped  # too many requests (RFC 6585, 4)
        return answer

    # -- versions of TLS --------------------------------------------------------------------------------------

    def versions(self) -> Iterator[Found]:
        if self.target.scheme != "https":
            return
        offered: dict[int, bool | None] = {}
        for version in NAMES:
            self._turn()
            offered[version] = self.offers(self.target, version)
        newer = offered[TLS12], offered[TLS13]
        # To be silent about an old version, and to answer a new one, is one way not to offer the old one.
        self.complete = None not in (newer if any(newer) else offered.values()) and any(offered.values())
        if offered[SSL3]:
            yield find("tls_sslv3", evidence="the server answered a handshake of SSL 3.0")
        for version in (TLS10, TLS11):
            if offered[version]:
                yield find("tls_old_version", NAMES[version], f"the server answered a handshake of {NAMES[version]}")
        if not self.complete:
            return
        spoken = ", ".join(NAMES[version] for version, yes in offered.items() if yes)
        if not any(newer):
            yield find("tls_outdated", evidence=f"the server offers {spoken}")
        elif not offered[TLS13]:
            yield find("tls_1_3_missing", evidence=f"the server offers {spoken}")

    # -- the plain address ------------------------------------------------------------------------------------

    def plain(self) -> Iterator[Found]:
        if self.target.scheme != "https" or self.target.port != 443:
            return
        self._turn()
        url = f"http://{self.target.authority}{self.target.path}"
        result = self.get(Ask(url, follow_redirects=False, timeout=self.bounds.each, expected=ANY_STATUS))
        answer = result.answer
        if answer is None:
            # Nobody listens there: so nothing is sent without encryption.
            self.complete = (result.code or "").startswith("connect_")
            return
        location = answer.header("location")
        if answer.status in _REDIRECTS and location is not None:
            leads = urlsplit(_browser_url(url, location))
            if leads.scheme == "http" and leads.hostname == self.target.host:
                yield find("http_no_redirect", evidence=f"{url} redirects to {location}")
        elif answer.status < 400:
            yield find("http_no_redirect", evidence=f"{url} is answered with status {answer.status}")

    # -- cross-origin resource sharing ------------------------------------------------------------------------

    def sharing(self) -> Iterator[Found]:
        foreign = f"https://{_random()}.{_ELSEWHERE}"
        origins = [("any origin", foreign), ("null", "null")]
        if ":" not in self.target.host:  # what begins with the site's own name deceives a careless comparison
            origins.append(("look-alike origin", f"https://{self.target.host}.{_random()}.{_ELSEWHERE}"))
        reflected = False
        for subject, origin in origins:
            if subject == "look-alike origin" and reflected:
                continue
            answer = self.ask(self.target.url, (("Origin", origin),))
            if answer is None or answer.header("access-control-allow-origin") != origin:
                continue
            reflected = reflected or subject == "any origin"
            credentials = (answer.header("access-control-allow-credentials") or "").strip() == "true"
            code = "cors_any_origin_credentials" if credentials else "cors_any_origin"
            said = "; Access-Control-Allow-Credentials: true" if credentials else ""
            yield find(code, subject, f"to Origin: {origin} it says Access-Control-Allow-Origin: {origin}{said}")

    # -- open redirects ---------------------------------------------------------------------------------------

    def redirects(self, paths: Sequence[str]) -> Iterator[Found]:
        host = self.target.host
        for path in paths[:MAX_REDIRECT_PATHS]:
            for form in ("https://{to}/", "//{to}/", "/\\{to}/", "https://{host}@{to}/", "https://{host}.{to}/"):
                to = f"{_random()}.{_ELSEWHERE}"
                wish = form.format(to=to, host=host)
                url = self._own(path.replace("{url}", quote(wish, safe="")))
                if url is None or "{url}" not in path:
                    break
                answer = self.ask(url)
                leads = None if answer is None else _leads_away(answer, to)
                if leads is not None:
                    yield find("open_redirect", path, f"asked with {wish} it leads to {leads}")
                    break

    def _own(self, path: str) -> str | None:
        """The URL of a path of this site; None when the path leaves it."""
        try:
            there = check_url(self._url(path), allow_private=True)  # judged again before it is asked
        except RefusedAddress:
            return None
        same = (there.scheme, there.host, there.port) == (self.target.scheme, self.target.host, self.target.port)
        return there.url if same and path.startswith("/") else None

    # -- files and folders ------------------------------------------------------------------------------------

    def files(self) -> Iterator[Found]:
        folder = self.target.path.partition("?")[0].rpartition("/")[0]
        for exposure in EXPOSURES:
            places = [exposure.path]
            if folder and exposure.path in IN_FOLDERS:
                places.append(folder + exposure.path)
            for place in places:
                path = place.replace("{host}", quote(self.target.host.strip("[]"), safe="."))
                evidence = self._there(path, exposure.recognise)
                if evidence is not None:
                    yield find(exposure.code, path, evidence)

    def folders(self) -> Iterator[Found]:
        for path in FOLDERS:
            if path != self.target.path.partition("?")[0]:
                evidence = self._there(path, lambda body: "a listing of files" if page.is_listing(body) else None)
                if evidence is not None:
                    yield find("directory_listing", path, evidence)

    def _there(self, path: str, recognise: Recogniser) -> str | None:
        """Ask for a path and tell what shows that it is what it seems to be; None when it is not."""
        answer = self.ask(self._url(path))
        if answer is None or answer.status != 200:
            return None
        evidence = recognise(answer.body)
        if evidence is None or self._is_everywhere(path, answer.body):
            return None
        # What names that nobody has made are answered with just so is no file: one beside it, one of its own name.
        for other in (_beside(path), f"/{_random()}{path}"):
            answer = self.ask(self._url(other))
            if answer is None or (answer.status == 200 and recognise(answer.body) is not None):
                return None
        return evidence

    def _is_everywhere(self, path: str, body: bytes) -> bool:
        """Is this what the site answers to paths that nobody has made: with status 200, whatever is asked for."""
        if self._everywhere is None:
            self._everywhere = []
            for random in (f"/{_random()}", f"/{_random()}/{_random()}.txt"):
                answer = self.ask(self._url(random))
                if answer is not None and answer.status == 200:
                    self._everywhere.append((random, answer.body))
        return any(similar(body, path, other, random) for random, other in self._everywhere)


def _random() -> str:
    return f"ce{secrets.token_hex(8)}"


def _beside(path: str) -> str:
    """A name that nobody has made, in the same folder and with the same ending."""
    folder, _, name = path.rstrip("/").rpartition("/")
    dot = "." if name.startswith(".") else ""
    ending = name.lstrip(".").partition(".")[2]
    return f"{folder}/{dot}{_random()}{f'.{ending}' if ending else ''}{'/' if path.endswith('/') else ''}"


_WORD = re.compile(rb"\w+")


def similar(one: bytes, one_path: str, other: bytes, other_path: str) -> bool:
    """Are two answers the same page, but for the path that each may repeat: nine of ten words are."""
    if one == other:
        return True
    sets = []
    for body, path in ((one, one_path), (other, other_path)):
        text = body[:65_536].replace(path.encode(), b"").replace(path.strip("/").encode(), b"")
        sets.append(frozenset(_WORD.findall(text)))
    words = sets[0] | sets[1]
    return bool(words) and len(sets[0] & sets[1]) >= _SIMILAR * len(words)


# -- where an answer leads -------------------------------------------------------------------------------------

_REFRESH = re.compile(r"^[\d.\s]*[;,]?\s*(?:url\s*=)?\s*[\"']?([^\"']*)", re.IGNORECASE)


def _browser_url(base: str, reference: str) -> str:
    """The URL that a browser goes to: it drops tabs and newlines and reads \\ as / (WHATWG URL, 4.4)."""
    text = re.sub(r"[\t\r\n]", "", reference.strip()).replace("\\", "/")
    text = re.sub(r"^(https?:)?/{2,}", lambda found: f"{found[1] or ''}//", text, flags=re.IGNORECASE)
    try:
        url = urljoin(base, text)
        urlsplit(url).hostname  # noqa: B018 - may refuse what urljoin lets through
    except ValueError:
        return ""
    return url


def _leads_away(answer: Answer, to: str) -> str | None:
    """What leads to the host `to` or one below it: a Location, a Refresh header, or a meta element like it."""
    said: list[str] = []
    location = answer.header("location")
    if location is not None and answer.status in _REDIRECTS:
        said.append(location)
    refreshes = [answer.header("refresh") or ""]
    if to.encode() in answer.body and answer.status < 400:
        refreshes += page.read(answer).metas["refresh"]
    said += [found[1] for found in map(_REFRESH.match, refreshes) if found is not None and found[1]]
    for text in said:
        host = urlsplit(_browser_url(answer.url, text)).hostname or ""
        if host == to or host.endswith(f".{to}"):
            return text
    return None
