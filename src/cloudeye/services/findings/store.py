"""Findings as they are kept: open, acknowledged, fixed, and open again. One row for each code and subject of a site.

SQLAlchemy Core on the caller's connection: what was found, the site's grade and the events of it lie in one
transaction, so a process that is killed leaves all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from cloudeye.models import SEVERITIES, Finding, Site
from cloudeye.services.findings.catalogue import CATALOGUE, codes_of
from cloudeye.services.findings.found import Look
from cloudeye.services.findings.grade import grade

KINDS = ("visit", "scan")
# Fixed findings kept of a site: cookies and paths with names of chance would fill the table.
KEPT_FIXED = 200


@dataclass(frozen=True, slots=True)
class FindingChange:
    """What is new about a finding; `change` is opened, reopened or fixed."""

    code: str
    subject: str
    severity: str
    change: str


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    code: str
    subject: str
    kind: str
    severity: str
    state: str
    evidence: str | None


def record(connection: Connection, site_id: int, look: Look, kind: str, at: datetime) -> list[FindingChange]:
    """Write down what a look found, and the site's grade.

    What is seen is open, unless somebody acknowledged it: then it stays acknowledged for as long as it is seen. What
    is not seen any more is fixed, by a look of the kind that found it and that could have seen it. What was fixed
    and is seen again is open again.

    Args:
        connection: in a transaction of the caller.
        site_id: of a site that is there.
        look: what was found, and for which codes it could have been.
        kind: of KINDS.
        at: when it was looked.

    Returns:
        What changed, the worst first.
    """
    _hold(connection, site_id)
    known = {(row.code, row.subject): row for row in _known(connection, site_id)}
    changes: list[FindingChange] = []
    new: list[dict[str, Any]] = []
    unchanged: list[int] = []
    for found in look.found:
        seen = {"severity": found.severity, "evidence": found.evidence or None, "last_seen_at": at}
        row = known.get((found.code, found.subject))
        if row is None:
            new.append({
                "site_id": site_id, "code": found.code, "subject": found.subject, "kind": kind, "state": "open",
                "first_seen_at": at, **seen,
            })  # fmt: skip
            changes.append(FindingChange(found.code, found.subject, found.severity, "opened"))
        elif row.state == "fixed":
            again = {
                "state": "open", "kind": kind, "fixed_at": None,
                "acknowledged_at": None, "acknowledged_by": None, "note": None,
            }  # fmt: skip
            connection.execute(update(Finding).where(Finding.id == row.id).values(**seen, **again))
            changes.append(FindingChange(found.code, found.subject, found.severity, "reopened"))
        elif (row.severity, row.evidence) == (found.severity, found.evidence or None):
            unchanged.append(row.id)
        else:
            connection.execute(update(Finding).where(Finding.id == row.id).values(**seen))
    if unchanged:  # most of them, most of the time: one statement for all
        connection.execute(update(Finding).where(Finding.id.in_(unchanged)).values(last_seen_at=at))
    if new:
        connection.execute(insert(Finding), new)
    seen_now = {(found.code, found.subject) for found in look.found}
    gone = [row for key, row in known.items() if key not in seen_now and _is_mended(row, look, kind)]
    if gone:
        fixed = update(Finding).where(Finding.id.in_([row.id for row in gone]))
        connection.execute(fixed.values(state="fixed", fixed_at=at))
        changes += [FindingChange(row.code, row.subject, row.severity, "fixed") for row in gone]
    if new:
        _drop_oldest(connection, site_id, sum(row.state == "fixed" for row in known.values()) + len(gone))
    regrade(connection, site_id, answered=codes_of("headers") <= look.looked)
    return sorted(changes, key=lambda change: (-SEVERITIES.index(change.severity), change.code, change.subject))


def _hold(connection: Connection, site_id: int) -> None:
    """Let looks and people who come together write one after the other, each reading what the one before wrote.

    An UPDATE that changes nothing locks the row on either engine; on SQLite nothing else does.
    """
    connection.execute(update(Site).where(Site.id == site_id).values(open_findings=Site.open_findings))


def _is_mended(row: _Known, look: Look, kind: str) -> bool:
    if row.state == "fixed" or row.kind != kind:
        return False
    return row.code in look.looked or row.code not in CATALOGUE  # of a release that knew more codes


def _known(connection: Connection, site_id: int) -> Iterable[_Known]:
    columns = (getattr(Finding, name) for name in _Known.__dataclass_fields__)
    return [_Known(*row) for row in connection.execute(select(*columns).where(Finding.site_id == site_id))]


def _drop_oldest(connection: Connection, site_id: int, fixed: int) -> None:
    if fixed <= KEPT_FIXED:
        return
    of_site = (Finding.site_id == site_id, Finding.state == "fixed")
    oldest = select(Finding.id).where(*of_site).order_by(Finding.fixed_at, Finding.id).limit(fixed - KEPT_FIXED)
    connection.execute(delete(Finding).where(Finding.id.in_(connection.scalars(oldest).all())))


def regrade(connection: Connection, site_id: int, answered: bool = False) -> None:
    """Write the grade that follows from the site's findings on its row.

    A site that has none because it has never `answered` is not good for that: it has no grade.
    """
    rows = connection.execute(
        select(Finding.code, Finding.severity, Finding.state).where(
            Finding.site_id == site_id, Finding.state != "fixed"
        )
    ).all()
    graded = answered or rows or connection.scalar(select(Site.grade).where(Site.id == site_id)) is not None
    found = grade(row.code for row in rows)
    worst = max((row.severity for row in rows), key=SEVERITIES.index, default=None)
    connection.execute(
        update(Site)
        .where(Site.id == site_id)
        .values(
            grade=found.letter if graded else None,
            score=found.score if graded else None,
            worst_severity=worst,
            open_findings=sum(row.state == "open" for row in rows),
        )
    )


def acknowledge(
    connection: Connection, site_id: int, finding_id: int, user_id: int, note: str | None, at: datetime
) -> bool:
    """Take note of an open finding: it is known, and stays so while it is still seen. False when it is fixed."""
    return _settle(
        connection,
        site_id,
        finding_id,
        {"state": "acknowledged", "acknowledged_at": at, "acknowledged_by": user_id, "note": note},
    )


def reopen(connection: Connection, site_id: int, finding_id: int, note: str | None) -> bool:
    """Take an acknowledgement back. False when the finding is fixed."""
    return _settle(
        connection, site_id, finding_id,
        {"state": "open", "acknowledged_at": None, "acknowledged_by": None, "note": note},
    )  # fmt: skip


def _settle(connection: Connection, site_id: int, finding_id: int, values: dict[str, Any]) -> bool:
    _hold(connection, site_id)
    of_site = (Finding.id == finding_id, Finding.site_id == site_id, Finding.state != "fixed")
    if connection.execute(select(Finding.id).where(*of_site)).one_or_none() is None:
        return False
    connection.execute(update(Finding).where(*of_site).values(**values))
    regrade(connection, site_id)
    return True
