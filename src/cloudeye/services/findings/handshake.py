"""Which versions of TLS a server offers, asked with a ClientHello of our own making.

The OpenSSL of the machine that asks refuses old versions by policy, so it cannot tell whether a server has them.
Here the first message is put together byte by byte and the server's first answer is read; no handshake is finished.

Source: RFC 8446 (TLS 1.3) sections 4.1 and 4.2, RFC 5246 (1.2), RFC 4346 (1.1), RFC 2246 (1.0), RFC 6101 (SSL 3.0).
"""

from __future__ import annotations

import secrets
import struct

import gevent
from gevent import socket

from cloudeye.services.netguard import RefusedAddress, Target, judge_address
from cloudeye.services.probe import MAX_ADDRESSES, Limits
from cloudeye.services.probe_wire import Failed, open_socket
from cloudeye.services.resolver import IPV4, IPV6, LookupFailed, Resolver

SSL3, TLS10, TLS11, TLS12, TLS13 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304
NAMES = {SSL3: "SSL 3.0", TLS10: "TLS 1.0", TLS11: "TLS 1.1", TLS12: "TLS 1.2", TLS13: "TLS 1.3"}

_SUITES_13 = (0x1301, 0x1302, 0x1303)
_SUITES_12 = (
    0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0x009E, 0x009F, 0xC023, 0xC027, 0xC024, 0xC028, 0x009C, 0x009D,
    0x0067, 0x006B, 0x003C, 0x003D,
)  # fmt: skip
# AES, 3DES, RC4, Camellia, SEED and DES with every key exchange that servers have.
_SUITES_OLD = (
    0xC009, 0xC013, 0xC00A, 0xC014, 0xC008, 0xC012, 0xC007, 0xC011, 0x0033, 0x0039, 0x0032, 0x0038, 0x0016, 0x0013,
    0x002F, 0x0035, 0x000A, 0x0005, 0x0004, 0x0041, 0x0084, 0x0088, 0x0096, 0x0009,
)  # fmt: skip
_NO_RENEGOTIATION = 0x00FF  # RFC 5746, 3.3: the same as an empty extension, for servers that know none
_GROUPS = (0x001D, 0x0017, 0x0018, 0x0019, 0x0100)
_SIGNATURES = (
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201,
)  # fmt: skip

_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO = 2
_SUPPORTED_VERSIONS = 43
_WARNING = 1
_LARGEST = 65_536  # bytes read of an answer


def offers(target: Target, version: int, limits: Limits, resolver: Resolver) -> bool | None:
    """Ask a server for one version of TLS.

    Args:
        target: an https URL, taken apart.
        version: of NAMES.
        limits: of a probe; the whole takes no longer than `total_timeout`.
        resolver: for the name. The address it gives is judged before anything is sent.

    Returns:
        None when the server did not say: no connection, or no answer in time.
    """
    clock = gevent.Timeout(limits.total_timeout)
    sock: socket.socket | None = None
    try:
        clock.start()
        sock = _connect(target, limits, resolver)
        sock.settimeout(limits.read_timeout)
        sock.sendall(client_hello(version, target.host if target.address is None else None))
        return read_version(sock) == version
    except gevent.Timeout as timeout:
        if timeout is not clock:
            raise
        return None
    except (ConnectionError, EOFError):
        return False  # how many servers say that they will not
    except (Failed, LookupFailed, RefusedAddress, OSError):
        return None
    finally:
        clock.close()
        if sock is not None:
            sock.close()


def _connect(target: Target, limits: Limits, resolver: Resolver) -> socket.socket:
    families = [IPV4, IPV6] if target.address is None else [IPV6 if target.address.version == 6 else IPV4]
    trouble: Exception = Failed("dns_not_found", f"{target.host} has no address")
    for family in families:
        addresses = (target.host,) if target.address is not None else resolver.lookup(target.host, family)
        for address in addresses[:MAX_ADDRESSES]:
            try:
                judge_address(address, limits.allow_private)
                return open_socket(address, family, target.port, limits.connect_timeout)
            except (Failed, RefusedAddress) as error:
                trouble = error
    raise trouble


# -- the first message -----------------------------------------------------------------------------------------


def client_hello(version: int, host: str | None) -> bytes:
    """Return a record with a ClientHello for exactly one version, and for `host` unless it is an address."""
    suites = _SUITES_13 if version == TLS13 else (*_SUITES_12, *_SUITES_OLD) if version == TLS12 else _SUITES_OLD
    if version != TLS13:
        suites = (*suites, _NO_RENEGOTIATION)
    session = secrets.token_bytes(32) if version == TLS13 else b""  # RFC 8446, D.4: as if a session were resumed
    body = (
        struct.pack("!H", min(version, TLS12))
        + secrets.token_bytes(32)
        + _sized(1, session)
        + _sized(2, b"".join(struct.pack("!H", suite) for suite in suites))
        + _sized(1, b"\x00")  # no compression
    )
    extensions = _extensions(version, host)
    if extensions:
        body += _sized(2, extensions)
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return struct.pack("!BH", _HANDSHAKE, min(version, TLS10)) + _sized(2, message)


def _extensions(version: int, host: str | None) -> bytes:
    if version == SSL3:
        return b""
    found = [(10, _sized(2, b"".join(struct.pack("!H", group) for group in _GROUPS))), (11, b"\x01\x00")]
    if host is not None:
        found.insert(0, (0, _sized(2, b"\x00" + _sized(2, host.encode("ascii")))))  # RFC 6066, 3
    if version >= TLS12:  # older versions must not have it (RFC 5246, 7.4.1.4.1)
        found.append((13, _sized(2, b"".join(struct.pack("!H", scheme) for scheme in _SIGNATURES))))
    if version == TLS13:
        found.append((_SUPPORTED_VERSIONS, b"\x02" + struct.pack("!H", TLS13)))
        found.append((51, _sized(2, struct.pack("!H", 0x001D) + _sized(2, secrets.token_bytes(32)))))
    return b"".join(struct.pack("!H", number) + _sized(2, data) for number, data in found)


def _sized(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


# -- the first answer ------------------------------------------------------------------------------------------


def read_version(sock: socket.socket) -> int | None:
    """Read a server's first answer and return the version that it chose; None when it refused, or speaks no TLS.

    Raises:
        EOFError: it closed the connection first.
        OSError: as the socket does.
    """
    wire, messages = b"", b""
    while len(wire) <= _LARGEST:
        more = sock.recv(16_384)
        if not more:
            raise EOFError
        wire += more
        while len(wire) >= 5:
            kind, _, size = struct.unpack("!BHH", wire[:5])
            if kind not in (_ALERT, _HANDSHAKE):
                return None
            if len(wire) < 5 + size:
                break
            fragment, wire = wire[5 : 5 + size], wire[5 + size :]
            if kind == _ALERT:
                if fragment[:1] == bytes([_WARNING]):
                    continue  # as of a name that the server does not know (RFC 6066, 3)
                return None
            messages += fragment
            # At once: what follows a ServerHello of TLS 1.3 in the same packet is encrypted.
            while len(messages) >= 4:
                length = int.from_bytes(messages[1:4], "big")
                if len(messages) < 4 + length:
                    break
                if messages[0] == _SERVER_HELLO:
                    return _chosen(messages[4 : 4 + length])
                messages = messages[4 + length :]
    return None


def _chosen(hello: bytes) -> int | None:
    """The version in a ServerHello; that of TLS 1.3 stands in an extension (RFC 8446, 4.2.1)."""
    if len(hello) < 38:
        return None
    version = int.from_bytes(hello[:2], "big")
    at = 35 + hello[34] + 3
    end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 2
    while at + 4 <= min(end, len(hello)):
        number, size = struct.unpack("!HH", hello[at : at + 4])
        if number == _SUPPORTED_VERSIONS and size == 2:
            return int.from_bytes(hello[at + 4 : at + 6], "big")
        at += 4 + size
    return version
