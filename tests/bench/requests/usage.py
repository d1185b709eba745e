"""What processes cost: their memory and their CPU time, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from deploy.procfs import children

TICKS = os.sysconf("SC_CLK_TCK")


def tree(roots: Iterable[int]) -> list[int]:
    """The processes and all that they have started, each once."""
    found: dict[int, None] = {}
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found[pid] = None
            waiting += children(pid)
    return list(found)


def pss(pids: Iterable[int]) -> int:
    """Bytes of memory, what is shared divided among its sharers (PSS, proc_pid_smaps(5)); who has ended counts 0."""
    return sum(_pss(pid) for pid in pids)


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024


def cpu(pids: Iterable[int]) -> float:
    """CPU seconds that processes and their children that ended have used until now (proc_pid_stat(5))."""
    return sum(_cpu(pid) for pid in pids)


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS
