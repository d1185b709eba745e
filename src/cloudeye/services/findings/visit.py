"""What one ordinary visit shows of a site: certificate, headers, cookies, and the page itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloudeye.services.findings import certificate, cookies, headers, page
from cloudeye.services.findings.catalogue import codes_of
from cloudeye.services.findings.found import Found, Look, find, limited

if TYPE_CHECKING:
    from cloudeye.services.answer import Answer
    from cloudeye.services.probe import ProbeResult


def inspect(result: ProbeResult, now: datetime) -> Look:
    """Look into the answer to one ordinary request; sends nothing.

    A visit that found the site down says nothing of its headers, cookies and page: neither that something is wrong
    with them nor that it is mended. Of its certificate it does, when TLS got that far or failed for its sake.

    Args:
        result: of a probe.
        now: when it was made.
    """
    found: list[Found] = []
    looked: frozenset[str] = frozenset()
    if result.tls is not None:
        found, looked = _add(found, looked, *certificate.inspect(result.tls.certificate, now))
    else:
        found, looked = _add(found, looked, *certificate.of_failure(result.code, result.text))
    answer = result.answer
    if result.state == "up" and answer is not None:
        found.extend(_of_answer(answer, now))
        looked |= codes_of("transport", "headers", "cookies")
        if _has_page(answer) or not headers.is_document(answer):
            looked |= codes_of("page")
    return Look(limited(found), looked)


def _add(
    found: list[Found], looked: frozenset[str], more: tuple[Found, ...], codes: frozenset[str]
) -> tuple[list[Found], frozenset[str]]:
    return [*found, *more], looked | codes


def _has_page(answer: Answer) -> bool:
    return headers.is_document(answer) and bool(answer.body)


def _of_answer(answer: Answer, now: datetime) -> Iterator[Found]:
    url = urlsplit(answer.url)
    encrypted = url.scheme == "https"
    if not encrypted:
        yield find("no_https", evidence=answer.url)
    read = page.read(answer) if _has_page(answer) else page.Page()
    named = not _is_address(url.hostname or "")
    yield from headers.inspect(answer, encrypted=encrypted, named=named, metas=read.metas)
    yield from cookies.inspect(answer, now, encrypted=encrypted)
    yield from page.inspect(answer, read)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
