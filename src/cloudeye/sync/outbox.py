"""Send what lies in the outbox: claim messages that are due, hand them over, write down what came of it.

Messages are claimed like sites, by a conditional UPDATE, so that any number of copies share them. They are handed
over in greenlets of their own: a mail server that takes its time holds neither the loop nor a probe. A claim is
renewed for as long as its message waits in a batch, and nothing is begun under a claim that has run out; so a
message is sent twice only by a process that was killed, or lost its database, between the server's acceptance and
our mark, and then under the same Message-ID.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import gevent
from gevent.pool import Pool
from sqlalchemy import Connection, or_, select, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.sql.elements import ColumnElement

from cloudeye.models import Message
from cloudeye.services.mail import ACCEPT_TIMEOUT, Letter, MailError

if TYPE_CHECKING:
    from cloudeye.sync.steps import Work

log = logging.getLogger(__name__)

CHANNEL = "mail"
CONNECTIONS = 4  # to the mail server, from one process
BATCH = 20  # letters for one connection
CLAIM = timedelta(seconds=60)
RENEW_EVERY = 15.0  # seconds
CLAIM_MARGIN = timedelta(seconds=20)  # no letter is begun when its claim ends sooner
OPEN_LIMIT = 60.0  # seconds to get a connection, greetings, TLS and login included
SEND_LIMIT = OPEN_LIMIT + ACCEPT_TIMEOUT + 60.0  # seconds for one letter
FIRST_BACK_OFF, LONGEST_BACK_OFF = timedelta(minutes=1), timedelta(hours=6)
JITTER = 0.2  # of the back-off, up or down: what failed together does not come back together
KEEP_TRYING = timedelta(days=3)
MARK_BATCH = 100


class Sends(Protocol):
    """Hands letters over; `services.mail.Mailer` does."""

    def open(self) -> None:
        """Make sure of a connection."""

    def send(self, letter: Letter) -> None:
        """Hand a letter over."""

    def close(self) -> None:
        """Let the connection go."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message of which this process holds the claim."""

    id: int
    attempts: int
    letter: Letter


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message: sent at a time, or what was wrong."""

    message: Claimed
    at: datetime
    error: MailError | None


@dataclass(slots=True)
class Post:
    """What sending needs beside the loop's own: who hands over, and what is under way."""

    make_sender: Callable[[], Sends]
    pool: Pool = field(default_factory=lambda: Pool(CONNECTIONS))
    claimed_until: dict[int, datetime] = field(default_factory=dict)  # of messages that are in a batch
    done: deque[Outcome] = field(default_factory=deque)
    sent: int = 0
    stopping: bool = False  # no further letter is begun
    _looked: float | None = None
    _renewed: float = 0.0


# -- when ------------------------------------------------------------------------------------------------------


def back_off(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts: a minute, doubled each time, six hours at most."""
    doubled: timedelta = FIRST_BACK_OFF * 2 ** min(attempts - 1, 20)
    spread: float = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - not a secret
    return min(doubled, LONGEST_BACK_OFF) * spread


def next_attempt(attempts: int, queued_at: datetime, now: datetime) -> datetime | None:
    """Return when a message that failed is tried again; None when it is three days old by then."""
    then = now + back_off(attempts)
    return then if then < queued_at + KEEP_TRYING else None


# -- claim -----------------------------------------------------------------------------------------------------


def _due(now: datetime) -> ColumnElement[bool]:
    unclaimed = or_(Message.claimed_until.is_(None), Message.claimed_until <= now)
    return (Message.next_attempt_at <= now) & (Message.channel == CHANNEL) & unclaimed


_READ = (
    Message.id, Message.attempts, Message.event_id, Message.recipient, Message.language, Message.subject, Message.body,
    Message.created_at,
)  # fmt: skip


def send(work: Work) -> bool:
    """Claim messages that are due, as many as one connection is given, and hand them over beside the loop."""
    post = work.post
    if post is None or post.stopping:
        return False
    if len(post.done) >= MARK_BATCH or post.pool.free_count() == 0:
        return False
    moment = time.monotonic()
    if post._looked is not None and moment - post._looked < work.settings.poll_seconds:
        return False
    now = work.clock()
    until = now + CLAIM
    with work.engine.begin() as connection:
        ids = connection.scalars(
            select(Message.id)
            .where(_due(now))
            .order_by(Message.next_attempt_at)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        # With more waiting, the next connection gets its batch in the loop's next round.
        post._looked = None if len(ids) == BATCH else moment
        if not ids:
            return False
        connection.execute(
            update(Message)
            .where(Message.id.in_(sorted(ids)), _due(now))
            .values(claimed_by=work.me, claimed_until=until)
        )
        mine = (Message.id.in_(ids), Message.claimed_by == work.me, Message.claimed_until == until)
        claimed = connection.scalars(select(Message.id).where(*mine)).all()
    batch = [message for message in _load(work, claimed) if message.id not in post.claimed_until]
    if batch:
        post.claimed_until.update((message.id, until) for message in batch)
        post.pool.spawn(_hand_over, work, post, batch)
    return len(ids) == BATCH


def _load(work: Work, ids: Sequence[int]) -> list[Claimed]:
    """The claimed messages; one that cannot be read is given up, the others are returned."""
    statement = select(*_READ)
    try:
        with work.engine.connect() as connection:
            return [_claimed(*row) for row in connection.execute(statement.where(Message.id.in_(ids)))]
    except SQLAlchemyError:
        raise
    except Exception:  # a value that cannot be read: find out whose
        loaded: list[Claimed] = []
        for number in ids:
            try:
                with work.engine.connect() as connection:
                    rows = connection.execute(statement.where(Message.id == number)).all()
                loaded.extend(_claimed(*row) for row in rows)
            except SQLAlchemyError:
                raise
            except Exception as error:
                _give_up_unread(work, number, error)
        return loaded


def _claimed(
    number: int, attempts: int, event_id: str, recipient: str, language: str | None, subject: str | None,
    body: str | None, created_at: datetime,
) -> Claimed:  # fmt: skip
    letter = Letter(event_id, recipient, language or "en", subject or "", body or "", created_at)
    return Claimed(number, attempts, letter)


def _give_up_unread(work: Work, number: int, error: Exception) -> None:
    log.error("a message cannot be read, and is given up", extra={"outbox": number, "error": repr(error)[:200]})
    with work.engine.begin() as connection:
        connection.execute(
            update(Message)
            .where(Message.id == number, Message.claimed_by == work.me)
            .values(next_attempt_at=None, claimed_by=None, claimed_until=None, error="the row cannot be read")
        )


# -- hand over: in a greenlet of its own -----------------------------------------------------------------------


def _hand_over(work: Work, post: Post, batch: Sequence[Claimed]) -> None:
    """Hand a batch over on one connection; whatever happens to a letter ends up in `done`."""
    sender = post.make_sender()
    away: MailError | None = None
    left = list(batch)
    try:
        while left and not post.stopping:
            message = left.pop(0)
            until = post.claimed_until.get(message.id)
            if until is None or until - work.clock() < CLAIM_MARGIN:
                post.claimed_until.pop(message.id, None)  # it is somebody else's, or will be in a moment
                continue
            # Where there is no connection the rest of the batch need not try for one. A letter at which the server
            # hangs up says nothing of the next letter.
            away = away or _attempt(sender, OPEN_LIMIT, sender.open)
            error = away or _attempt(sender, SEND_LIMIT, partial(sender.send, message.letter))
            post.done.append(Outcome(message, work.clock(), error))
            work.wake.set()
    finally:
        for message in left:
            post.claimed_until.pop(message.id, None)
        sender.close()
        work.wake.set()


def _attempt(sender: Sends, limit: float, act: Callable[[], None]) -> MailError | None:
    try:
        with gevent.Timeout(limit):
            act()
    except MailError as error:
        return error
    except gevent.Timeout:
        sender.close()
        return MailError(f"no answer within {limit:g} s")
    except Exception as error:  # a fault of ours must not take the batch with it
        log.exception("a letter broke what sends it")
        sender.close()
        return MailError(f"not sent: {error!r}")
    return None


# -- write down ------------------------------------------------------------------------------------------------


def mark(work: Work) -> bool:
    """Write down what came of messages, and renew the claims of those that still wait in a batch."""
    post = work.post
    if post is None:
        return False
    batch = list(islice(post.done, MARK_BATCH))
    if batch:
        try:
            with work.engine.begin() as connection:
                marked = [(outcome, _mark(work, connection, outcome)) for outcome in batch]
        except Exception:
            with work.engine.connect() as connection:
                connection.execute(select(1))  # raises when it is the database that is ill
            for outcome in batch:
                _mark_alone(work, outcome)
                work.beat()
        else:
            for outcome, again in marked:
                _say(outcome, again)
        for outcome in batch:
            post.done.popleft()
            post.claimed_until.pop(outcome.message.id, None)
            post.sent += outcome.error is None
    if post.claimed_until and time.monotonic() - post._renewed >= RENEW_EVERY:
        _renew(work, post)
    return len(post.done) > 0


def _mark(work: Work, connection: Connection, outcome: Outcome) -> datetime | None:
    """Write down what came of a message; when it is tried again."""
    message, error = outcome.message, outcome.error
    attempts = message.attempts + 1
    row = update(Message).where(Message.id == message.id, Message.sent_at.is_(None))
    free: dict[str, Any] = {"attempts": attempts, "claimed_by": None, "claimed_until": None}
    if error is None:
        # Whoever holds the claim by now: the letter is out. Its text may hold a link that lets somebody in.
        connection.execute(row.values(**free, sent_at=outcome.at, next_attempt_at=None, body=None, error=None))
        return None
    again = None if error.final else next_attempt(attempts, message.letter.queued_at, outcome.at)
    if again is None:
        free["body"] = None
    connection.execute(row.where(Message.claimed_by == work.me).values(**free, next_attempt_at=again, error=str(error)))
    return again


def _say(outcome: Outcome, again: datetime | None) -> None:
    message, error = outcome.message, outcome.error
    facts: dict[str, object] = {
        "outbox": message.id,
        "event": message.letter.event_id,
        "attempts": message.attempts + 1,
    }
    if error is None:
        log.info("mail sent", extra=facts)
    elif again is None:
        log.error("mail given up", extra={**facts, "error": str(error)})
    else:
        facts["again"] = again.isoformat(timespec="seconds")
        log.warning("mail not sent yet", extra={**facts, "error": str(error)})


def _mark_alone(work: Work, outcome: Outcome) -> None:
    try:
        with work.engine.begin() as connection:
            again = _mark(work, connection, outcome)
    except OperationalError:
        raise  # the database again: what came of the batch is written down when it answers
    except Exception:
        # Its claim expires by itself; the other rows matter more.
        log.exception("what came of a message cannot be written", extra={"outbox": outcome.message.id})
    else:
        _say(outcome, again)


def _renew(work: Work, post: Post) -> None:
    """Hold the claims for longer; those that are not ours any more are not begun."""
    until = work.clock() + CLAIM
    ids = sorted(post.claimed_until)
    mine = (Message.id.in_(ids), Message.claimed_by == work.me, Message.sent_at.is_(None))
    with work.engine.begin() as connection:
        connection.execute(update(Message).where(*mine).values(claimed_until=until))
        ours = connection.scalars(select(Message.id).where(*mine, Message.claimed_until == until)).all()
    # Meanwhile some may have been let go of.
    post.claimed_until = {number: until for number in ours if number in post.claimed_until}
    post._renewed = time.monotonic()


def stop(work: Work) -> None:
    """Begin no further letter."""
    if work.post is not None:
        work.post.stopping = True


def finish(work: Work, grace: float) -> None:
    """Wait at most `grace` seconds for letters under way, write what came of them, give the other claims back."""
    post = work.post
    if post is None:
        return
    waiting = set(post.claimed_until)
    post.pool.join(timeout=grace)
    post.pool.kill(timeout=1)
    waiting -= {outcome.message.id for outcome in post.done}
    while post.done:
        mark(work)
        work.beat()
    if waiting:
        with work.engine.begin() as connection:
            connection.execute(
                update(Message)
                .where(Message.id.in_(sorted(waiting)), Message.claimed_by == work.me)
                .values(claimed_by=None, claimed_until=None)
            )
