"""An issuer of OpenID Connect as we know it: its description and keys, kept for a while, and what it is asked.

Plain sockets of the standard library, so that under gevent a request waits in the hub. No redirects are followed
and no proxy is taken from the environment: the issuer is configured, and its description names the rest.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import logging
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from cloudeye.db import gevent_is_active

log = logging.getLogger(__name__)

# Seconds.
KEPT = 600.0  # description and keys are fetched anew after so long
ANEW_EVERY = 30.0  # an unknown key has the keys fetched before that, at most so often
PAUSE = 5.0  # an issuer that did not answer is left alone for so long
WAIT = 5.0  # for a connection, and between two reads
LONGEST = 10.0  # for a whole answer
LARGEST = 262_144  # bytes of an answer

SHORTEST_RSA_KEY = 2048  # bits: RFC 7518, section 3.3


class Unavailable(Exception):
    """The issuer does not answer, or not as OpenID Connect has it; the text is for our log."""

    retry_after = int(PAUSE)


class Denied(Exception):
    """The issuer answers, and does not accept what it was shown."""


@dataclass(frozen=True)
class _Known:
    """What an issuer said of itself."""

    description: Mapping[str, Any]
    keys: tuple[Key, ...]
    until: float  # on the monotonic clock


class Provider:
    """One issuer.

    Args:
        issuer: its address, as its tokens name it.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._known: _Known | None = None
        self._forced_at = self._failed_at = float("-inf")
        self._lock = threading.Lock()  # several requests, one fetch

    def reach(self) -> int:
        """Return how many keys the issuer publishes that a token may be signed with.

        Raises:
            Unavailable: it does not answer, or not as it should.
        """
        return len(self._get().keys)

    def key(self, kid: str | None, algorithm: str) -> Key | None:
        """Return the key of a token's header, fetching the keys anew for one that is not known.

        Args:
            kid: its name; None is enough where only one key fits.
            algorithm: that the token is signed with.

        Raises:
            Unavailable: the keys cannot be fetched.
        """
        known = self._get()
        found = _pick(known.keys, kid, algorithm)
        if found is None:
            found = _pick(self._get(other_than=known).keys, kid, algorithm)
        return found

    def userinfo(self, token: str) -> dict[str, Any]:
        """Ask who an access token speaks for (OpenID Connect Core, section 5.3).

        Raises:
            Denied: the issuer does not accept the token.
            Unavailable: it does not answer, or has no such endpoint.
        """
        return self._ask("userinfo_endpoint", {"Authorization": f"Bearer {token}"})

    def introspect(self, token: str, client_id: str, secret: str) -> dict[str, Any]:
        """Ask whether an access token is worth anything (RFC 7662).

        Args:
            token: the token.
            client_id: ours.
            secret: ours, sent as RFC 6749, section 2.3.1 has it.

        Raises:
            Denied: the issuer does not accept us.
            Unavailable: it does not answer, or has no such endpoint.
        """
        ours = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()
        form = {"token": token, "token_type_hint": "access_token"}
        return self._ask("introspection_endpoint", {"Authorization": f"Basic {ours}"}, form)

    def _get(self, other_than: _Known | None = None) -> _Known:
        """Return what is known, fetched where it is too old or where it is what somebody has looked through."""
        known = self._known
        if known and known is not other_than and time.monotonic() < known.until:
            return known
        with self._lock:
            known, now = self._known, time.monotonic()
            if known and now < known.until and known is not other_than:
                return known  # somebody else has fetched it meanwhile
            if known and now < known.until and now < self._forced_at + ANEW_EVERY:
                return known
            if now < self._failed_at + PAUSE:
                raise Unavailable(f"{self.issuer} did not answer a moment ago")
            if other_than is not None:
                self._forced_at = now
            try:
                self._known = known = self._fetch()
            except Unavailable:
                self._failed_at = time.monotonic()
                raise
            return known

    def _fetch(self) -> _Known:
        description = _good(*ask(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"), self.issuer)
        if description.get("issuer") != self.issuer:
            # OpenID Connect Discovery, section 4.3
            raise Unavailable(f"{self.issuer} calls itself {description.get('issuer')!r}: oidc.issuer must be that")
        address = description.get("jwks_uri")
        if not isinstance(address, str):
            raise Unavailable(f"{self.issuer} names no jwks_uri")
        listed = _good(*ask(address), self.issuer).get("keys")
        if not isinstance(listed, list):
            raise Unavailable(f"{self.issuer} publishes no keys")
        keys = tuple(key for key in map(_usable, listed) if key is not None)
        return _Known(description, keys, time.monotonic() + KEPT)

    def _ask(self, endpoint: str, headers: dict[str, str], form: dict[str, str] | None = None) -> dict[str, Any]:
        address = self._get().description.get(endpoint)
        if not isinstance(address, str):
            raise Unavailable(f"{self.issuer} names no {endpoint}")
        status, answer = ask(address, headers, form)
        if 400 <= status < 500 and status != 429:
            raise Denied(f"{endpoint} answered {status}")
        return _good(status, answer, self.issuer)


@cache
def provider(issuer: str) -> Provider:
    """Return what this process knows of an issuer."""
    return Provider(issuer)


def ask(url: str, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Send one request and read its answer.

    Args:
        url: https, or http to a loopback address.
        headers: beside what every request has.
        form: what is posted; None is a GET.

    Returns:
        The status, and the answer's JSON; None where it is none.

    Raises:
        Unavailable: there is no whole answer in time.
    """
    parts = urlsplit(url)
    if parts.hostname is None or not (parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname))):
        raise Unavailable(f"{url} is not https")
    connection = (
        http.client.HTTPSConnection(parts.hostname, parts.port, timeout=WAIT, context=_tls())
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT)
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"Accept": "application/json", **(headers or {})}
    body = None
    if form is not None:
        body = urlencode(form)
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    end = time.monotonic() + LONGEST
    try:
        connection.request("GET" if form is None else "POST", target, body, sent)
        response = connection.getresponse()
        text = _read(response, end)
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{parts.netloc} does not answer: {error or type(error).__name__}") from None
    finally:
        connection.close()
    try:
        return response.status, json.loads(text)
    except ValueError:
        return response.status, None


def _read(response: http.client.HTTPResponse, end: float) -> bytes:
    parts, size = [], 0
    while part := response.read1(65_536):
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise http.client.HTTPException(f"more than {LARGEST} bytes")
        if time.monotonic() > end:
            raise TimeoutError(f"no whole answer in {LONGEST:g} s")
    return b"".join(parts)


def _good(status: int, answer: Any, issuer: str) -> dict[str, Any]:
    if status != 200 or not isinstance(answer, dict):
        raise Unavailable(f"{issuer} answered {status}{'' if isinstance(answer, dict) else ' and no JSON object'}")
    return answer


def _usable(data: Any) -> Key | None:
    """Import a public key for signatures; None for any other, which a set may well hold (RFC 7517, section 5)."""
    if not isinstance(data, dict) or data.get("kty") not in ("RSA", "EC", "OKP") or data.get("use", "sig") != "sig":
        return None
    try:
        key = JWKRegistry.import_key(data)
        if isinstance(key, RSAKey) and key.raw_value.key_size < SHORTEST_RSA_KEY:
            return None
    except (JoseError, ValueError, TypeError, KeyError) as error:
        log.warning("a key of the issuer cannot be read: %s", error)
        return None
    return key


def _pick(keys: tuple[Key, ...], kid: str | None, algorithm: str) -> Key | None:
    fitting = [key for key in keys if key.get("alg", algorithm) == algorithm and _fits(key, algorithm)]
    if kid is not None:
        return next((key for key in fitting if key.get("kid") == kid), None)
    return fitting[0] if len(fitting) == 1 else None


def _fits(key: Key, algorithm: str) -> bool:
    kind = {"RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}[algorithm]
    return isinstance(key, kind) and (algorithm != "ES256" or key.get("crv") == "P-256")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def _tls() -> ssl.SSLContext:
    if not gevent_is_active():
        return ssl.create_default_context()
    from gevent import get_hub

    # Reading the system's certificates takes tens of milliseconds, during which other requests go on.
    context: ssl.SSLContext = get_hub().threadpool.apply(ssl.create_default_context)
    return context
