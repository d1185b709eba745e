"""Clients of a fleet that read and write all the time, and the proof that no request was lost or done twice."""

from __future__ import annotations

import time
from types import TracebackType

from tests.hosts import breaking
from tests.hosts.deployed import Deployment
from tests.hosts.report import REPORT
from tests.load import Call, Load, Tally
from tests.stack.test_restarts import site_posts

CLIENTS = 32
PAUSE = 0.8  # seconds between two requests of a client: within the rate that one address is allowed


class Traffic:
    """32 clients, one request in four a POST, each of which must be in the database exactly once.

    with Traffic(deployment, "release.yml"):
        ...

    Leaving the block asserts that no request failed.

    Args:
        deployment: whose balancer is asked.
        what: what happens meanwhile, for the report.
        keep_alive: whether a client uses its connection again.
        pause: seconds between two requests of a client.
        own: the one way in which requests may fail, such as "GET answered 500" of a release that does that.
    """

    def __init__(
        self, deployment: Deployment, what: str, *, keep_alive: bool = True, pause: float = PAUSE, own: str = ""
    ) -> None:
        self._deployment, self._what = deployment, f"{what}{'' if keep_alive else ', no keep-alive'}"
        self._own = own
        self._prefix = f"traffic-{time.time_ns()}"
        self._token = deployment.admin_token()
        posts, self._asked = site_posts(self._token, self._prefix)
        reads = [
            Call("GET", "/ping"),
            Call("GET", "/readyz"),
            Call("GET", "/api/v1/sites?per_page=5", headers={"Authorization": f"Bearer {self._token}"}),
        ]

        def make(client: int, number: int) -> Call:
            turn = (client + number) % 4
            return reads[turn] if turn < len(reads) else posts(client, number)

        self._load = Load(deployment.url, make, clients=CLIENTS, keep_alive=keep_alive, pause=pause, limit=900)

    @property
    def tally(self) -> Tally:
        """What the clients saw so far."""
        return self._load.tally

    def __enter__(self) -> Traffic:
        self._load.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._load.__exit__()
        REPORT.loads.append((self._what, str(self.tally)))
        if kind is None:
            assert set(self.tally.failures) <= {self._own}, f"{self._what}: {self.tally}"
            assert self.tally.answered > CLIENTS
            found = breaking.site_names(self._deployment, self._token, self._prefix)
            assert sorted(found) == sorted(self._asked), "each POST is in the database exactly once"
