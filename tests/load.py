"""A bounded load of real HTTP clients that counts each request that failed."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Call:
    """One request; `expect` is the status that counts as an answer."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    expect: int = 200


@dataclass
class Tally:
    """What the clients saw: answered and failed requests, why they failed, seconds of each answer."""

    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    first_good_after: float | None = None

    @property
    def failed(self) -> int:
        """Requests that got another answer than expected, or none."""
        return self.failures.total()

    def __str__(self) -> str:
        return f"{self.failed} of {self.answered + self.failed} failed {dict(self.failures) or ''}".rstrip()


class Load:
    """Clients that keep asking until the block ends, or `limit` seconds have gone.

    with Load("http://127.0.0.1:8080", [Call("GET", "/ping")]) as load:
        ...
    assert load.tally.failed == 0

    Args:
        url: scheme, host and port; loopback or a test host of this machine.
        calls: asked in turn by each client; or a function of (client, number) that makes each call.
        clients: how many ask at once, each over its own connection.
        keep_alive: whether a client uses its connection again.
        limit: seconds after which clients stop by themselves.
        pause: seconds a client waits between two requests.
    """

    def __init__(
        self,
        url: str,
        calls: Sequence[Call] | Callable[[int, int], Call],
        *,
        clients: int = 8,
        keep_alive: bool = True,
        limit: float = 600,
        pause: float = 0.0,
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.hostname.startswith(("127.", "198.18.0.")), "only loopback and this machine's test hosts"
        self._host, self._port = parts.hostname, parts.port or 80
        self._calls = calls if callable(calls) else lambda client, number: calls[(client + number) % len(calls)]
        self._keep_alive = keep_alive
        self._pause = pause
        self._limit = limit
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(number,), daemon=True) for number in range(clients)
        ]
        self.tally = Tally()

    def __enter__(self) -> Load:
        self._end = time.monotonic() + self._limit
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _client(self, client: int) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        number = 0
        while not self._stop.is_set() and time.monotonic() < self._end:
            call = self._calls(client, number)
            number += 1
            failure = self._ask(connection, call)
            if failure or not self._keep_alive:
                connection.close()
            if failure:
                self._stop.wait(0.05)
            elif self._pause:
                self._stop.wait(self._pause)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, call: Call) -> str:
        begin = time.monotonic()
        try:
            body = None if call.body is None else json.dumps(call.body)
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(call.method, call.path, body, {**headers, **call.headers})
            answer = connection.getresponse()
            answer.read()
            failure = "" if answer.status == call.expect else f"{call.method} answered {answer.status}"
        except (OSError, http.client.HTTPException) as error:
            failure = f"{call.method} {type(error).__name__}"
        with self._lock:
            if failure:
                self.tally.failures[failure] += 1
            else:
                self.tally.answered += 1
                self.tally.seconds.append(time.monotonic() - begin)
        return failure
