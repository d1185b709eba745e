"""Sockets of a probe: connecting, TLS and reading, each bounded in time, each failure with a reason.

`Failed` carries a short stable word beside the text for people; trouble of this machine is never a `Failed`.
"""

from __future__ import annotations

import errno
import ssl as tls_errors

from gevent import socket, ssl

READ_SIZE = 32768
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


def shake_hands(sock: socket.socket, host: str, context: ssl.SSLContext, wait: float) -> ssl.SSLSocket:
    """Start TLS for `host` on a connected socket, which it takes over; each step may take `wait` seconds."""
    # Wrapped first and shaken hands with later, so that a timeout in between leaves a socket to close.
    wrapped: ssl.SSLSocket = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        wrapped.settimeout(wait)
        wrapped.do_handshake()
    except BaseException as error:
        wrapped.close()
        if isinstance(error, OSError):
            raise _handshake_failure(error) from None
        raise
    return wrapped


def send(sock: socket.socket, data: bytes) -> None:
    """Send all of `data`, or raise Failed."""
    try:
        sock.sendall(data)
    except TimeoutError:
        raise Failed("read_timeout", "the site did not take the request in time") from None
    except OSError as error:
        raise Failed("reset", f"the connection broke: {_reason(error)}") from None


def receive(sock: socket.socket, wait: float) -> bytes:
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
