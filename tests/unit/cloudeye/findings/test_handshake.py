"""Versions of TLS, asked of real servers with OpenSSL, and of bytes where OpenSSL no longer speaks a version."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Callable

import pytest
from gevent import socket

from cloudeye.services.findings import handshake
from cloudeye.services.findings.handshake import NAMES, SSL3, TLS10, TLS11, TLS12, TLS13
from cloudeye.services.netguard import check_url
from cloudeye.services.probe import Limits
from cloudeye.services.resolver import Resolver
from tests.unit.cloudeye.findings.website import speaking
from tests.unit.cloudeye.playback import Certificates, Handler, NameServer, tcp_server

LIMITS = Limits(True, connect_timeout=2, read_timeout=1, total_timeout=3, max_bytes=1000, max_redirects=0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


def offered(port: int, host: str = "127.0.0.1", resolver: Resolver | None = None) -> dict[int, bool | None]:
    target = check_url(f"https://{host}:{port}/", True)
    return {version: handshake.offers(target, version, LIMITS, resolver or Resolver()) for version in NAMES}


V = ssl.TLSVersion


@pytest.mark.parametrize(
    ("lowest", "highest", "versions"),
    [
        (V.TLSv1, V.TLSv1, {TLS10}),
        (V.TLSv1_1, V.TLSv1_1, {TLS11}),
        (V.TLSv1_2, V.TLSv1_2, {TLS12}),
        (V.TLSv1_3, V.TLSv1_3, {TLS13}),
        (V.TLSv1_2, V.TLSv1_3, {TLS12, TLS13}),
        (V.TLSv1, V.TLSv1_3, {TLS10, TLS11, TLS12, TLS13}),
    ],
)
def test_it_finds_exactly_the_versions_that_a_server_offers(
    certificates: Certificates, lowest: ssl.TLSVersion, highest: ssl.TLSVersion, versions: set[int]
) -> None:
    with tcp_server(lambda sock: sock.recv(1), speaking(certificates.server("site.test"), lowest, highest)) as port:
        found = offered(port)
    assert found == {version: version in versions for version in NAMES}


def test_the_site_is_named_to_the_server(certificates: Certificates) -> None:
    named: list[str | None] = []
    context = certificates.server("site.test")
    context.sni_callback = lambda sock, name, _: named.append(name)
    names = NameServer({("site.test", "A"): [["127.0.0.1"]]})
    resolver = Resolver(nameservers=(names.address,), hosts_path="/nowhere")
    try:
        with tcp_server(lambda sock: sock.recv(1), context) as port:
            found = offered(port, "site.test", resolver)
    finally:
        names.close()
    assert (found[TLS12], found[TLS13]) == (True, True)
    assert set(named) == {"site.test"}


def server_hello(version: int, *, records: int = 1) -> bytes:
    """The answer of a server that chose a version, in so many records."""
    body = struct.pack("!H", version) + bytes(32) + b"\x00" + b"\x00\x2f" + b"\x00"
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    size = -(-len(message) // records)
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(struct.pack("!BHH", 22, version, len(part)) + part for part in parts)


def alert(level: int, number: int) -> bytes:
    return struct.pack("!BHHBB", 21, 0x0301, 2, level, number)


def sending(answer: Callable[[bytes], bytes]) -> Handler:
    """A server that answers a ClientHello with bytes of its own, and then waits."""

    def handler(sock: socket.socket) -> None:
        hello = sock.recv(4096)
        for byte in answer(hello):
            sock.sendall(bytes([byte]))  # it may come in any portions
        sock.recv(1)

    return handler


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (server_hello(SSL3), True),
        (server_hello(SSL3, records=9), True),
        (alert(1, 112) + server_hello(SSL3), True),  # a warning that the name is unknown
        (server_hello(TLS10), False),
        (alert(2, 40), False),
        (alert(2, 70), False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"\x16\x03\x00\x00\x06\x02\x00\x00\x02\x03\x00", False),  # a ServerHello that is too short
        (b"", None),
        (b"\x16\x03", None),
        (b"\x16\x03\x00\x40\x00" + b"\x02\x00\x3f\xfc", None),  # one that never ends
    ],
)
def test_an_answer_is_read_byte_by_byte(answer: bytes, expected: bool | None) -> None:
    target_answer = answer
    with tcp_server(sending(lambda hello: target_answer)) as port:
        found = handshake.offers(check_url(f"https://127.0.0.1:{port}/", True), SSL3, LIMITS, Resolver())
    assert found is expected


def test_the_first_message_asks_for_one_version_alone() -> None:
    seen: list[bytes] = []

    def note(hello: bytes) -> bytes:
        seen.append(hello)
        return alert(2, 70)

    with tcp_server(sending(note)) as port:
        offered(port)
    for version, hello in zip(NAMES, seen, strict=True):
        assert hello[0] == 22
        assert int.from_bytes(hello[3:5], "big") == len(hello) - 5
        assert int.from_bytes(hello[6:9], "big") == len(hello) - 9
        assert int.from_bytes(hello[9:11], "big") == min(version, TLS12)
        assert (b"\x00\x2b\x00\x03\x02\x03\x04" in hello) == (version == TLS13)


def test_a_server_that_closes_or_resets_the_connection_does_not_offer_the_version() -> None:
    def reset(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with tcp_server(lambda sock: sock.recv(4096)) as closing, tcp_server(reset) as resetting:
        assert set(offered(closing).values()) == {False}
        assert set(offered(resetting).values()) == {False}


def test_where_nobody_answers_nothing_is_known() -> None:
    with tcp_server(lambda sock: None) as port:
        pass
    assert set(offered(port).values()) == {None}


def test_an_address_that_must_not_be_asked_gets_nothing() -> None:
    asked: list[int] = []
    names = NameServer({("inside.test", "A"): [["127.0.0.1"]]})
    resolver = Resolver(nameservers=(names.address,), hosts_path="/nowhere")
    strict = Limits(False, 2, 1, 3, 1000, 0)
    try:
        with tcp_server(lambda sock: asked.append(1)) as port:
            target = check_url(f"https://inside.test:{port}/", False)
            assert handshake.offers(target, TLS12, strict, resolver) is None
    finally:
        names.close()
    assert asked == []


def test_an_endless_answer_is_given_up() -> None:
    def flood(sock: socket.socket) -> None:
        sock.recv(4096)
        while True:
            sock.sendall(b"\x16\x03\x00\x40\x00" + b"\x0b\x00\x3f\xfc" + bytes(0x3FFC))

    with tcp_server(flood) as port:
        found = handshake.offers(check_url(f"https://127.0.0.1:{port}/", True), SSL3, LIMITS, Resolver())
    assert found is not True
