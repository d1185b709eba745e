"""Long work in short turns: who has much to do lets the others of the process go on in between."""

from __future__ import annotations

import time
from contextvars import ContextVar

TURN = 0.004  # seconds of work
PAUSE = 0.0005  # seconds; sleeping for none would only let those run who wait for nothing

_page: ContextVar[Turns | None] = ContextVar("page", default=None)


class Turns:
    """How long this greenlet has worked since it last let others run."""

    def __init__(self) -> None:
        self.since = time.perf_counter()

    @classmethod
    def of_page(cls) -> Turns:
        """Those of the page that is being made, else new ones.

        What a page is made of rests by one clock: with one each, several would come to the sum of their turns.
        """
        return _page.get() or cls()

    def rest(self) -> None:
        """Let the others run, if it is their turn; under gevent this sleeps in the hub."""
        if time.perf_counter() - self.since >= TURN:
            time.sleep(PAUSE)
            self.since = time.perf_counter()


def begin_page() -> None:
    """Count from now for all that the page at hand is made of."""
    _page.set(Turns())


def end_page(error: BaseException | None = None) -> None:
    """The page is made, or failed; the greenlet goes on to other requests of its connection."""
    _page.set(None)
