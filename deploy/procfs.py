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
