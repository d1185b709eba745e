"""Send what lies in the outbox: claim messages that are due, hand them over, write down what came of it.

Messages are claimed like sites, by a conditional UPDATE, so that any number of copies share them. They are handed
over in greenlets of their own: a recipient that takes its time holds neither the loop nor a probe nor another channel.
A claim is renewed for as long as its message waits in a batch, and nothing is begun under a claim that has run out; so
a message is sent twice only by a process that was killed, or lost its database, between the recipient's acceptance and
our mark, and then under the same name. How each channel is carried stands in carriers.py.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import gevent
from sqlalchemy import Connection, or_, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.sql.elements import ColumnElement

from cloudeye.models import AlertTarget, Message
from cloudeye.services.delivery import NotDelivered, Parcel
from cloudeye.sync.carriers import OPEN_LIMIT, Carrier, Claimed, Outcome, Post, Sends, next_attempt, origin
from cloudeye.sync.reading import read_claimed

if TYPE_CHECKING:
    from cloudeye.sync.work import Work

log = logging.getLogger(__name__)

CLAIM = timedelta(seconds=60)
RENEW_EVERY = 15.0  # seconds
CLAIM_MARGIN = timedelta(seconds=20)  # no message is begun when its claim ends sooner
LOOK = 100  # messages that are looked at to find those whose recipients have a place free
MARK_BATCH = 100


# -- claim -----------------------------------------------------------------------------------------------------


def send(work: Work) -> bool:
    """Claim messages that are due, as many as there are connections for, and hand them over beside the loop."""
    post = work.post
    if post is None or post.stopping or len(post.done) >= MARK_BATCH:
        return False
    more = False
    for carrier in post.carriers:
        more = _send(work, post, carrier) or more
    return more


def _send(work: Work, post: Post, carrier: Carrier) -> bool:
    places = carrier.places
    moment = time.monotonic()
    if places == 0 or (carrier.looked is not None and moment - carrier.looked < work.settings.poll_seconds):
        return False
    until = work.clock() + CLAIM
    with work.engine.begin() as connection:
        ids, more = _choose(connection, carrier, places, work.clock())
        # With more waiting, the next connection gets its batch in the loop's next round.
        carrier.looked = None if more else moment
        if not ids:
            return False
        due = _due(carrier, work.clock())
        connection.execute(
            update(Message).where(Message.id.in_(sorted(ids)), due).values(claimed_by=work.me, claimed_until=until)
        )
        mine = (Message.id.in_(ids), Message.claimed_by == work.me, Message.claimed_until == until)
        claimed = connection.scalars(select(Message.id).where(*mine)).all()
    batch = [
        message
        for message in read_claimed(work, _READ, Message.id, claimed, _claimed, partial(_give_up_unread, work))
        if message.id not in post.claimed_until
    ]
    for start in range(0, len(batch), carrier.batch):
        part = batch[start : start + carrier.batch]
        for message in part:
            post.claimed_until[message.id] = until
            carrier.begin(message)
        carrier.pool.spawn(_hand_over, work, post, carrier, part)
    return more and carrier.places > 0


def _due(carrier: Carrier, now: datetime) -> ColumnElement[bool]:
    unclaimed = or_(Message.claimed_until.is_(None), Message.claimed_until <= now)
    return (Message.next_attempt_at <= now) & Message.channel.in_(carrier.channels) & unclaimed


def _choose(connection: Connection, carrier: Carrier, places: int, now: datetime) -> tuple[list[int], bool]:
    """Return messages for the places that are free, locked, and whether more may wait than were chosen."""
    query = select(Message.id, Message.target_id, Message.recipient).where(_due(carrier, now))
    query = query.order_by(Message.next_attempt_at).limit(LOOK).with_for_update(skip_locked=True)
    busy = _busy(connection, carrier)
    if busy:
        query = query.where(or_(Message.target_id.is_(None), Message.target_id.not_in(sorted(busy))))
    for start in _full(carrier.hosts, carrier.per_host):
        query = query.where(~Message.recipient.startswith(f"{start}/", autoescape=True))
    rows = connection.execute(query).all()
    wanted = {row.target_id for row in rows if row.target_id is not None}
    owned = select(AlertTarget.id, AlertTarget.owner_id).where(AlertTarget.id.in_(wanted))
    owners = {row.id: row.owner_id for row in connection.execute(owned)} if wanted else {}
    counts: tuple[Counter[Any], ...] = (carrier.targets.copy(), carrier.owners.copy(), carrier.hosts.copy())
    limits = (carrier.per_target, carrier.per_owner, carrier.per_host)
    chosen: list[int] = []
    for row in rows:
        whose: tuple[Any, ...] = (row.target_id, owners.get(row.target_id), origin(row.recipient))
        if len(chosen) < places and not any(
            limit is not None and who is not None and count[who] >= limit
            for count, who, limit in zip(counts, whose, limits, strict=True)
        ):
            chosen.append(row.id)
            for count, who in zip(counts, whose, strict=True):
                count[who] += 1
    return chosen, bool(chosen) and (len(rows) == LOOK or len(chosen) == places < len(rows))


def _busy(connection: Connection, carrier: Carrier) -> set[int]:
    """Return the targets that get no further message now: their own places are taken, or their owner's."""
    busy = set(_full(carrier.targets, carrier.per_target))
    owners = _full(carrier.owners, carrier.per_owner)
    if owners:
        busy.update(connection.scalars(select(AlertTarget.id).where(AlertTarget.owner_id.in_(owners))))
    return busy


def _full(counts: Any, limit: int | None) -> list[Any]:
    return [whose for whose, count in counts.items() if whose is not None and limit is not None and count >= limit]


_READ = select(
    Message.id, Message.attempts, Message.channel, Message.event_id, Message.recipient, Message.language,
    Message.subject, Message.body, Message.created_at, Message.target_id, AlertTarget.owner_id, AlertTarget.active,
    AlertTarget.address, AlertTarget.secret,
).outerjoin(AlertTarget, AlertTarget.id == Message.target_id)  # fmt: skip


def _claimed(row: Any) -> Claimed:
    hopeless = None
    recipient = row.recipient
    if row.target_id is not None:
        if row.owner_id is None or not row.active:
            hopeless = "the target is gone" if row.owner_id is None else "the target is switched off"
        elif row.channel == "mail" and row.address != recipient:
            hopeless = "the target has another address now"  # which may not be confirmed
        elif row.channel != "mail":
            recipient = row.address
    parcel = Parcel(
        row.channel, row.event_id, recipient, row.language or "en", row.subject or "", row.body or "", row.created_at,
        row.target_id, row.secret,
    )  # fmt: skip
    return Claimed(row.id, row.attempts, parcel, row.owner_id, hopeless)


def _give_up_unread(work: Work, number: int, error: Exception) -> None:
    log.error("a message cannot be read, and is given up", extra={"outbox": number, "error": repr(error)[:200]})
    with work.engine.begin() as connection:
        connection.execute(
            update(Message)
            .where(Message.id == number, Message.claimed_by == work.me)
            .values(next_attempt_at=None, claimed_by=None, claimed_until=None, error="the row cannot be read")
        )


# -- hand over: in a greenlet of its own -----------------------------------------------------------------------


def _hand_over(work: Work, post: Post, carrier: Carrier, batch: Sequence[Claimed]) -> None:
    """Hand a batch over on one connection; whatever happens to a message ends up in `done`."""
    sender = carrier.make_sender()
    away: NotDelivered | None = None
    left = list(batch)
    try:
        while left and not post.stopping:
            message = left.pop(0)
            until = post.claimed_until.get(message.id)
            if until is None or until - work.clock() < CLAIM_MARGIN:
                _let_go(post, carrier, message)  # it is somebody else's, or will be in a moment
                continue
            error: NotDelivered | None
            if message.hopeless is not None:
                error = NotDelivered(message.hopeless, final=True)
            else:
                # Where there is no connection the rest of the batch need not try for one. A letter at which the server
                # hangs up says nothing of the next letter.
                away = away or _attempt(sender, OPEN_LIMIT, sender.open)
                error = away or _attempt(sender, carrier.limit, partial(sender.send, message.parcel))
            post.done.append(Outcome(carrier, message, work.clock(), error))
            work.wake.set()
    finally:
        for message in left:
            _let_go(post, carrier, message)
        sender.close()
        carrier.looked = None
        work.wake.set()


def _let_go(post: Post, carrier: Carrier, message: Claimed) -> None:
    post.claimed_until.pop(message.id, None)
    carrier.end(message)


def _attempt(sender: Sends, limit: float, act: Callable[[], None]) -> NotDelivered | None:
    try:
        with gevent.Timeout(limit):
            act()
    except NotDelivered as error:
        return error
    except gevent.Timeout:
        sender.close()
        return NotDelivered(f"no answer within {limit:g} s")
    except Exception as error:  # a fault of ours must not take the batch with it
        log.exception("a message broke what sends it")
        sender.close()
        return NotDelivered(f"not sent: {error!r}")
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
                marked = _mark(work, connection, batch)
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
            _let_go(post, outcome.carrier, outcome.message)
            post.sent += outcome.error is None
    if post.claimed_until and time.monotonic() - post.renewed >= RENEW_EVERY:
        _renew(work, post)
    return len(post.done) > 0


def _mark(work: Work, connection: Connection, batch: Sequence[Outcome]) -> list[tuple[Outcome, datetime | None]]:
    """Write down what came of messages, and at each target how its last one fared; when each is tried again."""
    marked = [(outcome, _mark_message(work, connection, outcome)) for outcome in batch]
    last = {
        outcome.message.parcel.target_id: outcome.error
        for outcome in sorted(batch, key=lambda one: one.at)
        if outcome.message.hopeless is None
    }
    # In one order, so that two processes do not wait for each other.
    for target_id in sorted(number for number in last if number is not None):
        error = last[target_id]
        row = update(AlertTarget).where(AlertTarget.id == target_id)
        if error is None:
            connection.execute(row.where(AlertTarget.error.is_not(None)).values(error=None))
        elif error.gone:
            off = {"active": False, "version": AlertTarget.version + 1, "updated_at": work.clock()}
            connection.execute(row.values(error=str(error), **off))
        else:
            connection.execute(row.values(error=str(error)))
    return marked


def _mark_message(work: Work, connection: Connection, outcome: Outcome) -> datetime | None:
    message, error = outcome.message, outcome.error
    attempts = message.attempts + 1
    row = update(Message).where(Message.id == message.id, Message.sent_at.is_(None))
    free: dict[str, Any] = {"attempts": attempts, "claimed_by": None, "claimed_until": None}
    if error is None:
        # Whoever holds the claim by now: the message is out. Its text may hold a link that lets somebody in.
        connection.execute(row.values(**free, sent_at=outcome.at, next_attempt_at=None, body=None, error=None))
        return None
    again = next_attempt(error, attempts, message.parcel.queued_at, outcome.at)
    if again is None:
        free["body"] = None
    connection.execute(row.where(Message.claimed_by == work.me).values(**free, next_attempt_at=again, error=str(error)))
    return again


def _say(outcome: Outcome, again: datetime | None) -> None:
    message, error = outcome.message, outcome.error
    what = message.parcel.channel
    facts: dict[str, object] = {
        "outbox": message.id,
        "event": message.parcel.event_id,
        "attempts": message.attempts + 1,
    }
    if error is None:
        log.info("%s sent", what, extra=facts)
    elif again is None:
        log.error("%s given up", what, extra={**facts, "error": str(error)})
    else:
        facts["again"] = again.isoformat(timespec="seconds")
        log.warning("%s not sent yet", what, extra={**facts, "error": str(error)})


def _mark_alone(work: Work, outcome: Outcome) -> None:
    try:
        with work.engine.begin() as connection:
            [(_, again)] = _mark(work, connection, [outcome])
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
    post.renewed = time.monotonic()


def stop(work: Work) -> None:
    """Begin no further message."""
    if work.post is not None:
        work.post.stopping = True


def finish(work: Work, grace: float) -> None:
    """Wait at most `grace` seconds for messages under way, write what came of them, give the other claims back."""
    post = work.post
    if post is None:
        return
    waiting = set(post.claimed_until)
    end = time.monotonic() + grace
    for carrier in post.carriers:
        carrier.pool.join(timeout=max(0.0, end - time.monotonic()))
        carrier.pool.kill(timeout=1)
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
