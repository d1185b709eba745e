"""From rows and /proc to figures: how late, how many missed, how much of the machine."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cloudeye.sync.schedule import next_slot

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def first_slot(site: int, interval: int, begin: datetime) -> datetime:
    """The first time of a site's grid that is not before `begin`."""
    return next_slot(site, interval, begin - timedelta(seconds=interval / 2))


class Grid:
    """The times at which sites are due, by sync's own rule, as seconds from `begin` on.

    Arguments:
        begin: seconds since 1970; the grid of a site starts at its first time from then on, in slot 0.
    """

    def __init__(self, interval: int, begin: datetime) -> None:
        self.interval = interval
        self.begin = begin.timestamp()
        self._begin = begin
        self._first: dict[int, float] = {}

    def first(self, site: int) -> float:
        """When `site` is due for the first time, in seconds since 1970."""
        if site not in self._first:
            self._first[site] = first_slot(site, self.interval, self._begin).timestamp()
        return self._first[site]

    def place(self, site: int, at: float) -> tuple[int, float]:
        """The slot that a probe at `at` belongs to, and how late it was, in seconds."""
        # A microsecond is what the database keeps: a probe exactly on time must not count as one interval late.
        slot, late = divmod(at - self.first(site) + 2e-6, self.interval)
        return int(slot), late

    def expected(self, sites: Iterable[int], start: float, end: float) -> set[tuple[int, int]]:
        """Every slot of the sites that lies in a time."""
        slots: set[tuple[int, int]] = set()
        for site in sites:
            first = self.first(site)
            low = -((first - start) // self.interval)
            slot = int(low)
            while first + slot * self.interval < end:
                slots.add((site, slot))
                slot += 1
        return slots


@dataclass(frozen=True)
class Lag:
    """Seconds between the time a site was due and the beginning of its probe."""

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Lag:
        """The nearest-rank percentiles; of nothing all are 0."""
        ordered = sorted(values) or [0.0]
        return cls(*(round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) for share in _SHARES))


_SHARES = (0.50, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class Schedule:
    """How a set of results keeps to the grid in a time."""

    probes: int
    lag: Lag
    missed: int  # slots without a result
    twice: int  # slots with more than one


def schedule(rows: Sequence[tuple[int, float]], grid: Grid, sites: Iterable[int], start: float, end: float) -> Schedule:
    """Compare rows of (site, seconds since 1970) with the slots from `start` to `end`."""
    wanted = grid.expected(sites, start, end)
    found: Counter[tuple[int, int]] = Counter()
    late: list[float] = []
    for site, at in rows:
        slot, lag = grid.place(site, at)
        if (site, slot) in wanted:
            found[site, slot] += 1
            late.append(lag)
    twice = sum(1 for count in found.values() if count > 1)
    return Schedule(len(late), Lag.of(late), len(wanted) - len(found), twice)


@dataclass(frozen=True)
class Usage:
    """What a process has used until now: CPU seconds of all its threads, of its main thread, and memory in bytes."""

    cpu: float
    main: float
    rss: int
    peak: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Read it from /proc (proc_pid_stat(5), proc_pid_status(5))."""
        memory = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line[:2] == "Vm"
        )
        return cls(
            _cpu(Path(f"/proc/{pid}/stat")),
            _cpu(Path(f"/proc/{pid}/task/{pid}/stat")),
            int(memory["VmRSS"].split()[0]) * 1024,
            int(memory["VmHWM"].split()[0]) * 1024,
        )


def _cpu(path: Path) -> float:
    fields = path.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def busy(cores: Iterable[int]) -> float:
    """CPU seconds that some cores have spent on anything at all, waiting for disks left out (proc_stat(5))."""
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:] in {str(core) for core in cores}:
            user, nice, system, _idle, _iowait, interrupts, soft, steal = map(int, ticks[:8])
            total += user + nice + system + interrupts + soft + steal
    return total / TICKS


def plain(value: Any) -> Any:
    """A dataclass of figures as JSON has it."""
    return asdict(value)
