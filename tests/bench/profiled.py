"""Sync with a sampler beside it: `python -m tests.bench.profiled` in place of `python -m cloudeye.sync`.

Every few milliseconds of the process's CPU time (ITIMER_PROF, setitimer(2)) the stack of the greenlet that runs is
noted. Unlike a tracing profiler this slows calls down by nothing, and does not mistake a switch of greenlets for a
call. What other threads use is noted where the main one stands. SIGUSR2 writes what was noted to the file
BENCH_PROFILE and begins anew; so does the end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

EVERY = 0.004  # CPU seconds
TOP = 45


class Sampler:
    """Counts in which functions the CPU time goes: in themselves, and in them and what they call."""

    def __init__(self) -> None:
        self.samples = 0
        self.own: Counter[tuple[str, int, str]] = Counter()
        self.whole: Counter[tuple[str, int, str]] = Counter()

    def __call__(self, _number: int, frame: FrameType | None) -> None:
        self.samples += 1
        own = True
        seen: set[CodeType] = set()
        while frame is not None:
            code = frame.f_code
            key = _short(code.co_filename), frame.f_lineno if own else code.co_firstlineno, code.co_qualname
            if own:
                self.own[key] += 1
                own = False
            if code not in seen:
                seen.add(code)
                self.whole[_short(code.co_filename), code.co_firstlineno, code.co_qualname] += 1
            frame = frame.f_back

    def write(self, *_: object) -> None:
        """Write what was noted, and forget it; no sample may come in between."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        with Path(os.environ["BENCH_PROFILE"]).open("a", encoding="utf-8") as file:
            file.write(self.table())
        self.samples = 0
        self.own.clear()
        self.whole.clear()
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)

    def table(self) -> str:
        """Both lists, by their share of all samples."""
        parts = [f"\n{self.samples} samples of {EVERY * 1000:g} ms"]
        for title, counter in (("in itself, by line", self.own), ("with what it calls", self.whole)):
            parts.append(f"\n{title}")
            for (file, line, name), count in counter.most_common(TOP):
                parts.append(f"{100 * count / max(1, self.samples):6.1f} %  {name}  {file}:{line}")
        return "\n".join(parts) + "\n"


def _short(path: str) -> str:
    return "/".join(path.split("/")[-3:])


def main() -> int:
    """Run sync's own main function under the sampler."""
    from cloudeye.sync.__main__ import main as sync

    sampler = Sampler()
    signal.signal(signal.SIGPROF, sampler)
    signal.signal(signal.SIGUSR2, sampler.write)
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    try:
        return sync()
    finally:
        sampler.write()
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    sys.exit(main())
