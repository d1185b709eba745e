"""How requests are served: this stack beside what a user would pick instead, on this machine alone.

Each contestant serves the same application behind the same nginx on the same MariaDB, one after another in rounds of
another order each, so that what disturbs the machine disturbs all. Rates are of a closed loop (wrk), latencies of an
open loop at half that rate. Ratios are of one round each; what is shown is their median. At the end the bars are
judged. Everything started is ended, also after a failure. docs/performance.md says more.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from deploy.local import LocalError
from deploy.nginx import NginxError
from deploy.orphans import PortTaken
from deploy.render import TREE
from tests.bench.requests import report, wrk
from tests.bench.requests.contestants import CONTESTANTS, STACK, Contestant
from tests.bench.requests.facts import facts
from tests.bench.requests.figures import Results, Start, bars
from tests.bench.requests.measuring import Answers, measure, set_of
from tests.bench.requests.picture import draw
from tests.bench.requests.rig import Rig, RigError
from tests.bench.requests.workloads import WORKLOADS

VENV = TREE / "build" / "bench-venv"
OUTPUT = TREE / "build" / "bench"
WARM_UP = 2  # seconds; also until the pools are full
DESCRIPTORS = 8192  # that the clients of one process and nginx together may need


@dataclass(frozen=True)
class Length:
    """How long it may take. `steady` says in how many of the rounds latencies are taken."""

    rounds: int
    seconds: int  # of one load
    steady: int
    minutes: float  # after which no further contestant is begun


FULL, QUICK = Length(5, 3, 5, 40), Length(3, 2, 1, 9)


class Benchmark:
    """One run, from the first round to the last."""

    def __init__(self, rig: Rig, options: argparse.Namespace, length: Length) -> None:
        self.rig, self.options, self.length = rig, options, length
        self.results = Results()
        self.failed: list[str] = []
        self._answers = Answers()
        self._end = time.monotonic() + 60 * length.minutes
        self.contestants = [one for one in CONTESTANTS if not options.only or one.name in options.only]

    def run(self) -> None:
        """Measure round after round, as long as there is time for another one."""
        self.rig.set_up(next(one for one in CONTESTANTS if one.name == STACK))
        longest = 0.0
        for number in range(1, self.length.rounds + 1):
            begin = time.monotonic()
            if begin + longest > self._end:
                say(f"no time for round {number}: {self.length.minutes:g} minutes are over before its end")
                return
            for contestant in turned(self.contestants, number):
                if time.monotonic() > self._end:
                    self.failed.append(f"round {number} was broken off after {self.length.minutes:g} minutes")
                    return
                self._one(contestant, number)
            longest = max(longest, time.monotonic() - begin)

    def _one(self, contestant: Contestant, number: int) -> None:
        try:
            self._measure(contestant, number)
        except (RigError, NginxError, wrk.WrkError) as error:  # of this one; the figures of the others are kept
            self.failed.append(f"{contestant.name}, round {number}: {error}")
            say(f"FAILED: {self.failed[-1]}")

    def _measure(self, contestant: Contestant, number: int) -> None:
        with self.rig.running(contestant) as running:
            asked = set_of(running, self.rig, brief=self.options.quick, names=self.options.workloads)
            if contestant.kind != "limit":
                self.results.starts.append(Start(contestant.name, number, running.seconds, running.memory()))
            for workload in asked:
                self._answers.check(running, workload)
            if contestant.kind != "limit":
                warm = next(one for one in WORKLOADS if one.name == "read")
                wrk.run(warm, running.url, self.rig.tokens[warm.account], self.rig.folder, WARM_UP)
            spoiled = False
            for workload in asked:
                if spoiled:
                    running.restart()
                steady = number <= self.length.steady
                sample = measure(running, workload, number, self.length.seconds, steady=steady)
                self.results.samples.append(sample)
                say(f"round {number}/{self.length.rounds}  {report.news(sample)}")
                spoiled = bool(sample.errors)


def turned(contestants: Sequence[Contestant], number: int) -> list[Contestant]:
    """The contestants of a round: in each one another begins. The first of round 1 says what is right."""
    place = (number - 1) % max(1, len(contestants))
    return [*contestants[place:], *contestants[:place]]


def say(line: str) -> None:
    """Progress, beside what is printed at the end."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 when a bar is missed or something failed, 2 when it cannot be run."""
    options = _parser().parse_args(arguments)
    chosen = QUICK if options.quick else FULL
    given = {"rounds": options.rounds, "seconds": options.seconds, "minutes": options.minutes}
    length = dataclasses.replace(chosen, **{name: value for name, value in given.items() if value is not None})
    if problem := _cannot_run(options):
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _stop)
    begun = time.time()
    try:
        with Rig(options.venv.resolve(), options.base_port, say) as rig:
            benchmark = Benchmark(rig, options, length)
            known = facts(rig)
            say("; ".join(f"{name} {value}" for name, value in known.items() if not isinstance(value, dict)))
            benchmark.run()
    except KeyboardInterrupt:
        print("bench: interrupted; everything that was started is ended", file=sys.stderr)
        return 130
    except (RigError, NginxError, LocalError, PortTaken, wrk.WrkError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    results, judged = benchmark.results, bars(benchmark.results)
    written = {
        "facts": {**known, "load_after": round(os.getloadavg()[0], 2), "seconds": round(time.time() - begun)},
        "length": dataclasses.asdict(length),
        **dataclasses.asdict(results),
        "bars": [{**dataclasses.asdict(bar), "met": bar.met} for bar in judged],
        "failed": benchmark.failed,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "requests.json").write_text(json.dumps(written, indent=1) + "\n", "utf-8")
    (options.output / "requests.svg").write_text(draw(results), "utf-8")
    if options.json:
        print(json.dumps(written, indent=1))
    else:
        print(f"\n{report.text(results)}\n\nWritten: requests.json and requests.svg in {options.output}")
    for text in benchmark.failed:
        print(f"FAILED: {text}", file=sys.stderr)
    return 1 if benchmark.failed or any(bar.met is False for bar in judged) else 0


def _cannot_run(options: argparse.Namespace) -> str:
    """Why not, with the remedy; empty when it can."""
    if not (options.venv / "bin" / "python").exists():
        return f"there is no environment {options.venv}: `make bench-quick` makes it"
    if shutil.which("wrk") is None:
        return wrk.MISSING
    for what, asked, names in (
        ("contestant", options.only, [one.name for one in CONTESTANTS]),
        ("workload", options.workloads, [one.name for one in WORKLOADS]),
    ):
        if unknown := sorted(set(asked) - set(names)):
            return f"no {what} {', '.join(unknown)}: they are {', '.join(names)}"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        return f"a process may open {hard} files, {DESCRIPTORS} are needed: raise the limit (ulimit -Hn {DESCRIPTORS})"
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench requests",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"""contestants: {", ".join(one.name for one in CONTESTANTS)}
workloads:   {", ".join(one.name for one in WORKLOADS)}

examples:
  python -m tests.bench requests                                   all of it, at most {FULL.minutes + 2:g} minutes
  python -m tests.bench requests --quick                           at most {QUICK.minutes + 1:g} minutes
  python -m tests.bench requests --only stack granian --workloads ping read
  python -m tests.bench requests --rounds 1 --seconds 1

exit status: 0 each bar that was measured is met, 1 one is not or something failed, 2 it cannot be run""",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds; slow queries and files of this stack alone")
    parser.add_argument("--rounds", type=int, help=f"default: {FULL.rounds}, quick {QUICK.rounds}")
    parser.add_argument("--seconds", type=int, help=f"of one load; default: {FULL.seconds}, quick {QUICK.seconds}")
    parser.add_argument("--minutes", type=float, help=f"at most; default: {FULL.minutes}, quick {QUICK.minutes}")
    parser.add_argument("--only", nargs="+", default=[], metavar="CONTESTANT")
    parser.add_argument("--workloads", nargs="+", default=[], metavar="WORKLOAD")
    parser.add_argument("--base-port", type=int, default=24700, help="the first of 20 ports (default: %(default)s)")
    parser.add_argument("--venv", type=Path, default=VENV, help="the contestants' packages (default: build/bench-venv)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="a folder (default: build/bench)")
    parser.add_argument("--json", action="store_true", help="nothing but the figures, as JSON")
    return parser


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)  # so that what was begun is ended
