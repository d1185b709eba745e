"""One log file: its lines with their times, its end, and what is written to it later, also across a rotation."""

from __future__ import annotations

import gzip
import json
import os
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple

BLOCK = 256 * 1024  # bytes read at a time from a log's end
LATE_SECONDS = 10.0  # a renamed file is read on for so long: its writers have not all opened the new one yet

# The two that are not JSON, both in local time: supervisord's (2026-11-21 16:46:32,075) and nginx's error log.
PLAIN = re.compile(r"(\d{4})[-/](\d\d)[-/](\d\d) (\d\d):(\d\d):(\d\d)")


class Line(NamedTuple):
    """A line: when it was written (seconds since 1970), which log holds it, and its text."""

    time: float
    log: str
    text: str


def time_of(text: str) -> float | None:
    """When a line says that it was written; None when it does not say, such as those of a trace."""
    if text.startswith("{"):
        try:
            return datetime.fromisoformat(json.loads(text)["time"]).timestamp()
        except (ValueError, KeyError, TypeError):
            return None
    found = PLAIN.match(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))


class LogFile:
    """One log by its name, and what its rotation left of it: NAME.1, NAME.2.gz and so on."""

    def __init__(self, path: Path, *, since_start: bool = False) -> None:
        self.name = path.name.removesuffix(".log")
        self._path = path
        self._time = 0.0  # of the newest line that `new` has returned
        self._open: list[_Reader] = []
        try:
            self._open.append(_Reader(path, at_end=not since_start))
        except FileNotFoundError:
            return

    def last(self, count: int) -> list[Line]:
        """The newest lines, oldest first, of this file and as many of its rotated ones as are needed."""
        found: deque[Line] = deque()
        for path in self._newest_first():
            lines = list(self._timed(_tail(path, count - len(found), self._end_of(path))))
            # What stands before the first line with a time belongs to a line that is not shown.
            first = next((line.time for line in lines if line.time), 0.0)
            found.extendleft(line._replace(time=line.time or first) for line in reversed(lines))
            if len(found) >= count:
                break
        return list(found)

    def since(self, start: float) -> Iterator[Line]:
        """Each line written at a time or later, oldest first."""
        paths = []
        for path in self._newest_first():
            paths.append(path)
            if any(0 < line.time < start for line in self._timed(_first(path))):
                break
        for path in reversed(paths):
            yield from (line for line in self._timed(_all(path, self._end_of(path))) if line.time >= start)

    def new(self) -> list[Line]:
        """What was written since the last call, or since this object was made."""
        texts = [text for reader in self._open for text in reader.read()]
        if not self._open or self._open[-1].is_renamed():
            self._follow()
            texts += [text for reader in self._open for text in reader.read()]
        self._open = [reader for reader in self._open[:-1] if not reader.is_over()] + self._open[-1:]
        lines = list(self._timed(texts, self._time))
        self._time = lines[-1].time if lines else self._time
        return lines

    def close(self) -> None:
        """Close what is open."""
        for reader in self._open:
            reader.file.close()

    def _follow(self) -> None:
        """Open what has the name now, and what had it since the last look, for a log may be renamed more than once."""
        between = []
        for path in self._newest_first():
            try:
                reader = _Reader(path) if path.suffix != ".gz" else None
            except FileNotFoundError:
                continue
            if reader is None or (self._open and reader.inode == self._open[-1].inode):
                break
            between.append(reader)
            if not self._open:
                break
        for reader in self._open:
            reader.retire()
        self._open += reversed(between)

    def _newest_first(self) -> Iterator[Path]:
        yield self._path
        for number in range(1, 1000):
            for path in (Path(f"{self._path}.{number}"), Path(f"{self._path}.{number}.gz")):
                if path.exists():
                    yield path
                    break
            else:
                return

    def _end_of(self, path: Path) -> int | None:
        """Where `new` goes on in a file, so that no line is given twice; None when it does not."""
        return self._open[0].start if path == self._path and self._open and not self._open[0].is_renamed() else None

    def _timed(self, texts: Iterable[str], last: float = 0.0) -> Iterator[Line]:
        """Lines with times that never go back: one without a time belongs to the line before."""
        for text in texts:
            last = max(last, time_of(text) or 0.0)
            yield Line(last, self.name, text)


class _Reader:
    """An open file, read on from where it was."""

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        self.path = path
        self.file: IO[bytes] = path.open("rb")
        self.inode = os.fstat(self.file.fileno()).st_ino
        self.start = _end_of_lines(self.file) if at_end else 0
        self.file.seek(self.start)
        self._rest = b""
        self._retired = 0.0

    def read(self) -> list[str]:
        if os.fstat(self.file.fileno()).st_size < self.file.tell():
            self.file.seek(0)  # somebody emptied it in place
        *lines, self._rest = (self._rest + self.file.read()).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def is_renamed(self) -> bool:
        try:
            return self.path.stat().st_ino != self.inode
        except OSError:
            return False  # renamed, and nothing new yet

    def retire(self) -> None:
        self._retired = self._retired or time.monotonic()

    def is_over(self) -> bool:
        over = bool(self._retired) and time.monotonic() - self._retired > LATE_SECONDS
        if over:
            self.file.close()
        return over


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _end_of_lines(file: IO[bytes]) -> int:
    """Where the last whole line of a file ends."""
    end = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, end - BLOCK))
    return start + file.read(end - start).rfind(b"\n") + 1


def _all(path: Path, end: int | None = None) -> Iterator[str]:
    try:
        with _open(path) as file:
            for line in file:
                if end is not None and file.tell() > end:
                    return
                yield line.rstrip(b"\n").decode("utf-8", "replace")
    except FileNotFoundError:  # renamed since it was listed
        return


def _first(path: Path) -> Iterator[str]:
    """The lines of a file until one says when it was written."""
    for text in _all(path):
        yield text
        if time_of(text) is not None:
            return


def _tail(path: Path, count: int, end: int | None = None) -> list[str]:
    """The last lines of a file, or of what stands before an offset in it."""
    if path.suffix == ".gz":
        return list(deque(_all(path), count))
    try:
        with path.open("rb") as file:
            start, data = file.seek(0, os.SEEK_END) if end is None else end, b""
            while start > 0 and data.count(b"\n") <= count:
                size = min(BLOCK, start)
                start -= size
                file.seek(start)
                data = file.read(size) + data
    except FileNotFoundError:  # renamed since it was listed
        return []
    lines = data.decode("utf-8", "replace").split("\n")
    return lines[:-1][-count:] if count else []
