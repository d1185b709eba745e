"""JSON lines: one object a line, for every process of the stack.

What a line says of a person is the number of the account. No address, token or password is logged, and
``masking.py`` takes out what would be all the same.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from cloudeye.masking import masked

# Where the application leaves, in a request's WSGI environment, what the server cannot know of it.
DETAILS = "log.details"

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def no_context() -> dict[str, object]:
    """Return nothing to say beside what was logged."""
    return {}


def head_of(time: float, level: str, process: str, logger: str) -> dict[str, object]:
    """Return what every line begins with.

    Args:
        time: seconds since 1970.
        level: debug, info, warning, error or critical.
        process: what the lines call this process.
        logger: which part of it says so.
    """
    thousandths = int(time * 1000)
    moment = f"{_second(thousandths // 1000)}.{thousandths % 1000:03d}+00:00"
    return {"time": moment, "level": level, "process": process, "pid": os.getpid(), "logger": logger}


@lru_cache(2)
def _second(number: int) -> str:
    return datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; whatever was passed as ``extra`` becomes a key.

    Args:
        process: what the lines call this process.
        context: returns what each line is to say beside that.
    """

    def __init__(self, process: str, context: Callable[[], dict[str, object]] = no_context) -> None:
        super().__init__()
        self.process, self.context = process, context

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end; it is ASCII, so that no character of a client's ends it early."""
        line: dict[str, object] = {"message": record.getMessage(), **self.context()}
        line.update((key, value) for key, value in vars(record).items() if key not in _PLAIN)
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        head = head_of(record.created, record.levelname.lower(), self.process, record.name)
        return json.dumps(head | {key: masked(value, key) for key, value in line.items()})


class LogFile(logging.Handler):
    """Appends to a file that other processes append to as well.

    Lines are written by one write(2) to a file opened with O_APPEND, so that those of several processes stand whole
    beside each other. Before each write the name is looked at: when it means another file than the one that is open, or
    none, it is opened anew. So whoever rotates the log renames it and has nobody to tell.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = os.fspath(path)
        self._writing = threading.Lock()
        self._descriptor = -1
        self._identity = (-1, -1)
        self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record."""
        self.append(self.format(record).encode() + b"\n")

    def append(self, line: bytes) -> None:
        """Write a line, or several, with their ends; a disk that is full costs them, not the request they are about."""
        with self._writing:
            try:
                self._open_anew_if_renamed()
                os.write(self._descriptor, line)
                if not os.fstat(self._descriptor).st_nlink:
                    # Renamed, packed and deleted since it was looked at: a process may stand still for that long.
                    self._open()
                    os.write(self._descriptor, line)
            except Exception:
                self._say_that_it_failed()

    def _say_that_it_failed(self) -> None:
        problem = sys.exc_info()[1]
        logging.getLogger(__name__).warning(
            "a line could not be written", extra={"path": self.path, "error": repr(problem)}
        )

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor, self._identity = -1, (-1, -1)
        super().close()

    def _open_anew_if_renamed(self) -> None:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            self._open()
            return
        if (found.st_dev, found.st_ino) != self._identity:
            self._open()

    def _open(self) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        before, self._descriptor = self._descriptor, descriptor
        found = os.fstat(descriptor)
        self._identity = (found.st_dev, found.st_ino)
        if before >= 0:
            os.close(before)


def start(level: str, process: str, context: Callable[[], dict[str, object]] = no_context) -> None:
    """Send every record of this process to standard error as JSON; warnings and uncaught exceptions too.

    Args:
        level: debug, info, warning or error.
        process: what the lines call this process (api-8001-0, sync, flask).
        context: returns what each line is to say beside that.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process, context))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # a line for each of its parts
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    if "gevent" in sys.modules:
        _catch_greenlets()


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("cloudeye").critical("uncaught exception", exc_info=(kind, error, trace))


def _catch_greenlets() -> None:
    """Log what ends a greenlet; gevent's hub would write it to standard error as text."""
    import gevent

    def print_exception(_context: Any, kind: Any, error: Any, trace: Any) -> None:
        logging.getLogger("cloudeye").error("a greenlet failed", exc_info=(kind, error, trace))

    gevent.get_hub().print_exception = print_exception
