"""One probe: ask a site over HTTP/1.1 and say whether it is up, whatever the site does.

Everything a site can make large or slow has a bound: names, connects, handshakes, header bytes and count, interim
answers, redirects, body bytes before and after decompression, chunks, the time between two reads and the time of
all together. Each connection goes to the very address that was judged, on every redirect again, while the Host
header, SNI and the certificate's check keep the name.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin

import gevent
from gevent import socket, ssl

from cloudeye.services.answer import Answer, TlsFacts
from cloudeye.services.ask import Ask, StatusSet, check_headers, check_request
from cloudeye.services.netguard import RefusedAddress, Target, check_url, judge_address
from cloudeye.services.probe_http import Exchange
from cloudeye.services.probe_wire import Failed, TlsStream, open_socket, shake_hands
from cloudeye.services.resolver import IPV4, IPV6, LookupFailed, Resolver

__all__ = ["Answer", "Ask", "Limits", "ProbeResult", "StatusSet", "Timings", "TlsFacts", "check_headers", "probe"]

MAX_ADDRESSES = 3  # tried in each address family
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Of a request that becomes a GET: what described its body (RFC 9110, 15.4).
_OF_THE_BODY = frozenset({"content-type", "content-encoding", "content-language", "content-location", "digest"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a probe may do. Times are seconds; `max_bytes` bounds the body, as sent and as unpacked."""

    allow_private: bool
    connect_timeout: float  # for one address, and again for the TLS handshake
    read_timeout: float  # between two reads
    total_timeout: float  # redirects included
    max_bytes: int
    max_redirects: int


@dataclass(slots=True)
class Timings:
    """Where the time went, in milliseconds, summed over redirects; `total_ms` is the clock from start to end."""

    dns_ms: float = 0.0
    connect_ms: float = 0.0
    tls_ms: float = 0.0
    first_byte_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe found.

    `state` is up when the last answer's status is an expected one, its body could be read and the keywords are as
    they should be, else down. `latency_ms` runs from the start to the first byte of the last answer. `code` is a
    short stable word for what went wrong and `text` the same for people, both None when up. `truncated` says that
    the body is not all there, so that a keyword that must be absent was looked for in what is. `answer` is the last
    answer, also when it is not what was expected, and `tls` what protected it; a redirect that leads nowhere leaves
    none.
    """

    state: str
    status_code: int | None
    latency_ms: float | None
    code: str | None
    text: str | None
    timings: Timings
    address: str | None
    url: str
    redirects: int
    body_bytes: int
    truncated: bool
    answer: Answer | None = None
    tls: TlsFacts | None = None

    @property
    def error(self) -> str | None:
        """Code and text in one line of at most 255 characters, as it is stored."""
        return None if self.code is None else f"{self.code}: {self.text}"[:255]


def probe(ask: Ask | str, limits: Limits, resolver: Resolver, tls: ssl.SSLContext) -> ProbeResult:
    """Send `ask` (a URL alone: a GET) and follow redirects; the caller's greenlet waits in the hub.

    It takes no longer than `ask.timeout` and `limits.total_timeout`. With a timeout of its own an ask also lets the
    site be silent for that long. Returns a result for whatever the site does. Raises OSError only for trouble of
    this machine (no more file descriptors, memory or local ports), which is no news of the site.
    """
    if isinstance(ask, str):
        ask = Ask(ask)
    if ask.timeout is not None:
        # Never longer than the limits', whatever was saved under older ones: claims on sites last for that long.
        wait = min(ask.timeout, limits.total_timeout)
        limits = replace(limits, total_timeout=wait, read_timeout=wait)
    run = _Run(ask, limits, resolver, tls)
    started = time.perf_counter()
    clock = gevent.Timeout(limits.total_timeout)
    failure: tuple[str, str] | None = None
    try:
        clock.start()
        run.follow(started)
        failure = _judge(ask, run.answer)
    except gevent.Timeout as timeout:
        if timeout is not clock:
            raise
        failure = "total_timeout", f"not finished within {limits.total_timeout:g} s"
    except (Failed, LookupFailed) as failed:
        failure = failed.code, str(failed)
    except RefusedAddress as refused:
        failure = refused.code, f"redirected to a refused address: {refused}" if run.redirects else str(refused)
    finally:
        clock.close()
        run.close()
    run.timings.total_ms = _since(started)
    answer = run.answer
    return ProbeResult(
        state="up" if failure is None else "down",
        status_code=run.status,
        latency_ms=run.latency_ms,
        code=None if failure is None else failure[0],
        text=None if failure is None else failure[1],
        timings=run.timings,
        address=run.address,
        url=run.url or ask.url,
        redirects=run.redirects,
        body_bytes=0 if answer is None else len(answer.body),
        truncated=answer is not None and answer.truncated,
        answer=answer,
        tls=run.tls_facts if answer is not None else None,
    )


def _judge(ask: Ask, answer: Answer | None) -> tuple[str, str] | None:
    """What is wrong with an answer that was read to its end."""
    if answer is None:
        raise RuntimeError("followed to no answer")
    if not ask.expected.contains(answer.status):
        return "http_status", f"the site answered with status {answer.status}"
    present, absent = ask.keyword_present, ask.keyword_absent
    if (present or absent) and answer.packed is not None:
        return "unreadable_body", f"the body is packed as {answer.packed}, which the site was asked not to do"
    if present and not answer.holds(present):
        if ask.method == "HEAD":
            where = "the body: an answer to HEAD has none"
        elif answer.truncated:
            where = f"the {len(answer.body)} bytes of the body that were read; it goes on"
        else:
            where = "the body"
        return "keyword_missing", f"{_shown(present)} is not in {where}"
    if absent and answer.holds(absent):
        return "keyword_found", f"{_shown(absent)} is in the body"
    return None


def _shown(keyword: str) -> str:
    return repr(keyword if len(keyword) <= 80 else f"{keyword[:80]}...")


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)


def _origin(target: Target) -> tuple[str, str, int]:
    return target.scheme, target.host, target.port


@dataclass(slots=True)
class _Run:
    """The state of one probe under way."""

    ask: Ask
    limits: Limits
    resolver: Resolver
    tls: ssl.SSLContext
    timings: Timings = field(default_factory=Timings)
    status: int | None = None
    latency_ms: float | None = None
    address: str | None = None
    url: str = ""
    redirects: int = 0
    answer: Answer | None = None
    tls_facts: TlsFacts | None = None
    _sock: socket.socket | TlsStream | None = None
    _method: str = ""
    _headers: tuple[tuple[str, str], ...] = ()
    _body: bytes = b""

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def follow(self, started: float) -> None:
        try:
            check_request(self.ask)
        except ValueError as refused:
            raise Failed("refused_request", str(refused)) from None
        self._method, self._headers, self._body = self.ask.method, self.ask.headers, self.ask.body
        target = check_url(self.ask.url, self.limits.allow_private)
        while True:
            # Only what the last answer said counts: a redirect's status is none if its target cannot be asked.
            self.status = self.latency_ms = self.tls_facts = None
            self.url = target.url
            exchange = Exchange(
                self._connect(target),
                self._method,
                self._headers,
                self._body,
                self.limits.read_timeout,
                self.limits.max_bytes,
            )
            try:
                response = exchange.ask(target)
            finally:
                self.timings.first_byte_ms = round(self.timings.first_byte_ms + exchange.first_byte_ms, 3)
            location = next((value for name, value in response.headers if name == b"location"), None)
            if response.status_code not in _REDIRECTS or not location or not self.ask.follow_redirects:
                self.status = response.status_code
                self.latency_ms = _since(started)
                try:
                    exchange.read(response, self.url)
                finally:
                    self.answer = exchange.answer
                return
            if self.redirects >= self.limits.max_redirects:
                raise Failed("too_many_redirects", f"redirected more than {self.limits.max_redirects} times")
            self.close()
            self.redirects += 1
            before, target = target, check_url(_join(target, location), self.limits.allow_private)
            self._redirect(response.status_code, before, target)

    def _redirect(self, status: int, before: Target, target: Target) -> None:
        """What the next request is, after a redirect (RFC 9110, 15.4)."""
        becomes_get = (status == 303 and self._method != "HEAD") or (status in (301, 302) and self._method == "POST")
        if becomes_get:
            self._method, self._body = "GET", b""
            self._headers = tuple(item for item in self._headers if item[0].lower() not in _OF_THE_BODY)
        if _origin(before) != _origin(target):
            # Headers and bodies may hold credentials. What went elsewhere once gets them no more, also on a way back,
            # which somebody else has chosen.
            self._headers = ()
            if self._body:
                raise Failed(
                    "refused_redirect", f"the site redirects a {self._method} to {target.host}, which gets no body"
                )

    # -- connecting -------------------------------------------------------------------------------------------

    def _connect(self, target: Target) -> socket.socket | TlsStream:
        # IPv6 is asked for only when IPv4 gives no connection: many hosts have no route for it.
        families = [IPV4, IPV6] if target.address is None else [IPV6 if target.address.version == 6 else IPV4]
        trouble: Exception | None = None
        for family in families:
            try:
                addresses = self._addresses(target, family)
            except LookupFailed as failed:
                raise trouble or failed from None
            for address in addresses[:MAX_ADDRESSES]:
                try:
                    judge_address(address, self.limits.allow_private)
                    sock = self._open(address, family, target.port)
                except (Failed, RefusedAddress) as error:
                    trouble = trouble or error
                    continue
                self.address = address
                return self._handshake(sock, target.host) if target.scheme == "https" else sock
        raise trouble or Failed("dns_not_found", f"{target.host} has no address")

    def _addresses(self, target: Target, family: int) -> tuple[str, ...]:
        if target.address is not None:
            return (target.host,)
        started = time.perf_counter()
        try:
            return self.resolver.lookup(target.host, family)
        finally:
            self.timings.dns_ms += _since(started)

    def _open(self, address: str, family: int, port: int) -> socket.socket:
        started = time.perf_counter()
        try:
            self._sock = open_socket(address, family, port, self.limits.connect_timeout)
        finally:
            self.timings.connect_ms += _since(started)
        return self._sock

    def _handshake(self, sock: socket.socket, host: str) -> TlsStream:
        started = time.perf_counter()
        try:
            stream = shake_hands(sock, host, self.tls, self.limits.connect_timeout)
        finally:
            self.timings.tls_ms += _since(started)
        self._sock = stream
        self.tls_facts = stream.facts()
        return stream


def _join(target: Target, location: bytes) -> str:
    """The URL a Location header names; it is judged by whoever asks it."""
    try:
        text = location.decode("utf-8")
    except UnicodeDecodeError:
        text = location.decode("latin-1")
    try:
        return urljoin(target.url, text.replace(" ", "%20"))
    except ValueError:
        raise Failed("bad_response", "the site redirected to something that is no URL") from None
