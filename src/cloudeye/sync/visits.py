"""One look at one site: ask it, and look into what has changed since the last time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import gevent
from sqlalchemy.exc import SQLAlchemyError

from cloudeye.services import findings, maintenance
from cloudeye.services.ask import Ask, StatusSet
from cloudeye.services.findings import certificate
from cloudeye.services.findings.digest import digest_of
from cloudeye.services.probe import ProbeResult
from cloudeye.services.tamper import store
from cloudeye.services.tamper.page import read
from cloudeye.services.tamper.rules import IgnoreRules
from cloudeye.services.tamper.store import Weighed
from cloudeye.sync.schedule import next_slot
from cloudeye.sync.work import Claimed, Inspected, Outcome, Seen, Work

log = logging.getLogger(__name__)

_Found = TypeVar("_Found")

# So often headers, cookies and certificate are looked into also when they stay the same, in seconds: each site at a
# time of its own, or all that were added together would come together again each hour.
INSPECT_EVERY = 3600.0


def visit(work: Work, site: Claimed) -> None:
    """Look at one site, when its time has come, in a greenlet of the pool; whatever happens ends up in `done`."""
    started, due = work.clock(), site.next_check_at
    try:
        if due is not None and due > started:
            gevent.sleep((due - started).total_seconds())
            started = max(work.clock(), due)  # a timer may be early by a hair
        try:
            outcome = Outcome(site, started, _look(work, site, started), None)
        except Exception as error:
            outcome = Outcome(site, started, None, error)
        work.done.append(outcome)
        work.probed += 1
    finally:
        work.running.pop(site.id, None)
        # With more waiting the next are claimed when a quarter of these is through, not one by one.
        a_quarter_is_through = len(work.running) <= work.crest * 3 // 4
        if not work.running or len(work.done) >= work.settings.batch or (work.backlog and a_quarter_is_through):
            work.wake.set()


def ask_of(site: Claimed) -> Ask:
    """What the site's owner wants to be asked."""
    return Ask(
        url=site.url,
        method=site.method,
        headers=tuple((site.headers or {}).items()),
        body=(site.body or "").encode(),
        follow_redirects=site.follow_redirects,
        timeout=site.timeout,
        expected=StatusSet.parse(site.expected_statuses),
        keyword_present=site.keyword_present,
        keyword_absent=site.keyword_absent,
    )


def _look(work: Work, site: Claimed, at: datetime) -> Seen:
    result = work.probe(ask_of(site))
    if site.maintenance and maintenance.active(site.maintenance, at):
        return Seen(replace(result, answer=None), maintenance=True)  # a page that says "back soon" is no news
    body_digest, weighed = _safely(site, _page, work, site, result) or (None, None)
    inspected = _safely(site, _inspect, work, site, result, at, weighed is not None)
    return Seen(replace(result, answer=None), body_digest=body_digest, weighed=weighed, inspected=inspected)


def _safely(site: Claimed, look: Callable[..., _Found], *arguments: Any) -> _Found | None:
    """Look into an answer; a fault of ours in doing so must not cost what is known already: up or down."""
    try:
        return look(*arguments)
    except Exception:
        log.exception("an answer could not be looked into", extra={"site": site.id})
        return None


def _inspect(work: Work, site: Claimed, result: ProbeResult, at: datetime, page_is_new: bool) -> Inspected | None:
    """What is weak, unless all it follows from is as it was a short while ago."""
    digest = digest_of(result)
    last = site.inspected_at
    is_turn = last is None or at >= next_slot(site.id, INSPECT_EVERY, last)
    if not page_is_new and digest == site.headers_digest and not is_turn:
        return None
    look = work.threads.apply(findings.inspect, (result, at))
    validity = certificate.validity(result.tls.certificate) if result.tls is not None else None
    return Inspected(digest, look, validity)


def _page(work: Work, site: Claimed, result: ProbeResult) -> tuple[str | None, Weighed | None]:
    """What is new about the page, and the digest of the body it was read from; nothing when it is as it was."""
    answer = result.answer
    if result.state != "up" or answer is None:
        return None, None  # what a site shows when it is down is no change of its page
    where = f"{answer.status} {answer.url} {answer.header('location')}\n"
    digest = hashlib.sha256(where.encode() + answer.body).hexdigest()
    if digest == site.body_digest:
        return None, None
    page = work.threads.apply(read, (answer, IgnoreRules.parse(site.ignore_rules)))
    if page.digest == site.page_hash:
        return None, None  # only what moves by itself has changed
    try:
        with work.engine.connect() as connection:
            standing = store.standing_of(connection, site.id, page.digest)
    except SQLAlchemyError:
        return None, None  # the database's trouble and no fault of the site's: the page is new at the next visit too
    return (None, None) if standing is None else (digest, work.threads.apply(store.weigh, (standing, page)))
