"""Where attempts are counted, for all instances of a stack: in its cache, or in the database where it has none.

Flask-Limiter counts through a storage of the library ``limits`` (https://limits.readthedocs.io/en/stable/custom-storage.html);
the one here asks the application that serves the request for its counters, so that one limiter serves every application
of a process.

A stack whose cache does not answer counts in the database meanwhile: refusing would take the login down for as long as
the cache is away, and letting through would take the limits down. Each of the two keeps its count, so whoever could
switch the cache off and on again would get twice the attempts in a window, and no more. Where the database does not
answer either, its error goes up and becomes the 503 of ``errors.py``: there is no attempt that is not counted.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from flask import current_app, g, has_request_context
from limits.errors import StorageError
from limits.storage import Storage
from sqlalchemy import Engine, case, delete, select, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cloudeye.models import AttemptCounter
from cloudeye.models.base import utcnow
from cloudeye.transactions import retry_idempotent

log = logging.getLogger(__name__)

EXTENSION = "cloudeye_attempts"
LONGEST_KEY = 200  # characters; the column holds 255
CACHE_SECONDS = 0.5  # to connect, and to answer; a person waits for it
PAUSE_SECONDS = 5.0  # for which a cache that did not answer is left alone
REFUSED_SECONDS = 1.0  # for which a refusal is given again without asking anybody
MOST_REFUSED = 10_000  # keys of which that is remembered
TRIES = 10  # of a transaction that met a deadlock

_Result = TypeVar("_Result")


class Counters(Protocol):
    """A place that counts."""

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a count and return it; a new one lasts ``expiry`` seconds."""

    def give_back(self, keys: Sequence[str]) -> None:
        """Take one off each of the counts."""

    def get(self, key: str) -> int:
        """Return a count, 0 when there is none."""

    def get_expiry(self, key: str) -> float:
        """Return when a count ends, in seconds since 1970; now when there is none."""

    def check(self) -> bool:
        """Does it answer."""

    def reset(self) -> int | None:
        """Forget every count, and return how many there were."""

    def clear(self, key: str) -> None:
        """Forget a count."""


class TableCounters:
    """Counts in the table ``attempt_counters``, each change a transaction of its own.

    So what a request counted stays counted when its own transaction is rolled back. A row whose time is over counts as
    none: the next attempt writes over it. sync deletes those that nobody comes back to.

    Args:
        engine: returns the database's engine.
    """

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a count and return it; a new one lasts ``expiry`` seconds."""

        def add(session: Session) -> int:
            now = utcnow()
            session.execute(_upsert(session.get_bind().dialect.name, key, amount, now, now + timedelta(seconds=expiry)))
            # The row is ours until the commit, so this is the count that the line before made.
            return session.scalars(select(AttemptCounter.count).where(AttemptCounter.key == key)).one()

        return self._run(add)

    def give_back(self, keys: Sequence[str]) -> None:
        """Take one off each of the counts; those that reach none are gone."""

        def take(session: Session) -> None:
            these = AttemptCounter.key.in_(sorted(keys))
            less = update(AttemptCounter).where(these, AttemptCounter.expires_at > utcnow())
            session.execute(less.values(count=AttemptCounter.count - 1), execution_options=_PLAIN)
            session.execute(delete(AttemptCounter).where(these, AttemptCounter.count <= 0), execution_options=_PLAIN)

        self._run(take)

    def get(self, key: str) -> int:
        """Return a count, 0 when there is none."""
        row = self._find(key)
        return row[0] if row else 0

    def get_expiry(self, key: str) -> float:
        """Return when a count ends, in seconds since 1970; now when there is none."""
        row = self._find(key)
        return row[1].timestamp() if row else time.time()

    def check(self) -> bool:
        """Does the database answer."""
        try:
            self.get("")
        except SQLAlchemyError:
            return False
        return True

    def reset(self) -> int | None:
        """Forget every count, and return how many there were."""
        return self._run(lambda session: int(session.execute(delete(AttemptCounter)).rowcount))  # type: ignore[attr-defined]

    def clear(self, key: str) -> None:
        """Forget a count."""
        self._run(lambda session: session.execute(delete(AttemptCounter).where(AttemptCounter.key == key)))

    def _run(self, unit: Callable[[Session], _Result]) -> _Result:
        with Session(self._engine()) as session:
            return retry_idempotent(session, lambda: unit(session), TRIES)

    def _find(self, key: str) -> Any:
        query = select(AttemptCounter.count, AttemptCounter.expires_at)
        with Session(self._engine()) as session:
            return session.execute(query.where(AttemptCounter.key == key, AttemptCounter.expires_at > utcnow())).first()


_PLAIN = {"synchronize_session": False}


def _upsert(dialect: str, key: str, amount: int, now: Any, end: Any) -> Any:
    """Return the statement that begins a count, or adds to one whose time is not over."""
    over = AttemptCounter.expires_at <= now
    # MySQL assigns from left to right and reads what it has assigned already: the count goes first, for it asks for
    # the time (https://mariadb.com/kb/en/insert-on-duplicate-key-update/).
    changes = [
        ("count", case((over, amount), else_=AttemptCounter.count + amount)),
        ("expires_at", case((over, end), else_=AttemptCounter.expires_at)),
    ]
    values = {"key": key, "count": amount, "expires_at": end}
    if dialect == "sqlite":
        insert = sqlite.insert(AttemptCounter).values(values)
        return insert.on_conflict_do_update(index_elements=["key"], set_=dict(changes))
    return mysql.insert(AttemptCounter).values(values).on_duplicate_key_update(changes)


class Places:
    """The counters of one application: the cache as long as it answers, the database otherwise.

    Args:
        table: the database's counters.
        cache: the cache's, where the stack has one.
    """

    def __init__(self, table: Counters, cache: Counters | None) -> None:
        self.table, self.cache = table, cache
        self._away = False
        self._ask_again = 0.0  # on the monotonic clock
        self._refused: dict[str, tuple[float, float]] = {}

    def ask(self, question: Callable[[Counters], _Result]) -> tuple[Counters, _Result]:
        """Put a question to whoever counts now.

        Returns:
            Who answered, and the answer.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database did not answer, and there is no cache or it did not either.
        """
        if self.cache is not None and time.monotonic() >= self._ask_again:
            if self._away:  # one request finds out whether it is back, the others need not wait with it
                self._ask_again = time.monotonic() + PAUSE_SECONDS
            try:
                answer = question(self.cache)
            except (StorageError, OSError) as error:
                self._ask_again = time.monotonic() + PAUSE_SECONDS
                if not self._away:
                    log.error("the cache does not answer, attempts are counted in the database: %s", error)
                self._away = True
            else:
                self._ask_again = 0.0
                if self._away:
                    log.warning("the cache answers again and counts attempts")
                self._away = False
                return self.cache, answer
        return self.table, question(self.table)

    def refuse(self, key: str, end: float) -> None:
        """Remember for a moment that a key is refused: a flood of attempts then writes nothing and waits for no row.

        Args:
            key: as it is counted.
            end: of its window, in seconds since 1970.
        """
        if len(self._refused) >= MOST_REFUSED:
            self._refused.clear()
        self._refused[key] = (min(end, time.time() + REFUSED_SECONDS), end)

    def refused(self, key: str) -> float | None:
        """Return when the window of a key ends that was refused a moment ago, None for another."""
        until, end = self._refused.get(key, (0.0, 0.0))
        return end if time.time() < until else None

    def forget(self, key: str) -> None:
        """Remember no refusal of a key."""
        self._refused.pop(key, None)

    def both(self) -> Iterable[Counters]:
        """Return every place that may hold a count."""
        return [place for place in (self.cache, self.table) if place is not None]


@dataclass(frozen=True)
class Counted:
    """What a request has counted, and the status of the only answer with which it counts (None: with any)."""

    place: Counters
    key: str
    failure: int | None


class AttemptStorage(Storage):
    """The storage that Flask-Limiter is given: it counts where the application at hand counts.

    What a request has counted is noted down in ``flask.g``, so that it can be given back where it was counted.
    """

    STORAGE_SCHEME = ["attempts"]  # noqa: RUF012 - the library's way

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """What a place that does not answer raises."""
        return SQLAlchemyError, StorageError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a count and return it; a new one lasts ``expiry`` seconds."""
        key = short(key)
        if places().refused(key) is not None:
            return sys.maxsize
        place, count = places().ask(lambda counters: counters.incr(key, expiry, amount))
        if has_request_context():
            g.setdefault("attempts_counted", []).append(Counted(place, key, g.get("attempts_failure")))
        return count

    def get(self, key: str) -> int:
        """Return a count, 0 when there is none."""
        return places().ask(lambda counters: counters.get(short(key)))[1]

    def get_expiry(self, key: str) -> float:
        """Return when a count ends, in seconds since 1970; now when there is none."""
        end = places().refused(short(key))
        return end if end is not None else places().ask(lambda counters: counters.get_expiry(short(key)))[1]

    def check(self) -> bool:
        """Does anybody count."""
        return any(place.check() for place in places().both())

    def reset(self) -> int | None:
        """Forget every count, and return how many there were."""
        return sum(place.reset() or 0 for place in places().both())

    def clear(self, key: str) -> None:
        """Forget a count, wherever it is kept."""
        places().forget(short(key))
        places().table.clear(short(key))
        places().ask(lambda counters: counters.clear(short(key)))


def places() -> Places:
    """Return the counters of the application at hand."""
    found: Places = current_app.extensions[EXTENSION]
    return found


def short(key: str) -> str:
    """Return a key of bounded length: one that is longer is replaced by its hash."""
    if len(key) <= LONGEST_KEY:
        return key
    return hashlib.sha256(key.encode()).hexdigest()


def give_back(counted: Iterable[Counted]) -> None:
    """Undo what was counted, where it was; when that fails it stays counted, and the log says so."""
    by_place: dict[int, tuple[Counters, list[str]]] = {}
    for one in counted:
        by_place.setdefault(id(one.place), (one.place, []))[1].append(one.key)
    for place, keys in by_place.values():
        try:
            place.give_back(keys)
        except (SQLAlchemyError, StorageError, OSError) as error:
            log.warning("an attempt that need not be counted stays counted: %s", error)
