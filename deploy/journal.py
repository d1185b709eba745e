"""The journal of one run: what the engine is about to do, on the disk before it does it.

It lies beside the ledger while a run goes on and is taken away when the run has ended. One that is there when nobody
holds the lock is of a run that was cut off, by a kill or a power cut; `deploy/resume.py` undoes or finishes that run.
JSON lines, each with an `event`:

    begin    the action, who, the engine's own folder, `current` and `previous` before
    target   the release that the run goes to
    step     a step begins
    change   something is about to be changed, and the plain data by which `deploy/undo.py` takes it back
    undone   the change of that number has been taken back
    passed   every process is on the target; a resume finishes from here on, before this it undoes
    back     what was changed is being taken back, which a resume goes on with
    settled  nothing is taken back any more

A line that a power cut tore announces nothing: what it would have announced was not done yet.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy import durable

FORMAT = 1


@dataclass(frozen=True)
class Change:
    """A change about to be made: its kind in `deploy/undo.py`, a few words, and the data that take it back."""

    kind: str
    what: str
    data: Mapping[str, Any]


@dataclass
class Unfinished:
    """A run that was cut off, as its journal tells it. `changes` are those not taken back yet, by their number."""

    run: str
    format: int
    action: str
    what: str
    actor: str
    since: str
    boot: str
    engine: str
    before: str
    target: str = ""
    step: str = ""
    passed: bool = False
    settled: bool = False
    changes: dict[int, Change] = field(default_factory=dict)

    @property
    def finishes(self) -> bool:
        """Whether a resume goes on to the target; else it goes back to the release before."""
        return self.passed or self.settled


class Journal:
    """A journal that is being written."""

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run

    @classmethod
    def begin(cls, path: Path, **fields: str) -> Journal:
        """Start the journal of a run.

        Args:
            path: where; a journal that lies there is replaced.
            fields: those of `Unfinished` that are known at the start.

        Raises:
            OSError: it cannot be written.
        """
        journal = cls(path, secrets.token_hex(6))
        path.unlink(missing_ok=True)
        journal.note("begin", run=journal.run, format=FORMAT, **fields)
        durable.sync_folder(path.parent)
        return journal

    def note(self, event: str, **fields: Any) -> None:
        """Add a line, and have it on the disk before returning.

        Raises:
            OSError: it cannot be written.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        # Sections and sites may say more than everybody may read.
        descriptor = os.open(self.path, flags, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            torn = file.seek(0, os.SEEK_END) and os.pread(descriptor, 1, file.tell() - 1) != b"\n"
            line = json.dumps({"event": event, **fields}, ensure_ascii=False).encode()
            file.write((b"\n" if torn else b"") + line + b"\n")
            file.flush()
            os.fsync(descriptor)

    def close(self) -> None:
        """The run has ended: there is nothing to resume."""
        durable.remove(self.path)


def read(path: Path) -> Unfinished | None:
    """Read the journal of a run that was cut off; None when there is none, or it was cut off before it began."""
    found: Unfinished | None = None
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    for line in lines:
        try:
            entry = json.loads(line)
            event = entry.pop("event")
        except (ValueError, KeyError, AttributeError):
            continue  # torn
        if event == "begin":
            names = Unfinished.__dataclass_fields__
            found = Unfinished(**{key: value for key, value in entry.items() if key in names})
        elif found is None:
            continue
        elif event == "target":
            found.target = entry["release"]
        elif event == "step":
            found.step = entry["name"]
        elif event == "change":
            found.changes[entry["number"]] = Change(entry["kind"], entry["what"], entry["data"])
        elif event == "undone":
            found.changes.pop(entry["number"], None)
        elif event == "passed":
            found.passed = True
        elif event == "back":
            found.passed = False
        elif event == "settled":
            found.settled = True
            found.changes.clear()
    return found
