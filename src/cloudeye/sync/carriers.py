"""Who carries messages out of the outbox: how many at once, how they are handed over, and when they are tried again."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

from gevent.pool import Pool

from cloudeye.config import Config
from cloudeye.services.alerts import Place
from cloudeye.services.ask import Ask
from cloudeye.services.delivery import NotDelivered, Parcel
from cloudeye.services.mail import ACCEPT_TIMEOUT, Letter, Mailer
from cloudeye.services.probe import ProbeResult
from cloudeye.services.webhooks import TIMEOUT, Hook

OPEN_LIMIT = 60.0  # seconds to get a connection, greetings, TLS and login included
FIRST_BACK_OFF, LONGEST_BACK_OFF = timedelta(minutes=1), timedelta(hours=6)
JITTER = 0.2  # of the back-off, up or down: what failed together does not come back together
KEEP_TRYING = timedelta(days=3)


class Sends(Protocol):
    """Hands messages over."""

    def open(self) -> None:
        """Make sure of a connection."""

    def send(self, parcel: Parcel) -> None:
        """Hand a message over."""

    def close(self) -> None:
        """Let the connection go."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message of which this process holds the claim. What cannot be handed over any more says why."""

    id: int
    attempts: int
    parcel: Parcel
    owner_id: int | None = None  # of its target
    hopeless: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message: sent at a time, or what was wrong."""

    carrier: Carrier
    message: Claimed
    at: datetime
    error: NotDelivered | None


@dataclass(slots=True)
class Carrier:
    """Carries the messages of some channels.

    `connections` are open at once; one is given `batch` messages, and has OPEN_LIMIT and `limit` seconds for each.
    No more than `per_target`, `per_owner` and `per_host` messages are under way at once, from their claim to our mark:
    nobody who is slow, hostile, or told much takes all connections. With one a target, a process that is killed
    leaves at most one message to each that was accepted and has no mark.
    """

    channels: tuple[str, ...]
    make_sender: Callable[[], Sends]
    connections: int
    batch: int
    limit: float
    per_target: int
    per_owner: int | None = None
    per_host: int | None = None
    pool: Pool = field(init=False)
    looked: float | None = None  # when there was nothing more to be found
    targets: Counter[int] = field(default_factory=Counter)  # messages under way
    owners: Counter[int] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.pool = Pool(self.connections)

    @property
    def places(self) -> int:
        """How many messages may be begun now: one for each connection that is free, or the batch of one of them."""
        free: int = self.pool.free_count()
        return min(free, 1) * self.batch if self.batch > 1 else free

    def begin(self, message: Claimed) -> None:
        """Count a message as under way."""
        self._count(message, 1)

    def end(self, message: Claimed) -> None:
        """Count it no more: what waited for its place may begin."""
        self._count(message, -1)
        self.looked = None

    def _count(self, message: Claimed, one: int) -> None:
        parcel = message.parcel
        everybody: tuple[tuple[Counter[Any], Any], ...] = (
            (self.targets, parcel.target_id),
            (self.owners, message.owner_id),
            (self.hosts, origin(parcel.recipient)),
        )
        for counts, whose in everybody:
            counts[whose] += one
            if counts[whose] <= 0:
                del counts[whose]


def origin(url: str) -> str:
    """Return how a URL begins, up to its path: what a host is counted by. A mail address is its own."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else url


class Post:
    """What sending needs beside the loop's own: who carries, where links lead, and what is under way.

    Args:
        config: the mail server, and where people reach the site.
        ask: sends a webhook; `services.probe.probe` with the limits of `services.webhooks.limits_of`.
    """

    def __init__(self, config: Config, ask: Callable[[Ask], ProbeResult]) -> None:
        self.place = Place(config.public_url, config.secret_key)
        self.carriers = (
            Carrier(
                ("mail",), partial(Letters, partial(Mailer, config), self.place),
                connections=4, batch=20, limit=OPEN_LIMIT + ACCEPT_TIMEOUT + 60.0, per_target=1,
            ),
            Carrier(
                ("webhook", "slack"), partial(Hook, config.name, ask),
                connections=32, batch=1, limit=2 * TIMEOUT, per_target=1, per_owner=4, per_host=16,
            ),
        )  # fmt: skip
        self.claimed_until: dict[int, datetime] = {}  # of messages that are in a batch
        self.done: deque[Outcome] = deque()
        self.sent = 0
        self.stopping = False  # no further message is begun
        self.renewed = 0.0
        self.dispatched: float | None = None  # when there were no events to be told


class Letters:
    """Hands messages to the mail server. Those to a target carry the address at which mail programs end them."""

    def __init__(self, make_mailer: Callable[[], Mailer], place: Place) -> None:
        self.mailer, self.place = make_mailer(), place

    def open(self) -> None:
        """Make sure of a connection to the mail server."""
        self.mailer.open()

    def close(self) -> None:
        """Let it go."""
        self.mailer.close()

    def send(self, parcel: Parcel) -> None:
        """Hand a letter over."""
        target, to = parcel.target_id, parcel.recipient
        self.mailer.send(
            Letter(
                parcel.event_id, to, parcel.language, parcel.subject, parcel.body, parcel.queued_at,
                unsubscribe=self.place.unsubscribe(target, to) if target is not None else "",
            )
        )  # fmt: skip


# -- when ------------------------------------------------------------------------------------------------------


def back_off(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts: a minute, doubled each time, six hours at most."""
    doubled: timedelta = FIRST_BACK_OFF * 2 ** min(attempts - 1, 20)
    spread: float = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - not a secret
    return min(doubled, LONGEST_BACK_OFF) * spread


def next_attempt(error: NotDelivered, attempts: int, queued_at: datetime, now: datetime) -> datetime | None:
    """Return when a message that failed is tried again; None when it is three days old by then, or it is hopeless."""
    if error.final or (error.attempts is not None and attempts >= error.attempts):
        return None
    then = now + max(back_off(attempts), error.wait or timedelta())
    return then if then < queued_at + KEEP_TRYING else None
