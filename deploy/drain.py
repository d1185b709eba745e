"""Take a port out of nginx before its group stops, and wait until what it has in hand is done.

nginx is told by its own word for it, `down`, in the upstream of the site that is in place. Whoever is connected to the
port then is finishing a request: nginx's old workers let go of it, the new ones never ask it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.site import Site
from deploy.steps import Run

ESTABLISHED = "01"  # proc(5), /proc/net/tcp
POLL = 0.05  # seconds between two looks


class Drain:
    """The ports of one stack, taken out of nginx one at a time.

    Args:
        run: where it is said and written down.
        stack: whose.
    """

    def __init__(self, run: Run, stack: Mapping[str, Any]) -> None:
        self._run = run
        self._stack = stack
        self._site = Site(stack)
        self._whole: str | None = None

    def take_out(self, port: int) -> bool:
        """Have nginx ask the other ports only, and wait until this one has nothing to do.

        Returns:
            Whether there are others. With a single port requests wait in its socket, which stays open.
        """
        whole = self._whole or self._site.text() or ""
        asked = served(whole)
        if port in asked and len(asked) == 1:
            self._run.say(f"port {port} is the only one: requests wait in its socket meanwhile")
            return False
        if port in asked:
            if self._whole is None:
                self._run.will_change("site", "nginx's site", text=whole)
                self._whole = whole
            self._site.install(without(whole, port))
        self._wait(port)
        return True

    def put_back(self) -> None:
        """Have nginx ask every port again."""
        if self._whole is not None:
            self._site.install(self._whole)
            self._whole = None

    def _wait(self, port: int) -> None:
        """Requests may take as long as a stopping instance would let them."""
        started, patience = time.monotonic(), self._stack["timeouts"]["graceful"]
        while count := connections(port):
            if time.monotonic() - started > patience:
                self._run.say(f"port {port}: {count} connections are left after {patience} s (timeouts.graceful)")
                return
            time.sleep(POLL)
        self._run.say(f"port {port}: drained in {time.monotonic() - started:.1f} s")


def served(site: str) -> list[int]:
    """The ports that a site's upstream asks."""
    return [int(port) for port, rest in re.findall(r"^\s*server \S+:(\d+)([^;]*);", site, re.M) if "down" not in rest]


def without(site: str, port: int) -> str:
    """A site whose upstream does not ask a port."""
    return re.sub(rf"^(\s*server \S+:{port}\b[^;]*);", r"\1 down;", site, flags=re.M)


def connections(port: int) -> int:
    """How many connections there are to a port of this host, those in its backlog too."""
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        fields = (line.split() for line in lines)
        count += sum(row[3] == ESTABLISHED and int(row[1].rpartition(":")[2], 16) == port for row in fields)
    return count
