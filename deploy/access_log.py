"""nginx's access log of a stack: what is written to it from a moment on, and what was before, also across rotations.

Rotation renames (docs/logs.md), so a file is known by its inode. What was compressed is not read: a rotation leaves the
newest renamed file as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

BLOCK = 1 << 20  # bytes read at a time, backwards
COMPRESSED = {".gz", ".xz", ".bz2", ".zst"}


class Request(NamedTuple):
    """A request that was answered: when (seconds since 1970), whether with a 5xx, and how long the app took for it.

    `seconds` is None where nginx answered by itself.
    """

    time: float
    failed: bool
    seconds: float | None


class AccessLog:
    """The log, read on from where it ended when this object was made.

    Args:
        stack: whose site it is of.
    """

    def __init__(self, stack: Mapping[str, Any]) -> None:
        self.path = Path(stack["paths"]["nginx_log"], f"{stack['stack']['name']}.access.log")
        self._inode, self._offset = 0, 0
        try:
            with self.path.open("rb") as file:
                self._inode, self._offset = os.fstat(file.fileno()).st_ino, _end_of_lines(file.fileno())
        except OSError:  # whoever reads it will be told, if it is still so
            pass
        self._start = (self._inode, self._offset)

    def new(self) -> Iterator[Request]:
        """What was written since the last call.

        Raises:
            OSError: it cannot be read.
        """
        for path in self._from(self._inode):
            try:
                file = path.open("rb")
            except FileNotFoundError:  # renamed since it was listed
                continue
            with file:
                found = os.fstat(file.fileno())
                offset = self._offset if found.st_ino == self._inode and found.st_size >= self._offset else 0
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # its writer is not done yet
                    offset += len(line)
                    if request := parse(line):
                        yield request
                self._inode, self._offset = found.st_ino, offset

    def before(self, since: float, until: float, most: int) -> Iterator[Request]:
        """What was written before this object was made, the newest first.

        Args:
            since: how far back, in seconds since 1970.
            until: what came later is passed over, likewise.
            most: how many at most.

        Raises:
            OSError: it cannot be read.
        """
        inode = self._start[0]
        end: int | None = self._start[1]
        files = self._files()
        numbers = [path.stat().st_ino for path in files]
        older = files[: numbers.index(inode) + 1] if inode in numbers else []
        for path in reversed(older):
            for line in _backwards(path, end):
                request = parse(line)
                if request is None or request.time > until:
                    continue
                most -= 1
                if request.time < since or most < 0:
                    return
                yield request
            end = None

    def _from(self, inode: int) -> list[Path]:
        """The file of an inode and those younger than it; what has the name now when it is not there any more."""
        files = self._files()
        numbers = [path.stat().st_ino for path in files if path.exists()]
        return files[numbers.index(inode) :] if inode in numbers else files[-1:]

    def _files(self) -> list[Path]:
        """The log and what its rotations have left of it in plain text, the oldest first."""
        renamed = [
            (path.stat().st_mtime_ns, path)
            for path in self.path.parent.glob(f"{self.path.name}?*")
            if path.suffix not in COMPRESSED and path.is_file()
        ]
        return [*(path for _, path in sorted(renamed)), *([self.path] if self.path.is_file() else [])]


def parse(line: bytes) -> Request | None:
    """A line of the format that nginx/conf.d/_server.j2 sets; None for one that is torn, or of maintenance."""
    try:
        entry = json.loads(line)
        status, upstream, times = int(entry["status"]), entry["upstream"], entry["upstream_seconds"]
        moment = datetime.fromisoformat(entry["time"]).timestamp()
        # One for each port that was tried, "-" where none was reached (ngx_http_upstream_module).
        taken = [float(text) for text in times.replace(":", ",").split(",") if text.strip(" -")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if status == 503 and not upstream:
        return None
    return Request(moment, status >= 500, sum(taken) if taken else None)


def _backwards(path: Path, end: int | None) -> Iterator[bytes]:
    """The lines of a file, or those that end before an offset in it, the last one first."""
    with path.open("rb") as file:
        rest, end = b"", file.seek(0, os.SEEK_END) if end is None else end
        while end > 0:
            size = min(BLOCK, end)
            end -= size
            rest, *lines = (os.pread(file.fileno(), size, end) + rest).split(b"\n")
            yield from (line for line in reversed(lines) if line)
        if rest:
            yield rest


def _end_of_lines(descriptor: int) -> int:
    """Where the last whole line of a file ends."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        size = min(BLOCK, end)
        at = os.pread(descriptor, size, end - size).rfind(b"\n")
        if at >= 0:
            return end - size + at + 1
        end -= size
    return 0
