"""What is told of a change, for each kind of event; `services/events.py` writes it down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from cloudeye.models import SEVERITIES, Event, Site
from cloudeye.services import events
from cloudeye.services.findings.certificate import LEVEL_SEVERITY

if TYPE_CHECKING:
    from cloudeye.services.findings.store import FindingChange
    from cloudeye.services.tamper.compare import Comparison

# What an alert may show of a change; the rest is a click away.
MOST_CHANGES, MOST_DIFF = 10, 4_000
# At the first look at a site everything is new. Only what is this bad is told.
TOLD_AT_FIRST = frozenset({"high", "critical"})
# A page of which two are served by turns, or a header that one of two servers sends, changes with each look. Of one
# kind so many are told within RESTLESS_TIME; the last of them says that the others are kept in the history alone, until
# there were fewer for so long.
MOST_TOLD, RESTLESS_TIME = 6, timedelta(hours=1)


def tell_findings(
    connection: Connection, site_id: int, owner_id: int, at: datetime, changes: Sequence[FindingChange], first: bool
) -> None:
    """Tell what a look found or missed, as one event; at the `first` look of its kind only what is bad."""
    told = [change for change in changes if not first or change.severity in TOLD_AT_FIRST]
    if not told:
        return
    grade, score = connection.execute(select(Site.grade, Site.score).where(Site.id == site_id)).one()
    _tell_unless_restless(
        connection,
        site_id=site_id,
        owner_id=owner_id,
        kind="finding",
        at=at,
        severity=max((change.severity for change in told), key=SEVERITIES.index),
        changes=[
            {"code": one.code, "subject": one.subject, "severity": one.severity, "change": one.change}
            for one in told[:MOST_CHANGES]
        ],
        grade=grade,
        score=score,
    )


def tell_page(connection: Connection, site_id: int, owner_id: int, at: datetime, change: Comparison) -> None:
    """Tell that a page differs from its baseline, or does so no more."""
    _tell_unless_restless(
        connection,
        site_id=site_id,
        owner_id=owner_id,
        kind="page",
        at=at,
        severity=change.severity,
        changes=[
            {"kind": one.kind, "severity": one.severity, "text": one.text} for one in change.changes[:MOST_CHANGES]
        ],
        diff=change.diff[:MOST_DIFF],
        restored=change.restored,
        version_id=change.version_id,
    )


def tell_certificate(
    connection: Connection, site_id: int, owner_id: int, at: datetime, expires_at: datetime, level: int
) -> None:
    """Tell that a certificate has reached one of the levels before its end."""
    events.add(
        connection,
        site_id=site_id,
        owner_id=owner_id,
        kind="certificate",
        at=at,
        severity=LEVEL_SEVERITY[level],
        expires_at=expires_at,
        days=(expires_at - at).days,
    )


def _tell_unless_restless(
    connection: Connection, *, site_id: int, kind: str, at: datetime, severity: str, **told: Any
) -> None:
    """Tell of what may change back and forth until it has done so too often, and then of what is worse."""
    newest = select(Event.created_at, Event.severity).where(Event.site_id == site_id, Event.kind == kind)
    recent = [
        SEVERITIES.index(before)
        for moment, before in connection.execute(newest.order_by(Event.id.desc()).limit(MOST_TOLD))
        if moment > at - RESTLESS_TIME and before is not None
    ]
    if len(recent) == MOST_TOLD - 1:
        told["restless"] = True
    worse = SEVERITIES.index(severity) > max(recent, default=-1)
    enough = len(recent) >= MOST_TOLD and not worse
    events.add(connection, site_id=site_id, kind=kind, at=at, severity=severity, told=not enough, **told)
