"""Real servers on loopback that a test can make behave in any way: TCP, TLS, DNS. They run in the test's hub."""

from __future__ import annotations

import datetime
import errno
import ipaddress
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import gevent
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from gevent import socket
from gevent.server import DatagramServer, StreamServer

Handler = Callable[[socket.socket], object]
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@contextmanager
def tcp_server(handler: Handler, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve each connection with `handler` on a free port of 127.0.0.1; it may hang or fail as it likes."""

    def handle(sock: socket.socket, _: object) -> None:
        try:
            if tls is not None:
                sock = tls.wrap_socket(sock, server_side=True)
            handler(sock)
        except OSError:
            pass  # the client went away, as it should
        finally:
            sock.close()

    server = StreamServer(("127.0.0.1", 0), handle)
    server.start()
    try:
        yield server.server_port
    finally:
        server.stop(timeout=0)


def read_request(sock: socket.socket) -> bytes:
    """The request up to the end of its headers."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(4096)
        if not more:
            break
        data += more
    return data


def answer(*parts: bytes) -> Handler:
    """A handler that reads the request, sends the parts and closes."""

    def handler(sock: socket.socket) -> None:
        read_request(sock)
        for part in parts:
            sock.sendall(part)

    return handler


def endless(first: bytes, parts: Iterable[bytes], pause: float = 0) -> Handler:
    """A handler that sends `first` and then the parts, with a pause after each, for as long as somebody reads."""

    def handler(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(first)
        for part in parts:
            sock.sendall(part)
            gevent.sleep(pause)

    return handler


@dataclass(frozen=True)
class Certificates:
    """A certificate authority of a test and what it signs."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate("Test CA", key, "Test CA", key, None, NOW - DAY, NOW + DAY, ca=True)
        (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, key, certificate)

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")

    def server(
        self,
        name: str,
        *,
        not_before: datetime.datetime = NOW - DAY,
        not_after: datetime.datetime = NOW + DAY,
        self_signed: bool = False,
        other_names: int = 0,
    ) -> ssl.SSLContext:
        """The server side of TLS for `name`, a host name or an address; `other_names` make its certificate large."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, issuer_key = (name, key) if self_signed else ("Test CA", self.key)
        certificate = _certificate(
            name, key, issuer, issuer_key, name, not_before, not_after, ca=False, others=other_names
        )
        path = self.folder / f"{certificate.serial_number}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        from gevent import ssl as gevent_ssl

        context: ssl.SSLContext = gevent_ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    name: str | None,
    not_before: datetime.datetime,
    not_after: datetime.datetime,
    *,
    ca: bool,
    others: int = 0,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if name is not None:
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        more = [x509.DNSName(f"{number}.other.test") for number in range(others)]
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative, *more]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


class NameServer:
    """A DNS server on one port of 127.0.0.1, over UDP and TCP.

    `answers` maps (name, "A", "AAAA" or "TXT") to a list of answers, each a list of records in text: one answer a
    question, the last one for ever after; (name, "CNAME") to one list with the name it stands for. A name that is not
    in it does not exist. `delay` seconds pass before each answer.
    """

    def __init__(self, answers: dict[tuple[str, str], list[list[str]]], delay: float = 0, ttl: int = 60) -> None:
        self.answers = answers
        self.delay = delay
        self.ttl = ttl
        self.truncate = False
        self.rcode: dns.rcode.Rcode | None = None
        self.forge: bytes | None = None
        self.questions: list[tuple[str, str]] = []
        while True:  # until a port is free for both
            self._tcp = StreamServer(("127.0.0.1", 0), self._on_connection)
            self._tcp.start()
            self.address: tuple[str, int] = self._tcp.socket.getsockname()
            self._udp = DatagramServer(self.address, self._on_datagram)
            try:
                self._udp.start()
                break
            except OSError as error:
                self._tcp.stop(timeout=0)
                if error.errno != errno.EADDRINUSE:
                    raise

    def close(self) -> None:
        self._udp.stop()
        self._tcp.stop(timeout=0)

    def _answer(self, wire: bytes, over_udp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(question.rdtype)
        self.questions.append((name, kind))
        response = dns.message.make_response(query)
        owner = question.name
        if (name, "CNAME") in self.answers:
            name = self.answers[name, "CNAME"][0][0]
            response.answer.append(dns.rrset.from_text(owner, self.ttl, "IN", "CNAME", f"{name}."))
            owner = dns.name.from_text(name)
        known = self.answers.get((name, kind))
        if self.rcode is not None:
            response.set_rcode(self.rcode)
        elif over_udp and self.truncate:
            response.flags |= dns.flags.TC
        elif known is not None:
            addresses = known.pop(0) if len(known) > 1 else known[0]
            if addresses:
                response.answer.append(dns.rrset.from_text_list(owner, self.ttl, "IN", kind, addresses))
        elif not any(other == name for other, _ in self.answers):
            response.set_rcode(dns.rcode.NXDOMAIN)
        gevent.sleep(self.delay)
        return response.to_wire(max_size=65535)

    def _on_datagram(self, wire: bytes, peer: tuple[str, int]) -> None:
        if self.forge is not None:
            self._udp.sendto(self.forge, peer)
        self._udp.sendto(self._answer(wire, over_udp=True), peer)

    def _on_connection(self, sock: socket.socket, _: object) -> None:
        size = int.from_bytes(sock.recv(2), "big")
        answered = self._answer(sock.recv(size), over_udp=False)
        sock.sendall(len(answered).to_bytes(2, "big") + answered)
        sock.close()
