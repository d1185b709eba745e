"""Run a command of `stack`, and end it by SIGKILL at one of its boundaries.

    python -P tests/unit/deploy/killed.py BOUNDARY FILE COMMAND...

A boundary is just before and just after each line of the journal, each rename that the engine makes, and each call that
changes something in supervisord or nginx. FILE gets the name of each that was reached; the process kills itself at
BOUNDARY, a name or the number of one ("": at none). The engine, of the tree that PYTHONPATH names, knows nothing of it:
its functions are wrapped from outside.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGING = ("restart", "renew", "replace", "stop", "start", "add", "remove", "reload")


class Boundaries:
    """Counts the boundaries, writes them down, and ends the process at one."""

    def __init__(self, last: str, record: Path) -> None:
        self._last = last
        self._record = record
        self._count = 0
        record.write_text("", "utf-8")

    def reach(self, name: str) -> None:
        """Be at a boundary."""
        self._count += 1
        with self._record.open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
        if self._last in (name, str(self._count)):
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: Any, name: str, describe: Callable[..., str]) -> None:
        """Put a boundary before and after each call of a function; one without words is none."""
        function = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            words = describe(*arguments, **named)
            if words:
                self.reach(f"before {words}")
            result = function(*arguments, **named)
            if words:
                self.reach(f"after {words}")
            return result

        setattr(owner, name, wrapped)


def install(boundaries: Boundaries) -> None:
    """Wrap what the engine does."""
    from deploy import durable
    from deploy.journal import Journal
    from deploy.nginx import Nginx

    def line(_journal: Any, event: str, **fields: Any) -> str:
        return f"the line {event} {fields.get('name') or fields.get('what') or ''}".rstrip()

    def call(_proxy: Any, method: str, arguments: Any) -> str:
        name = method.rpartition(".")[2]
        return f"{method} {' '.join(map(str, arguments))}".rstrip() if name.startswith(CHANGING) else ""

    boundaries.wrap(Journal, "note", line)
    boundaries.wrap(Journal, "close", lambda _journal: "the journal goes")
    boundaries.wrap(durable, "rename", lambda _source, target: f"the rename to {target.name}")
    boundaries.wrap(xmlrpc.client.ServerProxy, "_ServerProxy__request", call)
    boundaries.wrap(Nginx, "load", lambda _nginx: "nginx is loaded")


if __name__ == "__main__":
    boundary, record, *command = sys.argv[1:]
    install(Boundaries(boundary, Path(record)))
    sys.argv = ["stack", *command]
    runpy.run_module("deploy.cli", run_name="__main__")
