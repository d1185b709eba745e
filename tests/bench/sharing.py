"""Two processes share sites, and one of them is killed: counted from the results, and by the sites themselves."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import func, select

from cloudeye.models import Site
from tests.bench.figures import Grid, schedule
from tests.bench.rig import Cores, Plan, Rig

TOGETHER = 3.0  # intervals in which both are watched
HOLDS_WITHIN = 20.0  # seconds until the one to be killed holds a claim


@dataclass(frozen=True)
class Sharing:
    """What came of it. A slot is one interval of one site."""

    sites: int
    interval: int
    probed: tuple[int, int]  # by either, until the kill
    results: int  # while both lived
    missed: int
    twice: int  # slots with two results
    asked_twice: int  # slots in which a site was asked twice
    held: int  # claims that the killed one held
    results_after: int  # in the time from the kill on
    twice_after: int
    asked_again: int  # slots in which a site was asked again, as what came of the first time died with the process
    missed_after: int
    left: int  # sites that nobody looked at again, or still claimed by the dead
    last_after: float  # seconds from the kill until the last of the claimed was looked at again

    @property
    def is_right(self) -> bool:
        """Whether no site was probed twice, and none was left."""
        return (
            self.twice == self.asked_twice == self.missed == self.twice_after == self.left == 0
            and self.asked_again <= self.held
            and min(self.probed) > 0
        )

    def __str__(self) -> str:
        return (
            f"Two processes, {self.sites} sites every {self.interval} s: probed {self.probed[0]} and {self.probed[1]}; "
            f"of {self.results} results {self.twice} were second ones of an interval, {self.asked_twice} sites were "
            f"asked twice in one, {self.missed} were missed.\n"
            f"One was killed -9 while it held {self.held} sites. After that: {self.results_after} results, "
            f"{self.twice_after} second ones, {self.asked_again} asked again, {self.missed_after} intervals missed "
            f"until the claims ended; the last of its sites was looked at {self.last_after:.0f} s later, {self.left} "
            f"were left.\nSharing: {'right' if self.is_right else 'WRONG'}."
        )


def share(plan: Plan, cores: Cores) -> Sharing:
    """Run it: both on sync's core, as the question is who does what, and not how fast."""
    with Rig(plan, cores) as rig:
        begin = rig.insert_sites()
        grid = Grid(plan.interval, begin)
        doomed, other = rig.start_sync("doomed"), rig.start_sync("other")
        start = begin.timestamp() + 1.25 * plan.interval
        time.sleep(max(0.0, start + TOGETHER * plan.interval - time.time()))
        end = time.time()
        # Only a slot that had time to be written is judged.
        judged = end - rig.stack["sync"]["read_timeout"] - 2
        mine = Site.claimed_by.like(f"%:{doomed.pid}:%")
        with rig.engine.connect() as connection:
            deadline = time.monotonic() + HOLDS_WITHIN
            while not connection.scalar(select(func.count()).where(mine)) and time.monotonic() < deadline:
                connection.rollback()
                time.sleep(0.02)
        doomed.kill()
        doomed.wait()
        killed = time.time()
        probed = int(rig.heartbeat("doomed")["probed"]), int(rig.heartbeat("other")["probed"])
        with rig.engine.connect() as connection:
            held = connection.scalars(select(Site.id).where(mine)).all()
        # A claim outlives the longest probe by 15 s (CLAIM_MARGIN); then an interval, in which each has its turn.
        settings = rig.stack["sync"]
        over = killed + settings["poll_seconds"] + settings["total_timeout"] + 15 + plan.interval
        time.sleep(max(0.0, over + rig.stack["sync"]["read_timeout"] + 2 - time.time()))
        if other.poll() is not None:
            raise RuntimeError("the other process ended too")
        with rig.engine.connect() as connection:
            left = set(connection.scalars(select(Site.id).where(mine)).all())
        rig.stop_sync("other")
        results, visits, numbers = rig.results(), rig.visits(), range(1, plan.sites + 1)
        again: dict[int, float] = {}
        for site, at in sorted(results, key=lambda row: row[1]):
            if at > killed:
                again.setdefault(site, at)
        both = schedule(results, grid, numbers, start, judged)
        after = schedule(results, grid, numbers, judged, over)
        return Sharing(
            sites=plan.sites,
            interval=plan.interval,
            probed=probed,
            results=both.probes,
            missed=both.missed,
            twice=both.twice,
            asked_twice=schedule(visits, grid, numbers, start, judged).twice,
            held=len(held),
            results_after=after.probes,
            twice_after=after.twice,
            asked_again=schedule(visits, grid, numbers, judged, over).twice,
            missed_after=after.missed,
            left=len(left | {number for number in numbers if number not in again}),
            last_after=round(max((again[site] - killed for site in held if site in again), default=0.0), 1),
        )
