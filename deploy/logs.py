"""The logs of a stack as one stream in the order of time: what `stack logs` shows.

A log is a file in paths.log, one of nginx's, or what a process says to systemd's journal.
"""

from __future__ import annotations

import errno
import heapq
import json
import os
import re
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from deploy.logfiles import Line, LogFile
from deploy.stack import StackError

POLL = 0.25  # seconds between two looks at what is followed
AGES = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Log(Protocol):
    """What lines are read from."""

    def last(self, count: int) -> list[Line]:
        """The newest lines, oldest first."""

    def since(self, start: float) -> Iterator[Line]:
        """Each line written at a time or later, oldest first."""

    def new(self) -> list[Line]:
        """What was written since the last call."""

    def close(self) -> None:
        """Let go of what is open."""


class Journal:
    """What the stack's processes say to systemd's journal; journalctl(1) reads it."""

    def __init__(self, unit: str, names: Sequence[str]) -> None:
        self._line = ["journalctl", "--quiet", "--output=json", f"--unit={unit}"]
        self._line += [f"--identifier={name}" for name in names]
        self._cursor = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._started = time.time()

    def last(self, count: int) -> list[Line]:
        """The newest lines, oldest first."""
        return list(self._read(f"--lines={count}"))

    def since(self, start: float) -> Iterator[Line]:
        """Each line written at a time or later, oldest first."""
        return self._read(f"--since=@{start:.6f}")

    def new(self) -> list[Line]:
        """What was said since the last call."""
        if self._process is None:
            start = f"--after-cursor={self._cursor}" if self._cursor else f"--since=@{self._started:.6f}"
            # --lines=all: with --follow it is ten otherwise
            line = [*self._line, "--follow", "--lines=all", start]
            self._process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            assert self._process.stdout is not None  # noqa: S101 - narrows the type
            os.set_blocking(self._process.stdout.fileno(), False)
        assert self._process.stdout is not None  # noqa: S101 - narrows the type
        *texts, self._rest = (self._rest + (self._process.stdout.read() or b"")).split(b"\n")
        return [parsed for text in texts if (parsed := self._parse(text))]

    def close(self) -> None:
        """End the journalctl that follows."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _read(self, *options: str) -> Iterator[Line]:
        with subprocess.Popen([*self._line, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None  # noqa: S101 - narrows the type
            yield from (line for text in process.stdout if (line := self._parse(text)))

    def _parse(self, text: bytes) -> Line | None:
        try:
            entry = json.loads(text)
            message = entry["MESSAGE"]
            said = bytes(message).decode("utf-8", "replace") if isinstance(message, list) else str(message or "")
            self._cursor = entry["__CURSOR"]
            name = str(entry.get("SYSLOG_IDENTIFIER", "journal"))
            return Line(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, name, said)
        except (ValueError, KeyError, TypeError):
            return None


class Logs:
    """The logs of a stack that somebody wants to see.

    Args:
        stack: where they are.
        names: processes (`api-8001-0`), groups (`api-8001`) or logs (`api-8001.access`, `supervisord`); empty for all.
        nginx: nginx's logs of the site as well.

    Raises:
        StackError: for a name that nothing has, with those that there are.
        PermissionError: the caller may not read them.
    """

    def __init__(self, stack: Mapping[str, Any], names: Sequence[str], *, nginx: bool) -> None:
        self._stack = stack
        self._names = names
        folder = Path(stack["paths"]["log"])
        if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "may not be read", str(folder))
        self._journal = stack["log"]["rotated_by"] == "journal"
        self._nginx = nginx
        self._files: dict[Path, LogFile] = {path: LogFile(path) for path in self._paths()}
        self._known = self._known_names()
        unknown = [name for name in names if not any(covers(name, known) for known in self._known)]
        if unknown:
            there = ", ".join(sorted(self._known)) or "none"
            raise StackError([f"no log of {name!r} here; there are: {there}" for name in unknown])
        self._logs: list[Log] = [log for log in self._files.values() if self._wanted(log.name)]
        if self._journal:
            groups = {process["name"] for process in stack["processes"] if names and self._wanted(process["name"])}
            self._logs.append(Journal(stack["names"]["unit"], sorted(groups)))

    def shown(self, *, lines: int | None, since: float | None) -> Iterator[Line]:
        """The lines there are, in the order of time.

        Args:
            lines: only the newest so many of all.
            since: only those written at this time or later.
        """
        if since is not None:
            merged = heapq.merge(*(log.since(since) for log in self._logs), key=lambda line: line.time)
            return iter(deque(merged, lines)) if lines is not None else merged
        count = lines or 0
        merged = heapq.merge(*(log.last(count) for log in self._logs), key=lambda line: line.time)
        return iter(deque(merged, count))

    def followed(self) -> Iterator[Line]:
        """What is written from now on, for ever; what one look finds comes in the order of time."""
        while True:
            for path in self._paths() if not self._names or self._nginx else []:
                if path not in self._files:
                    self._files[path] = LogFile(path, since_start=True)
                    self._logs.append(self._files[path])
            yield from sorted((line for log in self._logs for line in log.new()), key=lambda line: line.time)
            time.sleep(POLL)

    def width(self) -> int:
        """How long the longest name of them is."""
        return max((len(name) for name in self._known if self._wanted(name)), default=0)

    def close(self) -> None:
        """Let go of what is open."""
        for log in self._logs:
            log.close()

    def _paths(self) -> list[Path]:
        name = self._stack["stack"]["name"]
        site = {Path(self._stack["paths"]["nginx_log"], f"{name}.{kind}.log") for kind in ("access", "error")}
        found = [] if self._journal else sorted(set(Path(self._stack["paths"]["log"]).glob("*.log")) - site)
        return found + (sorted(path for path in site if path.exists()) if self._nginx else [])

    def _known_names(self) -> set[str]:
        known = {log.name for log in self._files.values()}
        return known | {process["name"] for process in self._stack["processes"]} if self._journal else known

    def _wanted(self, log: str) -> bool:
        of_nginx = log.startswith(f"{self._stack['stack']['name']}.")
        return of_nginx or not self._names or any(covers(name, log) for name in self._names)


def covers(name: str, log: str) -> bool:
    """Whether a process's, a group's or a log's name means a log: api-8001 means api-8001-0 and api-8001.access."""
    return log == name or re.fullmatch(rf"{re.escape(name)}(-\d+|\.access)", log) is not None


def moment(text: str, now: float) -> float:
    """What `--since` says, in seconds since 1970.

    Args:
        text: an age (90s, 10m, 2h, 1d), a time of today (14:30), or a date and time (2026-11-21T16:46); local time
            unless it says its own.
        now: to count from.

    Raises:
        StackError: it is none of these.
    """
    age = re.fullmatch(r"(\d+)([smhd])", text)
    if age:
        return now - timedelta(**{AGES[age[2]]: int(age[1])}).total_seconds()
    try:
        if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", text):
            today = datetime.fromtimestamp(now, UTC).astimezone()
            return datetime.fromisoformat(f"{today:%Y-%m-%d}T{text:0>5}").timestamp()
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise StackError(
            [f"--since {text!r}: an age such as 10m, 2h or 1d, a time such as 14:30, or 2026-11-21T16:46"]
        ) from None


def shown(line: Line, width: int, *, as_json: bool) -> str:
    """One line as it is printed: behind the name of its log, or for programs as one JSON object."""
    if not as_json:
        return f"{line.log:<{width}} | {line.text}"
    if line.text.startswith("{") and line.text.endswith("}"):
        return line.text
    told = datetime.fromtimestamp(line.time, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": told, "log": line.log, "message": line.text}, ensure_ascii=False)
