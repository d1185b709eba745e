"""What /proc says of a process (proc(5))."""

from __future__ import annotations

from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that is only waiting to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def command_line(pid: int) -> str:
    """The command line of a process, joined by blanks; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """The pids of a process's children; none when it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []


def read_pid(path: str | Path, *, named: str) -> int | None:
    """The pid in a pid file, when a process with `named` in its command line has it."""
    try:
        pid = int(Path(path).read_text("ascii"))
    except (OSError, ValueError):
        return None
    return pid if is_alive(pid) and named in command_line(pid) else None


def proportional_memory(pid: int) -> int | None:
    """The memory of a process and all its descendants in bytes, what they share counted once among them.

    It is the sum of their Pss (proc(5), smaps_rollup). None when it may not be read, or the process is gone: another
    account's is for root alone.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
        total = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    except (OSError, StopIteration, ValueError):
        return None
    return total + sum(proportional_memory(child) or 0 for child in children(pid))


def holds_lock(path: Path) -> bool:
    """Whether somebody holds a flock(2) on a file: read from /proc/locks, since trying would take it."""
    try:
        inode = path.stat().st_ino
        lines = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return False
    fields = (line.split() for line in lines)
    return any(row[1] == "FLOCK" and row[-3].rpartition(":")[2] == str(inode) for row in fields if len(row) == 8)


def boot() -> str:
    """What the kernel calls the time since it booted (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
