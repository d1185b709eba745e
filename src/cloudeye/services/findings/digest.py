"""By what it is known that an answer would be found as weak as the last one, without looking into it again."""

from __future__ import annotations

import hashlib
import re

from cloudeye.services.probe import ProbeResult

# The headers that `headers` and `cookies` look at. Others differ from answer to answer and would have each looked into.
LOOKED_AT = frozenset(
    {
        "content-security-policy",
        "content-security-policy-report-only",
        "content-type",
        "permissions-policy",
        "referrer-policy",
        "server",
        "set-cookie",
        "strict-transport-security",
        "x-aspnet-version",
        "x-aspnetmvc-version",
        "x-content-type-options",
        "x-frame-options",
        "x-generator",
        "x-powered-by",
    }
)
# What moves in them: a cookie's value and end, a policy's nonces.
_COOKIE_END = re.compile(r";\s*(?:expires|max-age)=[^;]*", re.IGNORECASE)
_NONCE = re.compile(r"'nonce-[^']*'", re.IGNORECASE)


def digest_of(result: ProbeResult) -> str:
    """Return a SHA-256, in hexadecimal, of all that a visit's findings follow from but for the body."""
    parts = [result.code or ""]
    if result.answer is not None:
        parts.append(result.answer.url)
        parts += sorted(f"{name}: {_still(name, value)}" for name, value in result.answer.headers if name in LOOKED_AT)
    if result.tls is not None:
        parts += [result.tls.version, hashlib.sha256(result.tls.certificate).hexdigest()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _still(name: str, value: str) -> str:
    """A header without what moves in it."""
    if name != "set-cookie":
        return _NONCE.sub("nonce", value)
    cookie, _, attributes = value.partition(";")
    return _COOKIE_END.sub("", f"{cookie.partition('=')[0]};{attributes}")
