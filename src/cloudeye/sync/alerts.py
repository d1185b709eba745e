"""Dispatch events whose time has come: messages to the targets of their owners, into the outbox.

One transaction claims the events, writes the messages and takes the events off the list, so a process that is killed
leaves either all of it or nothing. An event that becomes due takes along those of the same owner that still wait, so
what comes together within the window is told together.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update
from sqlalchemy.exc import OperationalError

from cloudeye.models import LANGUAGES, AlertTarget, Event, Message, Site, User
from cloudeye.services.alerts import OWN, Happening, Place, Target, bundle, compose, is_wanted, name_of
from cloudeye.services.events import WINDOW

if TYPE_CHECKING:
    from datetime import datetime

    from cloudeye.sync.work import Work

log = logging.getLogger(__name__)

BATCH = 50  # events that are due, and so owners, in one transaction
TOGETHER = 1000  # events in one transaction, with those that wait
# An event that cannot be told must not hold up the others.
PUT_OFF, GIVE_UP = timedelta(hours=1), timedelta(days=3)

_READ = (
    select(
        Event.id, Event.event_id, Event.kind, Event.severity, Event.data, Event.created_at, Event.owner_id,
        Site.id.label("site_id"), Site.name, Site.url, Site.alert_targets,
        User.email, User.email_verified_at, User.language, User.time_zone, User.active,
    )
    .join(Site, Site.id == Event.site_id)
    .join(User, User.id == Event.owner_id)
)  # fmt: skip


def dispatch(work: Work) -> bool:
    """Write the messages of events that are due into the outbox; whether more are."""
    post = work.post
    if post is None or post.stopping:
        return False
    moment = time.monotonic()
    if post.dispatched is not None and moment - post.dispatched < work.settings.poll_seconds:
        return False
    post.dispatched = moment
    with work.engine.connect() as connection:
        due = connection.scalars(_due(work.clock()).limit(BATCH)).all()
    if not due:
        return False
    _get_ready()
    try:
        with work.engine.begin() as connection:
            messages = _dispatch(connection, post.place, due, work.clock())
    except OperationalError:
        raise
    except Exception:
        with work.engine.connect() as connection:
            connection.execute(select(1))  # raises when it is the database that is ill
        messages = _dispatch_alone(work, post.place, due)
    if messages:
        log.info("alerts queued", extra={"due": len(due), "messages": messages})
        for carrier in post.carriers:
            carrier.looked = None
    if len(due) < BATCH:
        return False
    post.dispatched = None
    return True


def _due(now: datetime) -> Any:
    return select(Event.id).where(Event.dispatch_after <= now).order_by(Event.dispatch_after, Event.id)


def _get_ready() -> None:
    """Load what renders texts before a transaction is open: it takes its time at first."""
    from cloudeye.services import outbox

    outbox.prepare(outbox.ALERTS)


def _dispatch(connection: Connection, place: Place, due: Sequence[int], now: datetime) -> int:
    """Claim these events and those that come with them, and write their messages; how many."""
    claimed = select(Event.id, Event.owner_id, Event.dispatch_after).with_for_update(skip_locked=True)
    owners = set(connection.scalars(select(Event.owner_id).where(Event.id.in_(due))))
    rows = connection.execute(
        claimed.where(Event.dispatch_after <= now + WINDOW, Event.owner_id.in_(sorted(owners)))
        .order_by(Event.dispatch_after, Event.id)
        .limit(TOGETHER)
    ).all()
    # Where another process has taken the event that was due, what came with it is that one's or waits.
    here = {row.owner_id for row in rows if row.dispatch_after <= now}
    return _tell(connection, place, [row.id for row in rows if row.owner_id in here], now)


def _dispatch_alone(work: Work, place: Place, due: Sequence[int]) -> int:
    """Tell each event by itself, and put off those that cannot be told."""
    messages = 0
    for number in due:
        try:
            with work.engine.begin() as connection:
                mine = _due(work.clock()).where(Event.id == number).with_for_update(skip_locked=True)
                messages += _tell(connection, place, connection.scalars(mine).all(), work.clock())
        except OperationalError:
            raise
        except Exception as error:
            log.error("an event cannot be told", exc_info=error, extra={"event": number})
            with work.engine.begin() as connection:
                now = work.clock()
                late = connection.scalar(select(Event.created_at).where(Event.id == number))
                again = None if late is None or late < now - GIVE_UP else now + PUT_OFF
                connection.execute(update(Event).where(Event.id == number).values(dispatch_after=again))
        work.beat()
    return messages


def _tell(connection: Connection, place: Place, ids: Sequence[int], now: datetime) -> int:
    """Write the messages of claimed events, and take the events off the list."""
    if not ids:
        return 0
    rows = connection.execute(_READ.where(Event.id.in_(ids)).order_by(Event.owner_id, Event.id)).all()
    targets: dict[int, list[Any]] = {}
    asked = select(
        AlertTarget.id, AlertTarget.owner_id, AlertTarget.name, AlertTarget.kind, AlertTarget.address,
        AlertTarget.kinds, AlertTarget.minimum_severity, AlertTarget.confirmed_at, AlertTarget.active,
    ).where(AlertTarget.owner_id.in_({row.owner_id for row in rows})).order_by(AlertTarget.id)  # fmt: skip
    for target in connection.execute(asked).all():
        targets.setdefault(target.owner_id, []).append(target)
    found = [
        one
        for owner_id, events in groupby(rows, key=lambda row: row.owner_id)
        for one in _messages(place, list(events), targets.get(owner_id, []), now)
    ]
    messages = [message for message, _ in found]
    names = [message["event_id"] for message in messages]
    # The name is unique, so nothing can be queued twice; an event that somebody put on the list again is no trouble.
    there = set(connection.scalars(select(Message.event_id).where(Message.event_id.in_(names))))
    fresh = [message for message in messages if message["event_id"] not in there]
    if fresh:
        connection.execute(insert(Message), fresh)
    told = {event.event_id for _, together in found for event in together}
    if untold := [row for row in rows if row.event_id not in told]:
        marked = [{"number": row.id, "marked": {**row.data, "told": False}} for row in untold]
        mark = update(Event).where(Event.id == bindparam("number")).values(data=bindparam("marked"))
        connection.execute(mark, marked)
    connection.execute(update(Event).where(Event.id.in_(sorted(ids))).values(dispatch_after=None))
    return len(fresh)


def _messages(
    place: Place, events: Sequence[Row[Any]], targets: Sequence[Any], now: datetime
) -> list[tuple[dict[str, Any], tuple[Happening, ...]]]:
    """Return what one owner's targets are told of one owner's events, each message with its events."""
    owner = events[0]
    if not owner.active:
        return []
    found = []
    for target in _targets(owner, targets):
        told = [
            _happening(row)
            for row in events
            if row.alert_targets is None or (target.id != OWN and target.id in row.alert_targets)
        ]
        for together in bundle(place, target, [event for event in told if is_wanted(target, event)]):
            subject, body = compose(place, target, together)
            message = {
                "channel": target.kind,
                "event_id": name_of(together, target),
                "recipient": target.address,
                "language": target.language,
                "subject": subject[:255] or None,
                "body": body,
                "next_attempt_at": now,
                "created_at": now,
                "target_id": target.id if target.id != OWN else None,
            }
            found.append((message, together))
    return found


def _targets(owner: Row[Any], rows: Sequence[Any]) -> list[Target]:
    """Return who is told; the owner's own address, once it is verified, where no target was ever set up."""
    whose = {"language": owner.language or LANGUAGES[0], "time_zone": owner.time_zone}
    if not rows and owner.email_verified_at is not None:
        return [Target(OWN, "mail", owner.email, **whose)]
    return [
        Target(row.id, row.kind, row.address, row.name, row.kinds, row.minimum_severity, **whose)
        for row in rows
        if row.active and row.confirmed_at is not None
    ]


def _happening(row: Row[Any]) -> Happening:
    return Happening(
        row.event_id, row.kind, row.severity, row.data, row.created_at, row.site_id, row.name, row.url
    )  # fmt: skip
