"""The logger that gunicorn.conf.py gives gunicorn: its own messages and its access log as JSON lines."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import orjson
from gunicorn import glogging  # type: ignore[import-untyped]

from cloudeye.logs import DETAILS, JsonFormatter, LogFile, head_of
from cloudeye.masking import mask_path, masked


class Logger(glogging.Logger):  # type: ignore[misc]
    """Messages to standard error, one line for each request to the access log: a file, or standard output for ``-``.

    The access log is written when the answer has been sent, so that its duration is that of the whole request. Its
    lines do not go through ``logging``, which took a fifth of the time of a short request (docs/performance.md). A
    gevent worker gathers those of one turn of its loop, a few milliseconds, and writes them together.
    """

    _append: Callable[[bytes], object] | None = None  # to the access log; None: there is none
    _file: LogFile | None = None
    _soon: Callable[[Callable[[], object]], object] | None = None  # calls something in the loop's next turn

    def setup(self, cfg: Any) -> None:
        """Take up a configuration."""
        self.cfg = cfg
        self.loglevel = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        self._process = os.environ.get("APP_INSTANCE", "api")
        self._lines: list[bytes] = []
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter(self._process))
        self.error_log.setLevel(self.loglevel)
        self.error_log.handlers[:] = [handler]
        if self._file is not None:
            self._file.close()
        self._file = LogFile(cfg.accesslog) if cfg.accesslog not in (None, "-") else None
        if self._file is not None:
            self._append = self._file.append
        else:
            self._append = _print if cfg.accesslog else None

    def access(self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: timedelta) -> None:
        """Write the line of one request: its path without the query, which may hold anything."""
        if self._append is None:
            return
        path = str(environ.get("PATH_INFO", "")).encode("latin-1", "replace").decode("utf-8", "replace")
        details = environ.get(DETAILS, {})
        line = {
            **head_of(time.time(), "info", self._process, "gunicorn.access"),
            "message": "request",
            "method": masked(environ.get("REQUEST_METHOD")),  # none, where the request was no request
            "path": mask_path(path),
            "route": details.get("route"),
            "status": int(str(resp.status)[:3]),
            "duration_ms": round(request_time.total_seconds() * 1000, 2),
            "bytes": resp.sent,
            "address": environ.get("REMOTE_ADDR"),
            "request_id": masked(details.get("request_id")),
            "user_id": details.get("user_id"),
        }
        written = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        # In ASCII no character of a client's ends a line early, whatever reads it.
        self._lines.append(written if written.isascii() else json.dumps(line).encode() + b"\n")
        if self._soon is None:
            self.flush()
        elif len(self._lines) == 1:
            self._soon(self.flush)

    def gather(self, soon: Callable[[Callable[[], object]], object]) -> None:
        """Write the lines of one turn together from now on, by a call that ``soon`` makes at its end."""
        self._soon = soon

    def flush(self) -> None:
        """Write what was gathered."""
        lines, self._lines = self._lines, []
        if lines and self._append is not None:
            self._append(b"".join(lines))

    def reopen_files(self) -> None:
        """Do nothing on USR1: a file whose name was given to another is opened anew by its next line."""


def _print(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.flush()
