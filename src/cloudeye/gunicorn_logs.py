"""The logger that gunicorn.conf.py gives gunicorn: its own messages and its access log as JSON lines."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped]

from cloudeye.logs import DETAILS, JsonFormatter, LogFile
from cloudeye.masking import mask_path


class Logger(glogging.Logger):  # type: ignore[misc]
    """Messages to standard error, one line for each request to the access log: a file, or standard output for ``-``.

    The access log is written when the answer has been sent, so that its duration is that of the whole request.
    """

    def setup(self, cfg: Any) -> None:
        """Take up a configuration."""
        self.cfg = cfg
        self.loglevel = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        formatter = JsonFormatter(os.environ.get("APP_INSTANCE", "api"))
        self.error_log.setLevel(self.loglevel)
        self.error_log.handlers[:] = [logging.StreamHandler(sys.stderr)]
        self.access_log.setLevel(logging.INFO)
        for handler in self.access_log.handlers:
            handler.close()
        self.access_log.handlers[:] = []
        if cfg.accesslog:
            self.access_log.addHandler(
                logging.StreamHandler(sys.stdout) if cfg.accesslog == "-" else LogFile(cfg.accesslog)
            )
        for handler in self.error_log.handlers + self.access_log.handlers:
            handler.setFormatter(formatter)

    def access(self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: timedelta) -> None:
        """Write the line of one request: its path without the query, which may hold anything."""
        if not self.cfg.accesslog:
            return
        path = str(environ.get("PATH_INFO", "")).encode("latin-1", "replace").decode("utf-8", "replace")
        self.access_log.info(
            "request",
            extra={
                "method": environ.get("REQUEST_METHOD"),
                "path": mask_path(path),
                "route": None,
                "status": int(str(resp.status).split(None, 1)[0]),
                "duration_ms": round(request_time.total_seconds() * 1000, 2),
                "bytes": resp.sent,
                "address": environ.get("REMOTE_ADDR"),
                "request_id": None,
                "user_id": None,
                **environ.get(DETAILS, {}),
            },
        )

    def reopen_files(self) -> None:
        """Do nothing on USR1: a file whose name was given to another is opened anew by its next line."""
