"""The order of all steps, the one that measures, and how they end.

Each step is short, leaves the database consistent wherever it is cut off, and returns whether more work waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import func, select

from cloudeye.models import Site
from cloudeye.sync import outbox, scan
from cloudeye.sync.alerts import dispatch
from cloudeye.sync.claims import claim, is_due, release
from cloudeye.sync.records import write
from cloudeye.sync.retention import retain
from cloudeye.sync.rollup import rollup
from cloudeye.sync.work import Work


def measure(work: Work) -> bool:
    """Count the sites that are due and how late the latest is, as often as the heartbeat is written."""
    now = work.clock()
    every = timedelta(seconds=work.settings.heartbeat_seconds)
    if work.measured is not None and now - work.measured < every:
        return False
    with work.engine.connect() as connection:
        due, oldest = connection.execute(select(func.count(), func.min(Site.next_check_at)).where(is_due(now))).one()
    waiting = (now - oldest).total_seconds() if oldest is not None else 0.0
    work.due, work.lag = due, round(max(waiting, work.late), 3)
    work.late, work.measured = 0.0, now
    return False


STEPS: tuple[Callable[[Work], bool], ...] = (
    outbox.mark,
    write,
    claim,
    dispatch,
    outbox.send,
    scan.scan,
    measure,
    rollup,
    retain,
)


def finish(work: Work, grace: float) -> None:
    """Wait at most `grace` seconds for what is under way, write what came of them, give the other claims back."""
    end = time.monotonic() + grace
    outbox.stop(work)
    scan.stop(work)
    work.pool.join(timeout=grace)
    left = list(work.running)
    work.pool.kill(timeout=1)
    while work.done:
        write(work)
        work.beat()
    if left:
        with work.engine.begin() as connection:
            release(connection, work.me, left)
    scan.finish(work)
    outbox.finish(work, max(0.1, end - time.monotonic()))
