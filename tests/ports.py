"""Loopback ports for servers that tests start."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

# Below those that the kernel gives to connections (ip_local_port_range, ip(7)): such a one may be taken again by some
# connection or other before the server listens.
FROM, UNTIL = 10_000, 20_000


def free_ports(count: int) -> list[int]:
    """Return so many ports on which nobody listens, each another one."""
    with ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", random.randrange(FROM, UNTIL)))
            except OSError:
                continue
            found.append(probe.getsockname()[1])
        return found


def free_port() -> int:
    """Return a port on which nobody listens."""
    return free_ports(1)[0]
