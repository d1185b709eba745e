"""The cookies that an answer sets, and how carefully.

Source: RFC 6265 and its revision, draft-ietf-httpbis-rfc6265bis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cloudeye.services.answer import Answer
from cloudeye.services.findings.found import Found, find

# By these names a server knows who somebody is: they decide how bad it is when a script can read them.
_SESSION = re.compile(
    r"sess|^sid$|[_.-]sid$|connect\.sid|auth|^jwt|token|^remember|aspxauth|^laravel_|identity", re.IGNORECASE
)
# Meant to be read by scripts: the pages send them back in a header.
_FOR_SCRIPTS = re.compile(r"xsrf|csrf", re.IGNORECASE)
# What is different at each visit: the same cookie must stay the same finding.
_RANDOM = re.compile(r"[0-9a-f]{8,}|\d{4,}", re.IGNORECASE)


def inspect(answer: Answer, now: datetime, *, encrypted: bool) -> Iterator[Found]:
    """Find cookies that could be set more carefully; those that are being deleted are left out."""
    for value in (value for name, value in answer.headers if name == "set-cookie"):
        name, attributes = _taken_apart(value)
        if name and not _is_deleted(attributes, now):
            yield from _judge(name, attributes, encrypted)


def _taken_apart(header: str) -> tuple[str, dict[str, str]]:
    pair, *rest = header.split(";")
    name, equals, _ = pair.partition("=")
    attributes: dict[str, str] = {}
    for part in rest:
        key, _, value = part.partition("=")
        attributes[key.strip().lower()] = value.strip()  # the last one counts (section 5.6)
    return (name.strip() if equals else ""), attributes


def _is_deleted(attributes: dict[str, str], now: datetime) -> bool:
    age = attributes.get("max-age", "")
    if re.fullmatch(r"-?[0-9]{1,18}", age):  # counts before Expires (section 5.5)
        return int(age) <= 0
    try:
        expires = parsedate_to_datetime(attributes.get("expires", "").replace("-", " "))
    except (ValueError, TypeError, IndexError, OverflowError):
        return False
    return (expires if expires.tzinfo else expires.replace(tzinfo=UTC)) <= now


def _judge(name: str, attributes: dict[str, str], encrypted: bool) -> Iterator[Found]:
    subject = _RANDOM.sub("*", name)
    shown = "; ".join(
        f"{key}={value}" if value else key for key, value in attributes.items() if key not in ("expires", "max-age")
    )
    evidence = f"Set-Cookie: {name}=…{'; ' if shown else ''}{shown}"  # its value may let somebody in
    secure, httponly = "secure" in attributes, "httponly" in attributes
    if _breaks_prefix(name, attributes):
        yield find("cookie_bad_prefix", subject, evidence)
    elif not secure and encrypted:  # without encryption no cookie can have it, and no_https says so
        yield find("cookie_no_secure", subject, evidence)
    if not httponly and not _FOR_SCRIPTS.search(name):
        yield find("session_cookie_no_httponly" if _SESSION.search(name) else "cookie_no_httponly", subject, evidence)
    if attributes.get("samesite", "").lower() not in ("lax", "strict", "none"):
        yield find("cookie_no_samesite", subject, evidence)


def _breaks_prefix(name: str, attributes: dict[str, str]) -> bool:
    """Section 4.1.3; browsers compare the prefix without regard to case."""
    lowered = name.lower()
    secure, httponly = "secure" in attributes, "httponly" in attributes
    of_host = attributes.get("path") == "/" and "domain" not in attributes
    if lowered.startswith("__host-http-"):
        return not (secure and httponly and of_host)
    if lowered.startswith("__host-"):
        return not (secure and of_host)
    if lowered.startswith("__http-"):
        return not (secure and httponly)
    return lowered.startswith("__secure-") and not secure
