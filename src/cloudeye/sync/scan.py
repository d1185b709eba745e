"""Scan sites whose owner proved control: claim those that are due, look closely, write down what was found.

Sites are claimed like those of visits, by a conditional UPDATE, so any number of copies share them. A scan runs beside
the loop, in a pool of its own, and takes minutes; its claim outlives the longest one. Of a process that is killed
nothing was written: the claim runs out, and the site is scanned again. Control is proven anew before each scan, and
without it the site gets no further request.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from gevent.pool import Pool
from sqlalchemy import Connection, or_, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.sql.elements import ColumnElement

from cloudeye.models import Site
from cloudeye.services import maintenance
from cloudeye.services.findings import handshake, store
from cloudeye.services.findings import proof as proofs
from cloudeye.services.findings import scan as scans
from cloudeye.services.findings.found import Look
from cloudeye.services.findings.proof import Proof, TextResolver
from cloudeye.services.netguard import RefusedAddress, check_url
from cloudeye.services.probe import Limits, probe
from cloudeye.sync.reading import read_claimed
from cloudeye.sync.telling import tell_findings

if TYPE_CHECKING:
    import ssl

    from cloudeye.sync.work import Work

log = logging.getLogger(__name__)

AT_ONCE = 3  # sites, in one process
EVERY = timedelta(days=1)
AGAIN = timedelta(hours=1)  # after a scan that could not be made
LOOK_EVERY = 2.0  # seconds between two looks for sites that are due
MAX_BYTES = 131_072  # read of one answer
# No longer than this may a scan take, its proof of control before it and its last request after it included.
CLAIM = timedelta(seconds=scans.Bounds().total + 2 * proofs.SECONDS + 2 * scans.Bounds().each + 30)


@dataclass(frozen=True, slots=True)
class Job:
    """A site of which this process holds the claim to scan it. The names are those of Site."""

    id: int
    owner_id: int
    url: str
    control_token: str | None
    redirect_paths: list[str] | None
    maintenance: list[dict[str, Any]] | None


_READ = select(*(getattr(Site, name) for name in Job.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one site: the proof, and with it what the scan saw. Without either it is put off."""

    proof: Proof | None
    look: Look | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be written of one site."""

    job: Job
    seen: Seen
    error: Exception | None


@dataclass(slots=True)
class Scanner:
    """What scans need beside the loop's own: who looks, and what is under way."""

    look: Callable[[Job], Seen]
    pool: Pool = field(default_factory=lambda: Pool(AT_ONCE))
    running: set[int] = field(default_factory=set)  # sites whose claim this process holds
    done: deque[Outcome] = field(default_factory=deque)
    scanned: int = 0
    stopping: bool = False
    _looked: float | None = None


def make_scanner(
    limits: Limits, tls: ssl.SSLContext, nameservers: tuple[tuple[str, int], ...] | None = None
) -> Scanner:
    """Return a scanner that goes through the same guard as probes do.

    Args:
        limits: of a probe; answers are cut shorter.
        tls: the settings of all probes.
        nameservers: in place of the system's.
    """
    each = scans.Bounds().each
    limits = replace(limits, max_bytes=min(limits.max_bytes, MAX_BYTES), total_timeout=min(limits.total_timeout, each))
    resolver = TextResolver(timeout=limits.connect_timeout, nameservers=nameservers)
    return Scanner(partial(look, limits=limits, tls=tls, resolver=resolver))


def look(
    job: Job,
    *,
    limits: Limits,
    tls: ssl.SSLContext,
    resolver: TextResolver,
    bounds: scans.Bounds | None = None,
) -> Seen:
    """Prove that the owner is in control of a site, and only then scan it."""
    try:
        target = check_url(job.url, limits.allow_private)
    except RefusedAddress as refused:
        return Seen(Proof(None, False, (str(refused),)), None)
    get = partial(probe, limits=limits, resolver=resolver, tls=tls)
    proof = proofs.prove(target, job.control_token or "", get, resolver.texts)
    if proof.way is None:
        return Seen(proof, None)
    offers = partial(handshake.offers, limits=limits, resolver=resolver)
    return Seen(proof, scans.scan(target, get, offers, job.redirect_paths or (), bounds))


# -- the step --------------------------------------------------------------------------------------------------


def scan(work: Work) -> bool:
    """Write down what scans found, and begin others as places are free."""
    scanner = work.scanner
    if scanner is None:
        return False
    _write(work, scanner)
    moment = time.monotonic()
    if scanner.stopping or (scanner._looked is not None and moment - scanner._looked < LOOK_EVERY):
        return False
    free = min(AT_ONCE, scanner.pool.free_count()) - len(scanner.done)
    if free <= 0:
        return False
    scanner._looked = moment
    for job in _claim(work, free):
        if job.id not in scanner.running:
            scanner.running.add(job.id)
            scanner.pool.spawn(_scan, work, scanner, job)
    return False


def _due(now: datetime) -> ColumnElement[bool]:
    free = or_(Site.scan_claimed_until.is_(None), Site.scan_claimed_until <= now)
    return (Site.next_scan_at <= now) & free & Site.paused.is_(False)


def _claim(work: Work, wanted: int) -> list[Job]:
    now = work.clock()
    until = now + CLAIM
    with work.engine.begin() as connection:
        ids = connection.scalars(
            select(Site.id).where(_due(now)).order_by(Site.next_scan_at).limit(wanted).with_for_update(skip_locked=True)
        ).all()
        if not ids:
            return []
        mine = {"scan_claimed_by": work.me, "scan_claimed_until": until}
        connection.execute(update(Site).where(Site.id.in_(sorted(ids)), _due(now)).values(**mine))
        ours = (Site.id.in_(ids), Site.scan_claimed_by == work.me, Site.scan_claimed_until == until)
        claimed = connection.scalars(select(Site.id).where(*ours)).all()
    return read_claimed(work, _READ, Site.id, claimed, lambda row: Job(*row), partial(_put_off, work))


def _scan(work: Work, scanner: Scanner, job: Job) -> None:
    """Look at one site in a greenlet of the pool; whatever happens, but for an end by force, ends up in `done`."""
    try:
        # What is being worked on is looked at later.
        at_work = maintenance.active(job.maintenance, work.clock())
        outcome = Outcome(job, Seen(None, None) if at_work else scanner.look(job), None)
    except Exception as error:
        outcome = Outcome(job, Seen(None, None), error)
    scanner.done.append(outcome)
    work.wake.set()


# -- write down ------------------------------------------------------------------------------------------------


def _write(work: Work, scanner: Scanner) -> None:
    while scanner.done:
        outcome = scanner.done[0]
        try:
            if outcome.seen.proof is None:
                _put_off(work, outcome.job.id, outcome.error)
            else:
                with work.engine.begin() as connection:
                    _record(work, connection, outcome.job, outcome.seen.proof, outcome.seen.look)
                scanner.scanned += outcome.seen.look is not None
        except OperationalError:
            raise  # the database: what was found is written down when it answers
        except Exception as error:
            _put_off(work, outcome.job.id, error)
        scanner.done.popleft()
        scanner.running.discard(outcome.job.id)
        work.beat()


def _record(work: Work, connection: Connection, job: Job, proof: Proof, found: Look | None) -> None:
    """Write down what came of one site, if it is still ours and still the site that was looked at."""
    at = work.clock()
    values: dict[str, Any] = {"scan_claimed_by": None, "scan_claimed_until": None}
    if proof.way is not None:
        values |= {"controlled_at": at, "next_scan_at": at + EVERY}
    elif proof.undecided:
        values |= {"next_scan_at": at + AGAIN}
    else:
        values |= {"controlled_at": None, "next_scan_at": None}
    mine = (Site.id == job.id, Site.scan_claimed_by == work.me)
    same = (Site.url == job.url, Site.control_token == job.control_token)
    if connection.execute(update(Site).where(*mine, *same).values(**values)).rowcount != 1:
        connection.execute(update(Site).where(*mine).values(scan_claimed_by=None, scan_claimed_until=None))
        return
    if proof.way is None:
        log.info("not scanned: control is not proven", extra={"site": job.id, "found": "; ".join(proof.said)[:300]})
        return
    if found is None:
        return
    changes = store.record(connection, job.id, found, "scan", at)
    if maintenance.active(job.maintenance, at):
        return
    tell_findings(connection, job.id, job.owner_id, at, changes, first=False)


def _put_off(work: Work, site_id: int, error: Exception | None) -> None:
    if error is not None:
        log.error("a site could not be scanned and waits", exc_info=error, extra={"site": site_id})
    free = {"scan_claimed_by": None, "scan_claimed_until": None, "next_scan_at": work.clock() + AGAIN}
    with work.engine.begin() as connection:
        connection.execute(update(Site).where(Site.id == site_id, Site.scan_claimed_by == work.me).values(**free))


# -- stop ------------------------------------------------------------------------------------------------------


def stop(work: Work) -> None:
    """Begin no further scan, and break off those under way: they take minutes, and are made again."""
    scanner = work.scanner
    if scanner is not None:
        scanner.stopping = True
        scanner.pool.kill(block=False)


def finish(work: Work) -> None:
    """Write down what was found, and give the claims of the scans that were broken off back."""
    scanner = work.scanner
    if scanner is None:
        return
    scanner.pool.kill(timeout=1)
    _write(work, scanner)
    if scanner.running:
        with work.engine.begin() as connection:
            connection.execute(
                update(Site)
                .where(Site.id.in_(sorted(scanner.running)), Site.scan_claimed_by == work.me)
                .values(scan_claimed_by=None, scan_claimed_until=None)
            )
        scanner.running.clear()
