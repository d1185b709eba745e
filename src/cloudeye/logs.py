"""JSON lines on standard error: one object a line, for every process of the stack.

What a line says of a person is the number of the account: no address, token or password is logged.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; whatever was passed as ``extra`` becomes a key.

    Args:
        process: what the lines call this process.
        context: returns what each line is to say beside that.
    """

    def __init__(self, process: str, context: Callable[[], dict[str, object]] = dict) -> None:
        super().__init__()
        self.process, self.context = process, context

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self.process,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(self.context())
        line.update((key, value) for key, value in vars(record).items() if key not in _PLAIN)
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def start(level: str, process: str, context: Callable[[], dict[str, object]] = dict) -> None:
    """Send every record of this process to standard error as JSON.

    Args:
        level: debug, info, warning or error.
        process: what the lines call this process (api, sync, flask).
        context: returns what each line is to say beside that.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process, context))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # a line for each of its parts
