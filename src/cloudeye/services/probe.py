"""One probe: ask a site over HTTP/1.1 and say whether it is up, whatever the site does.

Everything a site can make large or slow has a bound: names, connects, handshakes, header bytes and count, interim
answers, redirects, body bytes before and after decompression, chunks, the time between two reads and the time of
all together. Each connection goes to the very address that was judged, on every redirect again, while the Host
header, SNI and the certificate's check keep the name.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from urllib.parse import urljoin

import gevent
import h11
from gevent import socket, ssl

from cloudeye.services.netguard import RefusedAddress, Target, check_url, judge_address
from cloudeye.services.probe_wire import Failed, open_socket, receive, send, shake_hands
from cloudeye.services.resolver import IPV4, IPV6, LookupFailed, Resolver

USER_AGENT = "cloudeye (website monitor)"
MAX_HEADER_BYTES = 65536
MAX_HEADERS = 256
MAX_INTERIM = 16
MAX_CHUNKS = 20_000
MAX_ADDRESSES = 3  # tried in each address family
# Parts of a body worked through before other greenlets get their turn.
_TURN = 128
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


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

    `state` is up when the last answer's status is 200 to 399 and its body could be read, else down. `latency_ms`
    runs from the start to the first byte of the last answer. `code` is a short stable word for what went wrong and
    `text` the same for people, both None when up. `truncated` says that the body was larger than wanted.
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

    @property
    def error(self) -> str | None:
        """Code and text in one line of at most 255 characters, as it is stored."""
        return None if self.code is None else f"{self.code}: {self.text}"[:255]


def probe(url: str, limits: Limits, resolver: Resolver, tls: ssl.SSLContext) -> ProbeResult:
    """Ask `url` and follow its redirects; the caller's greenlet waits in the hub, never longer than total_timeout.

    Returns a result for whatever the site does. Raises OSError only for trouble of this machine (no more file
    descriptors, memory or local ports), which is no news of the site.
    """
    run = _Run(limits, resolver, tls)
    started = time.perf_counter()
    clock = gevent.Timeout(limits.total_timeout)
    code: str | None = None
    text: str | None = None
    try:
        clock.start()
        run.follow(url, started)
        if not 200 <= (run.status or 0) <= 399:
            code, text = "http_status", f"the site answered with status {run.status}"
    except gevent.Timeout as timeout:
        if timeout is not clock:
            raise
        code, text = "total_timeout", f"not finished within {limits.total_timeout:g} s"
    except (Failed, LookupFailed) as failure:
        code, text = failure.code, str(failure)
    except RefusedAddress as refused:
        code = refused.code
        text = f"redirected to a refused address: {refused}" if run.redirects else str(refused)
    finally:
        clock.close()
        run.close()
    run.timings.total_ms = _since(started)
    return ProbeResult(
        state="up" if code is None else "down",
        status_code=run.status,
        latency_ms=run.latency_ms,
        code=code,
        text=text,
        timings=run.timings,
        address=run.address,
        url=run.url or url,
        redirects=run.redirects,
        body_bytes=run.body_bytes,
        truncated=run.truncated,
    )


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)


@dataclass(slots=True)
class _Run:
    """The state of one probe under way."""

    limits: Limits
    resolver: Resolver
    tls: ssl.SSLContext
    timings: Timings = field(default_factory=Timings)
    status: int | None = None
    latency_ms: float | None = None
    address: str | None = None
    url: str = ""
    redirects: int = 0
    body_bytes: int = 0
    truncated: bool = False
    _sock: socket.socket | None = None
    _wire_bytes: int = 0

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def follow(self, url: str, started: float) -> None:
        while True:
            # Only what the last answer said counts: a redirect's status is none if its target cannot be asked.
            self.status = self.latency_ms = None
            target = check_url(url, self.limits.allow_private)
            self.url = target.url
            sock = self._connect(target)
            connection, response = self._ask(sock, target)
            location = next((value for name, value in response.headers if name == b"location"), None)
            if response.status_code not in _REDIRECTS or not location:
                self.status = response.status_code
                self.latency_ms = _since(started)
                self._read_body(sock, connection, response)
                return
            if self.redirects >= self.limits.max_redirects:
                raise Failed("too_many_redirects", f"redirected more than {self.limits.max_redirects} times")
            self.close()
            self.redirects += 1
            url = _join(target, location)

    # -- connecting -------------------------------------------------------------------------------------------

    def _connect(self, target: Target) -> socket.socket:
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

    def _handshake(self, sock: socket.socket, host: str) -> socket.socket:
        started = time.perf_counter()
        try:
            self._sock = shake_hands(sock, host, self.tls, self.limits.connect_timeout)
        finally:
            self.timings.tls_ms += _since(started)
        return self._sock

    # -- asking and reading -----------------------------------------------------------------------------------

    def _ask(self, sock: socket.socket, target: Target) -> tuple[h11.Connection, h11.Response]:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
        headers = [
            ("Host", target.authority),
            ("User-Agent", USER_AGENT),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        request = connection.send(h11.Request(method="GET", target=target.path, headers=headers)) or b""
        connection.send(h11.EndOfMessage())
        started = time.perf_counter()
        send(sock, request)
        self._wire_bytes = interim = 0
        while True:
            event = self._next_event(connection, "the answer")
            if event is h11.NEED_DATA:
                first = self._wire_bytes == 0
                data = self._receive(sock)
                if first:
                    self.timings.first_byte_ms += _since(started)
                if not data:
                    raise Failed("closed", "the site closed the connection before it answered")
                connection.receive_data(data)
            elif isinstance(event, h11.InformationalResponse):
                interim += 1
                if interim > MAX_INTERIM:
                    raise Failed("too_many_interim", f"more than {MAX_INTERIM} interim answers")
            elif isinstance(event, h11.Response):
                if len(event.headers) > MAX_HEADERS:
                    raise Failed("headers_too_large", f"more than {MAX_HEADERS} headers")
                return connection, event
            else:
                raise Failed("bad_response", "the site sent no answer")

    def _read_body(self, sock: socket.socket, connection: h11.Connection, response: h11.Response) -> None:
        encoding = next((value.lower() for name, value in response.headers if name == b"content-encoding"), b"")
        # wbits 47: gzip or zlib, told apart by their headers (zlib's inflateInit2)
        unpack = zlib.decompressobj(47) if encoding in (b"gzip", b"x-gzip", b"deflate") else None
        limit = self.limits.max_bytes
        received = parts = 0
        while True:
            event = self._next_event(connection, "the body")
            if event is h11.NEED_DATA:
                # More than the body alone, for what chunks add to it.
                if self._wire_bytes > 2 * limit + MAX_HEADER_BYTES:
                    self.truncated = True
                    return
                connection.receive_data(self._receive(sock))
            elif isinstance(event, h11.Data):
                parts += 1
                received += len(event.data)
                if unpack is None:
                    self.body_bytes = min(received, limit)
                else:
                    self._unpack(unpack, bytes(event.data))
                if received > limit or self.body_bytes > limit or parts > MAX_CHUNKS:
                    self.truncated = True
                    self.body_bytes = min(self.body_bytes, limit)
                    return
                if parts % _TURN == 0:
                    gevent.sleep(0)
            else:  # the end of the body
                return

    def _unpack(self, unpack: zlib._Decompress, data: bytes) -> None:
        room = self.limits.max_bytes + 1 - self.body_bytes
        try:
            self.body_bytes += len(unpack.decompress(data, room))
        except zlib.error:
            raise Failed("bad_encoding", "the compressed body cannot be unpacked") from None

    def _next_event(self, connection: h11.Connection, what: str) -> object:
        try:
            return connection.next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                raise Failed("headers_too_large", f"headers of more than {MAX_HEADER_BYTES} bytes") from None
            if "peer closed" in str(error) or "without sending" in str(error):
                raise Failed("incomplete_body", "the connection ended before the body did") from None
            raise Failed("bad_response", f"{what} is not valid HTTP: {error}") from None

    def _receive(self, sock: socket.socket) -> bytes:
        data = receive(sock, self.limits.read_timeout)
        self._wire_bytes += len(data)
        return data


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
