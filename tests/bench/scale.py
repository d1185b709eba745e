"""How sync scales: one process on one core, against real servers on this machine.

Each size gets a database and sync of its own, started as on a host; once every site was seen (the first time there is
more to write down) the figures are taken for some minutes. Lag is the time from when a site was due, by sync's own
grid, to the beginning of its probe, computed from the results in the database; "at the site" it is to the request's
arrival. Then two processes share sites, and one is killed. Everything started is ended, also after a failure.

The sites: half over TLS, 90 % by name (as root; else all by address), 20 kB pages, 30 % with parts that move, 1 % with
an edited sentence each time, 5 % slow (1 to 2 s), 1 % refusing connections, 1 % never answering. The stack's settings
are those of deploy/stack.yml, but that loopback may be probed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import FrameType

from tests.bench import sharing
from tests.bench.figures import Grid, Lag, Schedule, Usage, busy, schedule
from tests.bench.mix import Mix
from tests.bench.rig import Cores, Plan, Rig

PARTS = ("scale", "share")
GOAL_SITES, GOAL_LAG, GOAL_BYTES = 5000, 5.0, 300 * 10**6
WARM_UP, LONGEST_WARM_UP = 1.25, 5.0  # intervals
EVERY = 2.0  # seconds between two looks at the memory


@dataclass(frozen=True)
class Run:
    """The figures of one size. Shares are of one core's time, memory is in bytes."""

    sites: int
    interval: int
    seconds: float
    probes_per_second: float
    schedule: Schedule
    at_the_site: Lag
    latency_ms: Lag  # of sites that answer at once, as sync measured it: what it adds by being busy
    first: Schedule  # the first interval, in which all pages and findings are new
    settled: float | None  # seconds until that was over: each site seen once, none late any more; None: it was not
    cpu_ms_per_probe: float
    cpu: float
    threads: float  # of cpu: of threads beside the main one
    rss: tuple[int, int]  # at the beginning and at the end
    peak: int
    database: float
    servers: float
    strangers: float  # on sync's core, by processes that are none of ours
    complaints: list[str]
    profile: str

    @property
    def reaches_the_goal(self) -> bool:
        """Whether lag and memory are within the goal's bounds and nothing was left out or done twice."""
        fair = self.schedule.missed == self.schedule.twice == 0 and self.settled is not None
        return fair and self.schedule.lag.p99 < GOAL_LAG and self.peak < GOAL_BYTES


def measure(plan: Plan, minutes: float, cores: Cores) -> Run:
    """Run one size."""
    with Rig(plan, cores) as rig:
        begin = rig.insert_sites()
        process = rig.start_sync()
        grid = Grid(plan.interval, begin)
        _sleep_until(begin.timestamp() + WARM_UP * plan.interval, process, rig)
        settled = _settle(rig, begin.timestamp() + LONGEST_WARM_UP * plan.interval, process)
        if time.time() > begin.timestamp() + (WARM_UP + 0.25) * plan.interval:
            # A site whose probe was late leaves its next time out; that is over an interval later.
            _sleep_until(time.time() + plan.interval, process, rig)
        start = time.time()
        end = start + minutes * 60
        before = _Look(rig, process.pid)
        if plan.profile:
            process.send_signal(signal.SIGUSR2)  # the first interval by itself
        _sleep_until(end, process, rig)
        after = _Look(rig, process.pid)
        # Sites that never answer are written down when their time is over.
        _sleep_until(end + rig.stack["sync"]["read_timeout"] + 2, process, rig)
        status = rig.stop_sync()
        complaints = rig.complaints() + ([f"exit status {status}"] if status else [])
        numbers = range(1, plan.sites + 1)
        results = rig.results()
        kept = schedule(results, grid, numbers, start, end)
        seconds = after.at - before.at
        cpu = after.sync.cpu - before.sync.cpu
        profile = rig.folder / "sync.profile"
        return Run(
            sites=plan.sites,
            interval=plan.interval,
            seconds=round(seconds, 1),
            probes_per_second=round(kept.probes / (end - start), 1),
            schedule=kept,
            at_the_site=schedule(rig.visits(), grid, numbers, start, end).lag,
            latency_ms=Lag.of(rig.latencies(start, end)),
            first=schedule(results, grid, numbers, begin.timestamp(), begin.timestamp() + plan.interval),
            settled=round(settled - begin.timestamp(), 1) if settled else None,
            cpu_ms_per_probe=round(1000 * cpu / max(1, kept.probes), 2),
            cpu=round(cpu / seconds, 3),
            threads=round(max(0.0, cpu - (after.sync.main - before.sync.main)) / seconds, 3),
            rss=(before.sync.rss, after.sync.rss),
            peak=after.sync.peak,
            database=round((after.database - before.database) / seconds, 3),
            servers=round((after.servers - before.servers) / seconds, 3),
            strangers=round(max(0.0, after.busy - before.busy - cpu) / seconds, 3),
            complaints=complaints,
            profile=profile.read_text("utf-8") if profile.exists() else "",
        )


class _Look:
    """What everybody has used until now."""

    def __init__(self, rig: Rig, pid: int) -> None:
        self.at = time.time()
        self.sync = Usage.of(pid)
        server = rig.database.process if rig.database else None
        self.database = Usage.of(server.pid).cpu if server else 0.0
        self.servers = Usage.of(rig.server.pid).cpu
        self.busy = busy([rig.cores.sync])


def _settle(rig: Rig, end: float, process: subprocess.Popen[bytes]) -> float | None:
    """Wait until each site was seen once and none is late any more, at most until a time; when that was."""
    while rig.unseen() or rig.heartbeat()["lag"] > GOAL_LAG:
        if time.time() >= end:
            return None
        _sleep_until(time.time() + EVERY, process, rig)
    return time.time()


def _sleep_until(end: float, process: subprocess.Popen[bytes], rig: Rig) -> None:
    """Sleep until a time in seconds since 1970, as long as sync lives."""
    while (left := end - time.time()) > 0:
        time.sleep(min(left, EVERY))
        if process.poll() is not None:
            raise RuntimeError(f"sync ended by itself, with status {process.returncode}: {rig.log()[-2000:]}")


# -- output ----------------------------------------------------------------------------------------------------


def _seconds(lag: Lag) -> str:
    return f"{lag.p50:.2f} / {lag.p95:.2f} / {lag.p99:.2f} / {lag.max:.2f}"


# What each row of the table says, and how it is made of a run.
FIGURES: tuple[tuple[str, Callable[[Run], str]], ...] = (
    ("probes a second", lambda run: f"{run.probes_per_second:.1f}"),
    ("lag, s: p50 / p95 / p99 / max", lambda run: _seconds(run.schedule.lag)),
    ("the same until the request arrives", lambda run: _seconds(run.at_the_site)),
    ("intervals missed / probed twice", lambda run: f"{run.schedule.missed} / {run.schedule.twice}"),
    ("seconds until all new sites were seen", lambda run: "never" if run.settled is None else f"{run.settled:.0f}"),
    ("lag p99 meanwhile, s", lambda run: f"{run.first.lag.p99:.2f}"),
    ("latency measured, ms: p50 / p99", lambda run: f"{run.latency_ms.p50:.0f} / {run.latency_ms.p99:.0f}"),
    ("CPU time of a probe, ms", lambda run: f"{run.cpu_ms_per_probe:.2f}"),
    ("sync's core used by sync / its threads", lambda run: f"{run.cpu:.0%} / {run.threads:.0%}"),
    ("sync's core used by strangers", lambda run: f"{run.strangers:.0%}"),
    ("other core: database / sites", lambda run: f"{run.database:.0%} / {run.servers:.0%}"),
    ("memory, MB: begin / end / peak", lambda run: " / ".join(f"{n / 1e6:.0f}" for n in (*run.rss, run.peak))),
)


def table(runs: list[Run]) -> str:
    """The figures, a column for each size, as Markdown."""
    rows = [["sites", *(f"{run.sites:,}" for run in runs)]]
    rows += [[title, *map(figure, runs)] for title, figure in FIGURES]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def news(run: Run) -> str:
    """One run in a line."""
    return (
        f"{run.sites:6d} sites: {run.probes_per_second:.1f} probes/s, lag p99 {run.schedule.lag.p99:.2f} s, "
        f"{run.schedule.missed} missed, peak {run.peak / 1e6:.0f} MB, {run.cpu:.0%} of the core "
        f"(strangers {run.strangers:.0%})"
    )


def growth(runs: list[Run]) -> str:
    """How lag and memory go from the smallest to the largest size."""
    low, high = min(runs, key=lambda run: run.sites), max(runs, key=lambda run: run.sites)
    if low.sites == high.sites:
        return ""
    more = high.sites - low.sites
    return (
        f"From {low.sites} to {high.sites} sites: lag p99 {low.schedule.lag.p99:.2f} -> {high.schedule.lag.p99:.2f} s; "
        f"peak memory {low.peak / 1e6:.0f} -> {high.peak / 1e6:.0f} MB, {(high.peak - low.peak) / more / 1000:.1f} kB "
        f"for each further site; the core {low.cpu:.0%} -> {high.cpu:.0%}, "
        f"{1000 * (high.cpu - low.cpu) / more:.1%} for each further thousand."
    )


def verdict(runs: list[Run]) -> tuple[bool, str]:
    """Whether the goal is reached, judged by the sizes up to it."""
    judged = [run for run in runs if run.sites <= GOAL_SITES and run.interval == 60]
    if not any(run.sites == GOAL_SITES for run in judged):
        return True, f"The goal ({GOAL_SITES} sites on a one-minute interval) was not tried."
    reached = all(run.reaches_the_goal for run in judged)
    return reached, (
        f"The goal, {GOAL_SITES} sites a minute by one process on one core, lag p99 under {GOAL_LAG:g} s, under "
        f"{GOAL_BYTES / 1e6:g} MB, none missed: {'reached' if reached else 'MISSED'}."
    )


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; 1 when the goal was tried and missed, or sharing went wrong."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.what) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: they are {' and '.join(PARTS)}")
    signal.signal(signal.SIGTERM, _stop)
    cores = Cores.choose()
    mix = Mix(tls=options.tls, moving=options.moving)
    if not options.json:
        where = "the same" if cores.sync in cores.others else ", ".join(map(str, cores.others))
        print(f"{options.engine}; sync on core {cores.sync}, all else on {where}; load {os.getloadavg()[0]:.1f}")

    def plan(sites: int, interval: int) -> Plan:
        return Plan(sites, interval, options.engine, mix, options.set, options.profile)

    runs: list[Run] = []
    shared: sharing.Sharing | None = None
    failed: list[str] = []
    for sites in options.sites if "scale" in options.what else ():
        try:
            run = measure(plan(sites, options.interval), options.minutes, cores)
        except RuntimeError as error:  # of this size; the figures of the others are kept
            failed.append(f"{sites} sites: {error}")
            continue
        runs.append(run)
        if not options.json:
            print("\n".join([news(run), *run.complaints[:5], run.profile]).rstrip(), flush=True)
    if "share" in options.what:
        shared = sharing.share(plan(options.share_sites, options.share_interval), cores)
    reached, words = verdict(runs)
    if options.json:
        print(json.dumps({"runs": [asdict(run) for run in runs], "sharing": shared and asdict(shared)}, indent=1))
    else:
        texts = ["", table(runs), "", growth(runs), words] if runs else [""]
        print("\n".join([*texts, *([str(shared)] if shared else [])]))
    for text in failed:
        print(f"FAILED: {text}", file=sys.stderr)
    return 0 if reached and not failed and (shared is None or shared.is_right) else 1


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)  # so that what was begun is ended


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""examples:
  python -m tests.bench scale share                        all of it, some 18 minutes
  python -m tests.bench scale --sites 2000 10000 --minutes 2    other sizes
  python -m tests.bench scale --sites 500 --minutes 1      one small size, 2.5 minutes
  python -m tests.bench scale --sites 5000 --profile       and where the CPU time goes
  python -m tests.bench scale --sites 2000 --set sync.concurrency=400 --set sync.poll_seconds=0.5
  python -m tests.bench share                              two processes, one of them killed

Latency is that of sites that answer at once, as sync measured it: what it adds by being busy. Shares are of one core;
strangers are processes that are none of ours: the figures are worth as little as theirs is large.""",
    )
    parser.add_argument("what", nargs="*", default=PARTS, metavar="|".join(PARTS), help="both when none is named")
    parser.add_argument("--sites", type=int, nargs="+", default=[500, 5000, 20000], metavar="N")
    parser.add_argument("--minutes", type=float, default=1.0, help="of measuring each size (default: %(default)s)")
    parser.add_argument("--interval", type=int, default=60, help="seconds between two probes (default: %(default)s)")
    parser.add_argument("--engine", choices=("mariadb", "sqlite"), default="mariadb", help="default: %(default)s")
    parser.add_argument("--tls", type=float, default=Mix.tls, help="share over TLS, 0 to 1 (default: %(default)s)")
    parser.add_argument(
        "--moving", type=float, default=Mix.moving, help="share with parts that move (default: %(default)s)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="another value of deploy/stack.yml"
    )
    parser.add_argument("--share-sites", type=int, default=1000, metavar="N", help="default: %(default)s")
    parser.add_argument("--share-interval", type=int, default=20, help="seconds (default: %(default)s)")
    parser.add_argument("--profile", action="store_true", help="sample where sync's CPU time goes")
    parser.add_argument("--json", action="store_true", help="nothing but the figures, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
