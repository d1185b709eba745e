"""The ledger of a host: what was done to its releases, one JSON line each, never changed afterwards.

Each line carries the hash of the line before, so a line that was edited, taken out or put in no longer fits its
neighbours. Whoever can write the file can also compute all hashes anew: against that, keep the newest hash elsewhere
(`stack ledger` prints it) and compare.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEFORE = "before"  # the key under which a line holds the hash of the one before
START = "0" * 64  # what the first line holds there


@dataclass(frozen=True)
class Reading:
    """What a ledger holds, oldest first, the hash of its newest line, and what is wrong with it."""

    entries: list[dict[str, Any]]
    head: str
    problems: list[str]


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line and put it on the disk before returning.

    Writers wait for each other here: not all of them hold the stack's lock (`stack maintenance` does not). A line that
    a power cut tore stays as it is, and the new line carries its hash.

    Args:
        path: of the ledger, which need not exist.
        entry: what happened; it must go into JSON.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed
        lines = file.read().split(b"\n")
        torn = lines[-1]
        last = torn or (lines[-2] if len(lines) > 1 else b"")
        line = json.dumps({**entry, BEFORE: _hash(last)}, ensure_ascii=False).encode()
        file.write((b"\n" if torn else b"") + line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> Reading:
    """Read a ledger and check that each line fits the one before.

    Args:
        path: of the ledger; one that does not exist is an empty one.

    Returns:
        Its entries, also those of a ledger with problems. A line that is torn but covered by the hash of the next is
        no problem: that is what a power cut leaves.
    """
    entries: list[dict[str, Any]] = []
    problems: list[str] = []
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    unfinished = lines.pop() if lines else b""
    before = START
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            fits = entry[BEFORE] == before
        except (ValueError, KeyError, TypeError):
            if number == len(lines):
                problems.append(f"line {number} is no entry")
        else:
            entries.append(entry)
            if not fits:
                problems.append(
                    f"line {number} does not fit the line before: one of them was changed, or one is missing"
                )
        before = _hash(line)
    if unfinished:
        problems.append(f"line {len(lines) + 1} is not finished: the host was cut off while it was written")
    return Reading(entries, before, problems)


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest() if line else START
