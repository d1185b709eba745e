"""Clients that keep asking while something is broken, and remember when answers were bad."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

CLIENTS = 4
TIMEOUT = 10.0  # seconds until a client gives a request up
LIMIT = 400.0  # seconds until clients stop by themselves


class Probe:
    """Quick, polite clients, each request over a connection of its own, that note when each answer came.

    with Probe(url, "/readyz") as probe:
        probe.mark()
        ...                           # break something
        probe.wait_until_good(60)
    print(probe.recovered_after)

    Args:
        url: scheme, host and port of a test host of this machine.
        path: what is asked.
        pause: seconds a client waits between two requests.
    """

    def __init__(self, url: str, path: str, pause: float = 0.05) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.hostname.startswith("198.18.0."), "only this machine's test hosts"
        self._host, self._port, self._path, self._pause = parts.hostname, parts.port or 80, path, pause
        self._notes = threading.Lock()
        self._answers: list[tuple[float, str]] = []
        self._marked = time.monotonic()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(CLIENTS)]

    def __enter__(self) -> Probe:
        self._end = time.monotonic() + LIMIT
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT)

    def _client(self) -> None:
        while not self._stop.wait(self._pause) and time.monotonic() < self._end:
            failure = self._ask()
            with self._notes:
                self._answers.append((time.monotonic(), failure))

    def _ask(self) -> str:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT)
        try:
            connection.request("GET", self._path)
            answer = connection.getresponse()
            answer.read()
            return "" if answer.status == 200 else str(answer.status)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()

    def mark(self) -> None:
        """Now something is broken; what was before does not count."""
        self._marked = time.monotonic()

    @property
    def failures(self) -> Counter[str]:
        """Why requests failed since the mark."""
        with self._notes:
            return Counter(failure for moment, failure in self._answers if failure and moment >= self._marked)

    @property
    def answered(self) -> int:
        """Requests answered well since the mark."""
        with self._notes:
            return sum(1 for moment, failure in self._answers if not failure and moment >= self._marked)

    @property
    def recovered_after(self) -> float:
        """Seconds from the mark to the first good answer after the last bad one; 0 when none was bad."""
        with self._notes:
            since = [(moment, failure) for moment, failure in self._answers if moment >= self._marked]
        bad = [moment for moment, failure in since if failure]
        if not bad:
            return 0.0
        good = [moment for moment, failure in since if not failure and moment > bad[-1]]
        return good[0] - self._marked if good else float("inf")

    def wait_until_good(self, seconds: float, in_a_row: int = 40) -> None:
        """Wait until so many answers in a row were good; an assertion fails when that takes longer than allowed."""
        deadline = self._marked + seconds
        while True:
            with self._notes:
                last = [failure for moment, failure in self._answers if moment >= self._marked][-in_a_row:]
            if len(last) == in_a_row and not any(last):
                return
            assert time.monotonic() < deadline, f"not good again after {seconds:.0f} s: {self.failures}"
            time.sleep(0.1)
