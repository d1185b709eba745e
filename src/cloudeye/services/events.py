"""What somebody wants to know of, written down in the transaction of the change itself; sync tells it later.

An event waits for WINDOW, so that sites that fall together are told together (see sync/alerts.py).
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

from cloudeye.models import EVENT_KINDS, SEVERITIES, Event

WINDOW = timedelta(seconds=20)


def add(
    connection: Connection,
    *,
    site_id: int,
    owner_id: int,
    kind: str,
    at: datetime,
    severity: str | None = None,
    told: bool = True,
    **data: Any,
) -> str:
    """Add an event to the connection's transaction.

    Args:
        connection: committed by the caller, together with the change that the event is about.
        site_id: the site that changed.
        owner_id: its owner, who is told.
        kind: one of EVENT_KINDS.
        at: when it changed, an aware time.
        severity: one of SEVERITIES, or None where the kind says enough.
        told: whether alerts are sent; one that is not is kept in the history alone.
        data: what goes into JSON; times are written in ISO 8601, in UTC. Alerts show these:
            down: cause (code and text), status_code, since (the first failed check);
            up: since (the first failed check), cause, seconds;
            page: changes (each with kind, severity, text; the worst first), diff, restored, version_id;
            finding: changes (each with code, subject, severity, change: opened, reopened or fixed), grade, score;
            certificate: expires_at, days.

    Returns:
        The event's name, which is the same however often the event is told.

    Raises:
        ValueError: there is no such kind or severity, or a time has no zone.
        TypeError: the data holds what JSON cannot.
        sqlalchemy.exc.SQLAlchemyError: the row cannot be written.
    """
    if kind not in EVENT_KINDS:
        raise ValueError(f"there is no event {kind!r}")
    if severity is not None and severity not in SEVERITIES:
        raise ValueError(f"there is no severity {severity!r}")
    if not told:
        data["told"] = False
    event_id = uuid.uuid4().hex
    connection.execute(
        insert(Event).values(
            event_id=event_id,
            site_id=site_id,
            owner_id=owner_id,
            kind=kind,
            severity=severity,
            data={name: _plain(value) for name, value in data.items()},
            created_at=at,
            dispatch_after=at + WINDOW if told else None,
        )
    )
    return event_id


def _plain(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ValueError("a time without a zone cannot be told")
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
