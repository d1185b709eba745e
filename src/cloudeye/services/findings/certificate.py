"""What a certificate tells: until when it holds, and whether its key and signature are strong enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cloudeye.services.findings.catalogue import codes_of
from cloudeye.services.findings.found import Found, find

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

# Days before its end at which somebody is warned of a certificate, each with the part of its lifetime that must be
# left over as well: one that lives for six days is renewed three days before its end, as it should be.
WARN_LEVELS = {21: 1 / 4, 7: 1 / 8, 1: 1 / 24}
LEVEL_SEVERITY = {21: "low", 7: "medium", 1: "high"}

# NIST SP 800-57 part 1: what has at least 112 bits of strength.
MINIMUM_RSA_BITS, MINIMUM_CURVE_BITS = 2048, 224
BROKEN_HASHES = frozenset({"md2", "md4", "md5", "sha1"})

# What a probe says of a certificate it does not accept, see services/probe_wire.py.
_FAILURES = {
    "tls_expired": "certificate_expired",
    "tls_not_yet_valid": "certificate_not_yet_valid",
    "tls_self_signed": "certificate_self_signed",
    "tls_untrusted": "certificate_untrusted",
    "tls_wrong_name": "certificate_wrong_name",
}
# What OpenSSL says of a certificate that is below its security level (X509_verify_cert_error_string(3)).
_TOO_WEAK = (
    ("key too weak", "certificate_weak_key"),
    ("key too small", "certificate_weak_key"),
    ("digest algorithm too weak", "certificate_weak_signature"),
    ("md too weak", "certificate_weak_signature"),
)
# A certificate that has ended does not end soon, and is no longer too young.
_OF_TIME = frozenset({"certificate_expired", "certificate_not_yet_valid", "certificate_ends_soon"})


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate holds."""

    begins_at: datetime
    expires_at: datetime

    @property
    def lifetime(self) -> timedelta:
        """How long it holds in all."""
        return self.expires_at - self.begins_at


def validity(der: bytes) -> Validity | None:
    """Return when a certificate in DER holds; None for one that cannot be read."""
    certificate = _load(der)
    if certificate is None:
        return None
    return Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def expires_at(der: bytes) -> datetime | None:
    """Return when a certificate in DER ends; None for one that cannot be read."""
    found = validity(der)
    return None if found is None else found.expires_at


def warn_level(expires_at: datetime, now: datetime, lifetime: timedelta | None = None) -> int | None:
    """Return the lowest of WARN_LEVELS, in days, that a certificate has reached; None when its end is far.

    With its `lifetime` a short-lived certificate is not warned of while it is as young as it can be.
    """
    left = expires_at - now
    reached = [
        days
        for days, part in WARN_LEVELS.items()
        if left <= timedelta(days=days) and (lifetime is None or left <= lifetime * part)
    ]
    return min(reached, default=None)


def of_failure(code: str | None, text: str | None) -> tuple[tuple[Found, ...], frozenset[str]]:
    """Return what a probe's failure says of the certificate, and the codes about which it says something."""
    if code is None or not code.startswith("tls_"):
        return (), frozenset()
    said = (text or "").lower()
    weak = next((weakness for words, weakness in _TOO_WEAK if words in said), None)
    failure = weak or _FAILURES.get(code)
    if failure is None:
        return (), frozenset()
    return (find(failure, evidence=text or code),), _OF_TIME if failure in _OF_TIME else frozenset({failure})


def inspect(der: bytes, now: datetime) -> tuple[tuple[Found, ...], frozenset[str]]:
    """Return what is wrong with a certificate in DER that a probe has accepted, and what could have been."""
    certificate = _load(der)
    if certificate is None:
        return (), frozenset()
    return (*_end(certificate, now), *_strength(certificate)), codes_of("certificate")


def _end(certificate: Certificate, now: datetime) -> Iterator[Found]:
    end = certificate.not_valid_after_utc
    level = warn_level(end, now, end - certificate.not_valid_before_utc)
    if level is None:
        return
    # Told by its date alone: what changes from day to day would be another finding each day.
    yield find("certificate_ends_soon", evidence=f"valid until {end:%Y-%m-%d %H:%M} UTC, {_days(end - now)} left",
               severity=LEVEL_SEVERITY[level])  # fmt: skip


def _days(left: timedelta) -> str:
    return "1 day" if left.days == 1 else f"{left.days} days"


def _strength(certificate: Certificate) -> Iterator[Found]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey) and key.key_size < MINIMUM_RSA_BITS:
        kind = "RSA" if isinstance(key, rsa.RSAPublicKey) else "DSA"
        yield find("certificate_weak_key", evidence=f"{kind} key of {key.key_size} bits")
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < MINIMUM_CURVE_BITS:
        yield find("certificate_weak_key", evidence=f"key on the curve {key.curve.name}")
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        algorithm = None
    # Nobody believes a root for its signature; a leaf that signs itself is refused before it comes here.
    if algorithm is not None and algorithm.name in BROKEN_HASHES:
        yield find("certificate_weak_signature", evidence=f"signed with {algorithm.name.upper()}")


def _load(der: bytes) -> Certificate | None:
    from cryptography import x509  # megabytes that a process without TLS to look at does not need

    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        return None
