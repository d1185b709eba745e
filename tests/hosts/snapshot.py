"""What lies on a host's disk, to tell whether something changed it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.hosts.machine import Host

# What a running host writes by itself, and where package lists and Ansible's modules lie for a moment.
PASSING = (
    "dev",
    "proc",
    "run",
    "sys",
    "tmp",
    "var/tmp",
    "var/log",
    "var/cache",
    "var/lib/apt",
    "var/lib/dnf",
    "var/lib/systemd",
    "var/lib/mysql",
    "var/lib/nginx",  # what it keeps of answers, and bodies on their way
    "home/ops/.ansible",
    "root/.ansible",
)
# SQLite writes these for readers too; rpm's database is one.
PASSING_ENDS = ("-shm", "-wal")


def snapshot(host: Host) -> dict[str, tuple[int, int, int]]:
    """Mode, size and time of the last change of every file and folder on a host, without what passes."""
    root = host.root
    skipped = {str(root / name) for name in PASSING}
    found: dict[str, tuple[int, int, int]] = {}
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if f"{folder}/{name}" not in skipped and name != "__pycache__"]
        for name in [*names, *(file for file in files if not file.endswith(PASSING_ENDS))]:
            path = Path(folder, name)
            known = path.lstat()
            size, time = (known.st_size, known.st_mtime_ns) if stat.S_ISREG(known.st_mode) else (0, 0)
            found[str(path.relative_to(root))] = (known.st_mode, size, time)
    return found


def differences(before: dict[str, tuple[int, int, int]], after: dict[str, tuple[int, int, int]]) -> list[str]:
    """The names of what came, went or changed."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
