"""One unit of work each: claim sites that are due, write results, measure; and the order of all steps.

Each step is short, leaves the database consistent wherever it is cut off, and returns whether more work waits.
Sites are claimed by a conditional UPDATE, so any number of copies on any number of hosts share the work; the
claim of a copy that died expires. A result is written only by whoever still holds the claim.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from gevent.event import Event
from gevent.pool import Pool
from sqlalchemy import Connection, Engine, func, insert, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.elements import ColumnElement

from cloudeye.config import SyncConfig
from cloudeye.models import CheckResult, Site, utcnow
from cloudeye.services.probe import ProbeResult
from cloudeye.sync import outbox
from cloudeye.sync.retention import Retention, retain

log = logging.getLogger(__name__)

# Seconds a claim outlives the longest probe: the time to write its result down.
CLAIM_MARGIN = 15.0
LONGEST_BACK_OFF = 3600.0
# Multiples of the golden ratio's fraction fall evenly into [0, 1) however many there are.
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Claimed:
    """A site of which this process holds the claim, as it was when it was claimed."""

    id: int
    url: str
    interval: int
    state: str
    state_since: datetime | None
    next_check_at: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a claimed site: a result, or the exception that the probe should not have raised."""

    site: Claimed
    started: datetime
    result: ProbeResult | None
    error: Exception | None


@dataclass(slots=True)
class Work:
    """What the steps share.

    `me` names this process in claims; `probe` asks one URL; `beat` says that the loop is alive and is called in
    steps that may take long; `wake` is set when the loop has something to do before its next poll. Without a
    `post` this process sends nothing.
    """

    engine: Engine
    settings: SyncConfig
    me: str
    probe: Callable[[str], ProbeResult]
    beat: Callable[[], None] = lambda: None
    clock: Callable[[], datetime] = utcnow
    wake: Event = field(default_factory=Event)
    post: outbox.Post | None = None
    retention: Retention = field(default_factory=Retention)
    running: dict[int, Claimed] = field(default_factory=dict)
    done: deque[Outcome] = field(default_factory=deque)
    failures: dict[int, int] = field(default_factory=dict)
    pool: Pool = field(init=False)
    backlog: bool = False  # more sites were due than there were places for
    due: int = 0
    lag: float = 0.0  # seconds the longest waiting site was late, since the last measurement
    probed: int = 0
    _late: float = 0.0
    _measured: datetime | None = None

    def __post_init__(self) -> None:
        self.pool = Pool(self.settings.concurrency)


# -- when ------------------------------------------------------------------------------------------------------


def next_slot(site_id: int, interval: float, started: datetime) -> datetime:
    """When a site is probed next, after a probe that began at `started`.

    Each site has its own grid of times, `interval` seconds apart, shifted by its number so that sites added
    together spread evenly. The answer is its first time at least half an interval after `started`: a late probe
    does not move the grid, and missed times are left out, not made up for.
    """
    phase = site_id * _GOLDEN % 1.0 * interval
    earliest = started.timestamp() + interval / 2
    return datetime.fromtimestamp(phase + math.ceil((earliest - phase) / interval) * interval, UTC)


def interval_of(site: Claimed, settings: SyncConfig) -> int:
    """Seconds between two probes of the site: never less than the configured minimum, whatever its row says."""
    return max(site.interval, settings.minimum_interval, 1)


# -- claim -----------------------------------------------------------------------------------------------------


def _due(now: datetime) -> ColumnElement[bool]:
    return (Site.next_check_at <= now) & or_(Site.claimed_until.is_(None), Site.claimed_until <= now)


_CLAIMED = (Site.id, Site.url, Site.interval, Site.state, Site.state_since, Site.next_check_at)


def claim(work: Work) -> bool:
    """Claim as many due sites as there are free places, and start their probes."""
    wanted = min(work.settings.batch, work.pool.free_count())
    # Results that cannot be written must not pile up.
    wanted = min(wanted, work.settings.concurrency + work.settings.batch - len(work.done))
    if wanted <= 0:
        return False
    now = work.clock()
    until = now + timedelta(seconds=work.settings.total_timeout + CLAIM_MARGIN)
    with work.engine.begin() as connection:
        # SKIP LOCKED keeps copies out of each other's way (ignored by SQLite); the condition is what counts.
        ids = connection.scalars(
            select(Site.id)
            .where(_due(now))
            .order_by(Site.next_check_at)
            .limit(wanted)
            .with_for_update(skip_locked=True)
        ).all()
        work.backlog = len(ids) == wanted
        if not ids:
            return False
        connection.execute(
            update(Site).where(Site.id.in_(sorted(ids)), _due(now)).values(claimed_by=work.me, claimed_until=until)
        )
        # Only the numbers, which are always readable: a bad row must not take its batch with it.
        mine = (Site.id.in_(ids), Site.claimed_by == work.me, Site.claimed_until == until)
        claimed = connection.scalars(select(Site.id).where(*mine)).all()
    for site in _load(work, claimed):
        if site.id in work.running:
            continue
        if site.next_check_at is not None:
            work._late = max(work._late, (now - site.next_check_at).total_seconds())
        work.running[site.id] = site
        work.pool.spawn(_visit, work, site)
    return work.backlog and work.pool.free_count() > 0


def _load(work: Work, ids: Sequence[int]) -> list[Claimed]:
    """The claimed sites; one that cannot be read is pushed forward, the others are returned."""
    statement = select(*_CLAIMED)
    try:
        with work.engine.connect() as connection:
            return [Claimed(*row) for row in connection.execute(statement.where(Site.id.in_(ids)))]
    except SQLAlchemyError:
        raise
    except Exception:  # a value that cannot be read: find out whose
        loaded: list[Claimed] = []
        for site_id in ids:
            try:
                with work.engine.connect() as connection:
                    row = connection.execute(statement.where(Site.id == site_id)).one_or_none()
                    loaded.extend([Claimed(*row)] if row is not None else [])
            except SQLAlchemyError:
                raise
            except Exception as error:
                postpone(work, site_id, work.settings.default_interval, error)
            work.beat()
        return loaded


def _visit(work: Work, site: Claimed) -> None:
    """Probe one site in a greenlet of the pool; whatever happens ends up in `done`."""
    started = work.clock()
    try:
        try:
            outcome = Outcome(site, started, work.probe(site.url), None)
        except Exception as error:
            outcome = Outcome(site, started, None, error)
        work.done.append(outcome)
        work.probed += 1
    finally:
        work.running.pop(site.id, None)
        places = work.settings.concurrency - len(work.running)
        if (
            not work.running
            or len(work.done) >= work.settings.batch
            or (work.backlog and places >= max(1, work.settings.concurrency // 4))
        ):
            work.wake.set()


# -- write -----------------------------------------------------------------------------------------------------


def write(work: Work) -> bool:
    """Write a batch of results in one transaction; if that fails for a row's sake, each in one of its own."""
    batch = list(islice(work.done, work.settings.batch))
    if not batch:
        return False
    try:
        with work.engine.begin() as connection:
            _record(work, connection, [outcome for outcome in batch if outcome.result is not None])
    except Exception:
        _ask_database(work)  # raises when it is the database that is ill
        for outcome in batch:
            _write_alone(work, outcome)
            work.beat()
    else:
        for outcome in batch:
            if outcome.error is not None:
                _postpone(work, outcome.site, outcome.error)
            else:
                work.failures.pop(outcome.site.id, None)
    for _ in batch:
        work.done.popleft()
    return len(work.done) >= work.settings.batch


def _ask_database(work: Work) -> None:
    with work.engine.connect() as connection:
        connection.execute(select(1))


def _write_alone(work: Work, outcome: Outcome) -> None:
    error = outcome.error
    if error is None:
        try:
            with work.engine.begin() as connection:
                _record(work, connection, [outcome])
            work.failures.pop(outcome.site.id, None)
            return
        except Exception as trouble:
            error = trouble
    try:
        _postpone(work, outcome.site, error)
    except SQLAlchemyError:
        # Its claim expires by itself; the other rows' results matter more.
        log.exception("a site can be neither written nor postponed", extra={"site": outcome.site.id})


def _record(work: Work, connection: Connection, outcomes: Sequence[Outcome]) -> None:
    results: list[dict[str, Any]] = []
    for outcome in outcomes:
        site, result = outcome.site, outcome.result
        if result is None:
            continue
        seen: dict[str, Any] = {
            "state": result.state,
            "status_code": result.status_code,
            "latency_ms": result.latency_ms,
            "error": result.error,
        }
        changed = connection.execute(
            update(Site)
            # The claim may have expired and be somebody else's; the owner may have changed what is watched.
            .where(Site.id == site.id, Site.claimed_by == work.me)
            .where(Site.url == site.url, Site.interval == site.interval)
            .values(
                **seen,
                last_checked_at=outcome.started,
                state_since=site.state_since if result.state == site.state else outcome.started,
                next_check_at=next_slot(site.id, interval_of(site, work.settings), outcome.started),
                claimed_by=None,
                claimed_until=None,
            )
        )
        if changed.rowcount == 1:
            results.append({"site_id": site.id, "checked_at": outcome.started, **seen})
        else:
            _release(connection, work.me, [site.id])
    if results:
        connection.execute(insert(CheckResult), results)


def _release(connection: Connection, me: str, ids: Sequence[int]) -> None:
    connection.execute(
        update(Site).where(Site.id.in_(sorted(ids)), Site.claimed_by == me).values(claimed_by=None, claimed_until=None)
    )


def _postpone(work: Work, site: Claimed, error: Exception) -> None:
    postpone(work, site.id, interval_of(site, work.settings), error)


def postpone(work: Work, site_id: int, interval: float, error: Exception) -> None:
    """Push a site that cannot be handled forward, twice as far each time, and only then speak of it.

    In this order a row that brings the process down does so once an hour at most, not at once again.
    """
    times = work.failures[site_id] = min(work.failures.get(site_id, 0) + 1, 20)
    wait = min(interval * 2.0**times, max(LONGEST_BACK_OFF, interval))
    with work.engine.begin() as connection:
        connection.execute(
            update(Site)
            .where(Site.id == site_id, Site.claimed_by == work.me)
            .values(
                next_check_at=work.clock() + timedelta(seconds=wait),
                claimed_by=None,
                claimed_until=None,
            )
        )
    log.error(
        "a site could not be handled and waits", exc_info=error, extra={"site": site_id, "wait": wait, "times": times}
    )


# -- measure, stop ---------------------------------------------------------------------------------------------


def measure(work: Work) -> bool:
    """Count the sites that are due and how late the latest is, as often as the heartbeat is written."""
    now = work.clock()
    every = timedelta(seconds=work.settings.heartbeat_seconds)
    if work._measured is not None and now - work._measured < every:
        return False
    with work.engine.connect() as connection:
        due, oldest = connection.execute(select(func.count(), func.min(Site.next_check_at)).where(_due(now))).one()
    waiting = (now - oldest).total_seconds() if oldest is not None else 0.0
    work.due, work.lag = due, round(max(waiting, work._late), 3)
    work._late, work._measured = 0.0, now
    return False


STEPS: tuple[Callable[[Work], bool], ...] = (outbox.mark, write, claim, outbox.send, measure, retain)


def finish(work: Work, grace: float) -> None:
    """Wait at most `grace` seconds for what is under way, write what came of them, give the other claims back."""
    end = time.monotonic() + grace
    outbox.stop(work)
    work.pool.join(timeout=grace)
    left = list(work.running)
    work.pool.kill(timeout=1)
    while work.done:
        write(work)
        work.beat()
    if left:
        with work.engine.begin() as connection:
            _release(connection, work.me, left)
    outbox.finish(work, max(0.1, end - time.monotonic()))
