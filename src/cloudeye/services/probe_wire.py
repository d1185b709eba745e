"""Sockets of a probe: connecting, TLS and reading, each bounded in time, each failure with a reason.

`Failed` carries a short stable word beside the text for people; trouble of this machine is never a `Failed`.
"""

from __future__ import annotations

import errno
import ssl as tls_errors
from contextlib import suppress

from gevent import socket, ssl

from cloudeye.services.answer import TlsFacts

READ_SIZE = 32768
MAX_TLS_BYTES = 262144  # of a handshake, and between two reads: a certificate's chain may have 100 KB, a record 16 KB
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EACCES, errno.EPERM})
# Trouble of this machine, which says nothing about the site.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
_CERTIFICATE = {  # X509_V_ERR_* of OpenSSL, x509_vfy.h
    9: ("tls_not_yet_valid", "the certificate is not valid yet"),
    10: ("tls_expired", "the certificate has expired"),
    18: ("tls_self_signed", "the certificate is self-signed"),
    19: ("tls_self_signed", "the certificate's chain ends in a self-signed certificate that is not trusted"),
    20: ("tls_untrusted", "the certificate's issuer is not known"),
    21: ("tls_untrusted", "the certificate's chain is not complete"),
    62: ("tls_wrong_name", "the certificate is for another name"),
    64: ("tls_wrong_name", "the certificate is for another address"),
}


class Failed(Exception):
    """What is wrong with a site: `code` for programs, the text for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def make_tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """The TLS settings of all probes: certificate and name are verified, TLS 1.2 at least.

    `ca_file` replaces the system's trusted certificates. Make one for the process: loading them takes tens of
    milliseconds.
    """
    # Not create_default_context(): that one is made of the standard library's sockets, which block the hub.
    context: ssl.SSLContext = ssl.SSLContext(tls_errors.PROTOCOL_TLS_CLIENT)  # verifies certificate and name
    context.minimum_version = tls_errors.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def open_socket(address: str, family: int, port: int, wait: float) -> socket.socket:
    """Connect to `address` within `wait` seconds. Raises Failed, or OSError for trouble of this machine."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(wait)
        sock.connect((address, port))
    except TimeoutError:
        sock.close()
        raise Failed("connect_timeout", f"no connection to {address} within {wait:g} s") from None
    except OSError as error:
        sock.close()
        raise _connect_failure(error, address) from None
    except BaseException:  # the probe's whole time ran out
        sock.close()
        raise
    return sock


class TlsStream:
    """TLS on a connected socket, with a bound on what a site may send without saying anything.

    OpenSSL is handed each read's bytes and never the socket itself: reading from that, it would work through a flood
    of session tickets or key updates for as long as they come, and the hub would wait for it.
    """

    def __init__(self, sock: socket.socket, host: str, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._incoming, self._outgoing = tls_errors.MemoryBIO(), tls_errors.MemoryBIO()
        self._tls: tls_errors.SSLObject = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._empty = 0  # bytes that came since the last that held data

    def do_handshake(self) -> None:
        """Come to terms with the site. Raises OSError (ssl.SSLError, TimeoutError) or Failed."""
        while True:
            try:
                self._tls.do_handshake()
                self._flush()
                self._empty = 0
                return
            except tls_errors.SSLWantReadError:
                self._flush()
                self._fill()
            except tls_errors.SSLError:
                with suppress(OSError):
                    self._flush()  # the alert that says why
                raise

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end; with or without a goodbye, as browsers take it."""
        while True:
            try:
                data = self._tls.read(size)
                self._empty = 0
                return data
            except tls_errors.SSLWantReadError:
                self._flush()
                self._fill()
            except (tls_errors.SSLZeroReturnError, tls_errors.SSLEOFError):
                return b""

    def sendall(self, data: bytes) -> None:
        """Send all of `data`."""
        self._tls.write(data)
        self._flush()

    def settimeout(self, wait: float) -> None:
        """How many seconds the socket may be waited for."""
        self._sock.settimeout(wait)

    def close(self) -> None:
        """Close the socket, without a goodbye."""
        self._sock.close()

    def facts(self) -> TlsFacts:
        """What the finished handshake came to."""
        cipher = self._tls.cipher()
        certificate = self._tls.getpeercert(binary_form=True)
        return TlsFacts(self._tls.version() or "", cipher[0] if cipher else "", certificate or b"")

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._sock.sendall(self._outgoing.read())

    def _fill(self) -> None:
        data = self._sock.recv(READ_SIZE)
        self._empty += len(data)
        if self._empty > MAX_TLS_BYTES:
            raise Failed("tls_failed", f"more than {MAX_TLS_BYTES} bytes of TLS with nothing in them")
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


def shake_hands(sock: socket.socket, host: str, context: ssl.SSLContext, wait: float) -> TlsStream:
    """Start TLS for `host` on a connected socket, which it takes over; each step may take `wait` seconds."""
    stream = TlsStream(sock, host, context)
    try:
        stream.settimeout(wait)
        stream.do_handshake()
    except BaseException as error:
        stream.close()
        if isinstance(error, OSError):
            raise _handshake_failure(error) from None
        raise
    return stream


def send(sock: socket.socket | TlsStream, data: bytes, wait: float) -> None:
    """Send all of `data` within `wait` seconds, or raise Failed."""
    try:
        sock.settimeout(wait)
        sock.sendall(data)
    except TimeoutError:
        raise Failed("read_timeout", "the site did not take the request in time") from None
    except OSError as error:
        raise Failed("reset", f"the connection broke: {_reason(error)}") from None


def receive(sock: socket.socket | TlsStream, wait: float) -> bytes:
    """The next bytes, empty at the end; Failed when there are none for `wait` seconds or the connection breaks."""
    try:
        sock.settimeout(wait)
        data: bytes = sock.recv(READ_SIZE)
    except TimeoutError:
        raise Failed("read_timeout", f"the site sent nothing for {wait:g} s") from None
    except OSError as error:
        raise Failed("reset", f"the connection broke: {_reason(error)}") from None
    return data


def _handshake_failure(error: OSError) -> Failed:
    if isinstance(error, tls_errors.SSLCertVerificationError):
        return Failed(*_CERTIFICATE.get(error.verify_code, ("tls_untrusted", error.verify_message)))
    if isinstance(error, TimeoutError):
        return Failed("tls_timeout", "the TLS handshake took too long")
    return Failed("tls_failed", f"the TLS handshake failed: {_reason(error)}")


def _connect_failure(error: OSError, address: str) -> Failed:
    if error.errno in _OURS:
        raise error
    if error.errno == errno.ECONNREFUSED:
        return Failed("connect_refused", f"{address} refuses connections")
    if error.errno in _UNREACHABLE:
        return Failed("connect_unreachable", f"{address} cannot be reached: {error.strerror}")
    return Failed("connect_failed", f"no connection to {address}: {error.strerror or error}")


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else str(error.strerror or error)
