"""Looking for the token that proves control of a site: in a file on the site, or in a record of its DNS."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
from gevent import get_hub
from gevent.lock import BoundedSemaphore

from cloudeye.services.ask import Ask, StatusSet
from cloudeye.services.findings.control import PREFIX, file_url, record_name
from cloudeye.services.findings.found import plain
from cloudeye.services.netguard import RefusedAddress, Target, check_url
from cloudeye.services.probe import Limits, ProbeResult, probe
from cloudeye.services.probe_wire import make_tls_context
from cloudeye.services.resolver import LookupFailed, Resolver

SECONDS = 8.0  # for each of the two ways
AT_ONCE = 4  # in one process of the web
_LARGEST, _MOST_LINES = 4096, 50
_ANY_STATUS = StatusSet.parse("200-999")

_places = BoundedSemaphore(AT_ONCE)


class Busy(Exception):
    """So many are being looked for as may be at once."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of looking for a token.

    `way` is file or dns, None when the token was found in neither place. `undecided` says that one of them could not
    be looked into just now, so that the token may be there. `said` tells for each place what was found, for people.
    """

    way: str | None
    undecided: bool
    said: tuple[str, ...]


class TextResolver(Resolver):
    """A resolver that also asks for TXT records: always anew, since an answer of before proves nothing now."""

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the TXT records of a name, the strings of each joined (RFC 7208, 3.3); none where it has none.

        Raises:
            LookupFailed: no server answered.
        """
        files = self._current_files()
        try:
            query = dns.message.make_query(name, dns.rdatatype.TXT, use_edns=0, payload=1232)
        except dns.exception.DNSException as error:
            raise LookupFailed("dns_not_found", f"{name} is not a name: {error}") from None
        deadline = time.monotonic() + self.timeout
        trouble = LookupFailed("dns_timeout", f"no name server answered for {name} within {self.timeout:g} s")
        for _ in range(files.attempts):
            for server in self._nameservers or files.nameservers:
                wait = min(files.timeout, deadline - time.monotonic())
                if wait <= 0:
                    raise trouble
                try:
                    response = self._exchange(query, server, wait)
                except (OSError, dns.exception.DNSException):
                    continue
                code = response.rcode()
                if code == dns.rcode.NXDOMAIN:
                    return ()
                if code == dns.rcode.NOERROR and isinstance(response, dns.message.QueryMessage):
                    return _joined(response)
                trouble = LookupFailed("dns_failed", f"{server[0]} answered {dns.rcode.to_text(code)} for {name}")
        raise trouble


def _joined(response: dns.message.QueryMessage) -> tuple[str, ...]:
    try:
        found = response.resolve_chaining().answer
    except dns.exception.DNSException:
        return ()
    records = list(found)[:100] if found is not None else []
    return tuple(b"".join(getattr(record, "strings", ())).decode("utf-8", "replace") for record in records)


def prove(
    target: Target, token: str, get: Callable[[Ask], ProbeResult], texts: Callable[[str], Sequence[str]]
) -> Proof:
    """Look for the token, in the file first; the record is asked for only when it is not there.

    Args:
        target: the site's URL, taken apart.
        token: what must be found.
        get: asks for one URL, through netguard.
        texts: asks for the TXT records of a name.
    """
    found, undecided, said = _in_file(target, token, get)
    if found:
        return Proof("file", False, (said,))
    name = record_name(target)
    if name is None:
        return Proof(None, undecided, (said,))
    try:
        records = texts(name)
    except LookupFailed as failed:
        return Proof(None, True, (said, f"{name}: {failed}"))
    if any(hmac.compare_digest(record.strip().encode(), f"{PREFIX}{token}".encode()) for record in records):
        return Proof("dns", False, (said, f"{name}: the record is there"))
    other = "other records only" if records else "no TXT record"
    return Proof(None, undecided, (said, f"{name}: {other}"))


def _in_file(target: Target, token: str, get: Callable[[Ask], ProbeResult]) -> tuple[bool, bool, str]:
    """Whether the file holds the token, whether that stayed open, and what to say of it."""
    url = file_url(target)
    # A redirect is not followed: who may send visitors elsewhere need not be in control.
    result = get(Ask(url, follow_redirects=False, timeout=SECONDS, expected=_ANY_STATUS))
    answer = result.answer
    if answer is None:
        return False, True, f"{url}: {result.text or 'no answer'}"
    if answer.status != 200:
        location = answer.header("location")
        leads = f", which leads to {plain(location, 120)} and is not followed" if location else ""
        return False, answer.status >= 500 or answer.status == 429, f"{url}: status {answer.status}{leads}"
    lines = answer.body[:_LARGEST].decode("utf-8", "replace").splitlines()[:_MOST_LINES]
    if any(hmac.compare_digest(line.strip().encode(), token.encode()) for line in lines):
        return True, False, f"{url}: the token is there"
    return False, False, f"{url}: something else than the token"


# -- for somebody who waits for it -----------------------------------------------------------------------------


def check(url: str, token: str, allow_private: bool) -> Proof:
    """Look for the token now, within `2 * SECONDS`; the caller's greenlet waits in the hub.

    Raises:
        Busy: AT_ONCE others are looking.
    """
    try:
        target = check_url(url, allow_private)
    except RefusedAddress as refused:
        return Proof(None, False, (str(refused),))
    if not _places.acquire(blocking=False):
        raise Busy
    try:
        limits = Limits(allow_private, SECONDS / 2, SECONDS / 2, SECONDS, _LARGEST, 0)
        resolver, tls = _means()
        return prove(target, token, partial(probe, limits=limits, resolver=resolver, tls=tls), resolver.texts)
    finally:
        _places.release()


@cache
def _means() -> tuple[TextResolver, Any]:
    """What looking takes, made once: the trusted certificates take tens of milliseconds to load, in a thread."""
    return TextResolver(timeout=SECONDS), get_hub().threadpool.apply(make_tls_context)
