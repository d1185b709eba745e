"""The application in a gunicorn worker that watches how long each greenlet keeps the others waiting.

Whoever asks for HUB gets the longest time between two switches of greenlets since it was asked for last, in
milliseconds, with the processor time that this thread used in it. What gevent's own loop spends waiting for events is
nobody's fault and does not count; what its callbacks compute does. Nor does the time that the thread waited for a
processor, which the kernel tells (/proc/thread-self/schedstat, its second number): other processes had it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import gevent
import greenlet
from gevent import monkey

from cloudeye.wsgi import app as application

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HUB = "/longest-hold"


def _compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


# Ways to hold the hub, to be found out: one computes, the other waits in the kernel.
HOLDS = {f"{HUB}/compute": _compute, f"{HUB}/sleep": monkey.get_original("time", "sleep")}


class Watch:
    """The longest time that one greenlet ran without giving way."""

    def __init__(self) -> None:
        self.hub = gevent.get_hub()
        self.statistics = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self.since, self.cpu_since = self._now(), time.thread_time()
        self.longest = {"wall": 0.0, "cpu": 0.0}

    def _now(self) -> float:
        """Return a time in seconds that stands still while the thread waits for a processor."""
        waited = int(os.pread(self.statistics, 64, 0).split()[1])
        return time.perf_counter() - waited / 1e9

    def __call__(self, event: str, arguments: tuple[Any, Any]) -> None:
        """Hear of a switch (greenlet.settrace)."""
        now, cpu_now = self._now(), time.thread_time()
        origin, _ = arguments
        cpu = cpu_now - self.cpu_since
        wall = cpu if origin is self.hub else now - self.since
        if wall > self.longest["wall"]:
            self.longest = {"wall": wall, "cpu": cpu}
        self.since, self.cpu_since = now, cpu_now


_watch: Watch | None = None


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serve a request."""
    global _watch
    if _watch is None:  # in the worker's thread, which is the one that serves
        _watch = Watch()
        greenlet.settrace(_watch)
    if environ["PATH_INFO"] in HOLDS:
        HOLDS[environ["PATH_INFO"]](0.05)
    elif environ["PATH_INFO"] != HUB:
        return application(environ, start_response)
    else:
        return [_tell(start_response)]
    start_response("204 No Content", [])
    return []


def _tell(start_response: StartResponse) -> bytes:
    assert _watch is not None
    _watch("", (greenlet.getcurrent(), None))  # the client may have asked before its last request's greenlet gave way
    found = {name: 1000 * value for name, value in _watch.longest.items()}
    _watch.longest = {"wall": 0.0, "cpu": 0.0}
    start_response("200 OK", [("Content-Type", "application/json")])
    return json.dumps(found).encode()
