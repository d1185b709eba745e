"""Long work in short turns: who has much to do lets the others of the process go on in between."""

from __future__ import annotations

import time

TURN = 0.004  # seconds of work
PAUSE = 0.0005  # seconds; sleeping for none would only let those run who wait for nothing


class Turns:
    """How long this greenlet has worked since it last let others run."""

    def __init__(self) -> None:
        self.since = time.perf_counter()

    def rest(self) -> None:
        """Let the others run, if it is their turn; under gevent this sleeps in the hub."""
        if time.perf_counter() - self.since >= TURN:
            time.sleep(PAUSE)
            self.since = time.perf_counter()
