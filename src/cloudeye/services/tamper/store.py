"""Keep what pages were like: the baseline, the last versions that differed from it, each body once.

What costs time (reading pages, comparing, compressing) is done by `weigh`, which touches no database and suits a
thread; `standing_of` reads what it needs before, `record` writes what came of it. `record` does all of it by itself
where a page was not weighed, or was weighed against what somebody has replaced meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, exists, insert, select, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.orm import Session

from cloudeye.models import PageBody, PageVersion, Site, utcnow
from cloudeye.services.tamper import snapshots

if TYPE_CHECKING:
    from cloudeye.services.tamper.compare import Comparison
    from cloudeye.services.tamper.page import Page
    from cloudeye.services.tamper.rules import IgnoreRules

VERSIONS_KEPT = 10  # of a site, beside its baseline
# A body that nobody names is kept so long: its version may not be written yet.
ORPHANS_KEPT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a site's page is compared with. `body` is the baseline's, None where there is none or no need of it.

    One that was weighed against says by an empty body that there was one.
    """

    baseline_id: int | None
    page_hash: str | None
    state: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Packed:
    """A page as it is kept: small, so that many can wait to be written."""

    kind: str
    status: int
    digest: str
    name: str
    size: int
    body: bytes
    rules: IgnoreRules

    @classmethod
    def of(cls, page: Page) -> Packed:
        """Pack a page."""
        answer = page.answer
        return cls(
            page.kind,
            page.status,
            page.digest,
            snapshots.name(answer),
            snapshots.size(answer),
            page.to_bytes(),
            page.rules,
        )


@dataclass(frozen=True, slots=True)
class Weighed:
    """A page, and what it is to the standing that it was weighed against."""

    page: Packed
    standing: Standing
    comparison: Comparison


def standing_of(connection: Connection, site_id: int, digest: str | None = None) -> Standing | None:
    """Read what a site's page is compared with; None when there is no such site.

    Args:
        connection: to read with.
        site_id: the site.
        digest: of the page that was seen; the baseline's body is left out when nothing is to be said of that page.
    """
    row = connection.execute(
        select(Site.baseline_id, Site.page_hash, Site.tamper_state).where(Site.id == site_id)
    ).one_or_none()
    if row is None:
        return None
    body = None
    if row.baseline_id is not None and (digest is None or digest != row.page_hash):
        body = connection.scalar(
            select(PageBody.body)
            .join(PageVersion, PageVersion.hash == PageBody.hash)
            .where(PageVersion.id == row.baseline_id, PageVersion.site_id == site_id)
        )
    return Standing(row.baseline_id, row.page_hash, row.tamper_state, body)


def weigh(standing: Standing, page: Page) -> Weighed:
    """Compare a page with what it is to be compared with. Touches no database; safe in any thread."""
    from cloudeye.services.tamper.compare import RESTORED, SAME, compare

    comparison = SAME
    if standing.body is not None and page.kind != "packed":
        comparison = compare(type(page).from_bytes(standing.body, page.rules), page)
        if not comparison.alerts and standing.state == "changed":
            comparison = replace(RESTORED, partial=comparison.partial)
    return Weighed(Packed.of(page), replace(standing, body=None if standing.body is None else b""), comparison)


def record(
    connection: Connection, site_id: int, page: Page | Packed, at: datetime, weighed: Weighed | None = None
) -> Comparison | None:
    """Write down what a page was like, in the connection's transaction.

    The first page becomes the baseline. One that differs from it is kept as a version, once for each way in which it
    differs; the page that is as the baseline again is told once, too. One that changes ten times within an hour
    is then told only if it becomes worse, until an hour has passed.

    Args:
        connection: committed by the caller.
        site_id: the site.
        page: as it was seen, read by the site's rules.
        at: when, an aware time.
        weighed: what `weigh` said, if it was asked before.

    Returns:
        What is to be told, with the number of the version; None when there is nothing new to say.
    """
    if page.kind == "packed":
        return None
    if weighed is None or not _still_stands(connection, site_id, weighed.standing):
        found = standing_of(connection, site_id, page.digest)
        if found is None:
            return None
        weighed = weigh(found, _whole(page))
    standing, comparison = weighed.standing, weighed.comparison
    if standing.baseline_id is not None and page.digest == standing.page_hash:
        return None
    if standing.baseline_id is None or standing.body is None:
        # The first page; or the baseline's body is gone, which is then no reason to say anything.
        number = _keep(connection, site_id, weighed.page, at, None)
        _settle(connection, site_id, page, at, standing, "unchanged", baseline_id=number, severity=None)
        return None
    if not comparison.alerts:
        _settle(connection, site_id, page, at, standing, "unchanged", baseline_id=standing.baseline_id, severity=None)
        return comparison if comparison.restored else None
    number = _keep(connection, site_id, weighed.page, at, comparison)
    _settle(
        connection, site_id, page, at, standing, "changed",
        baseline_id=standing.baseline_id, severity=comparison.severity,
    )  # fmt: skip
    _drop_oldest(connection, site_id, standing.baseline_id)
    return replace(comparison, version_id=number)


def _still_stands(connection: Connection, site_id: int, standing: Standing) -> bool:
    """Is a site's page still to be compared with what it was compared with."""
    query = select(Site.baseline_id, Site.page_hash, Site.tamper_state).where(Site.id == site_id)
    row = connection.execute(query).one_or_none()
    return row is not None and tuple(row) == (standing.baseline_id, standing.page_hash, standing.state)


def _whole(page: Page | Packed) -> Page:
    if not isinstance(page, Packed):
        return page
    from cloudeye.services.tamper.page import Page as Whole

    return Whole.from_bytes(page.body, page.rules)


def _settle(
    connection: Connection,
    site_id: int,
    page: Page | Packed,
    at: datetime,
    standing: Standing,
    state: str,
    **values: Any,
) -> None:
    values = {"tamper_state": state, "page_hash": page.digest, "tamper_severity": values.pop("severity"), **values}
    if state != standing.state:
        values["tamper_since"] = at
    connection.execute(update(Site).where(Site.id == site_id).values(values))


def _keep(connection: Connection, site_id: int, page: Packed, at: datetime, comparison: Comparison | None) -> int:
    """Add a version, and its body unless that is known; returns the version's number."""
    body = {"hash": page.name, "body": page.body, "size": page.size, "created_at": utcnow()}
    # Of a body that is there already the time alone is written anew, so that no cleaning takes it away meanwhile.
    if connection.dialect.name == "sqlite":
        statement: Any = sqlite.insert(PageBody).values(body)
        statement = statement.on_conflict_do_update(index_elements=["hash"], set_={"created_at": body["created_at"]})
    else:
        statement = mysql.insert(PageBody).values(body).on_duplicate_key_update(created_at=body["created_at"])
    connection.execute(statement)
    changes = None if comparison is None else _as_json(comparison)
    result = connection.execute(
        insert(PageVersion).values(
            site_id=site_id,
            hash=page.name,
            seen_at=at,
            status_code=page.status,
            severity=None if comparison is None else comparison.severity,
            changes=changes,
            diff=None if comparison is None else comparison.diff,
        )
    )
    return int(result.inserted_primary_key[0])  # type: ignore[index]


def _as_json(comparison: Comparison) -> list[dict[str, Any]]:
    found = [{"kind": one.kind, "severity": one.severity, "text": one.text} for one in comparison.changes]
    if comparison.more:
        found.append({"kind": "more", "severity": "info", "text": f"And {comparison.more} more"})
    if comparison.partial:
        found.append({"kind": "partial", "severity": "info", "text": "Not all of the page could be compared"})
    return found


def _drop_oldest(connection: Connection, site_id: int, baseline_id: int) -> None:
    numbers = connection.scalars(
        select(PageVersion.id)
        .where(PageVersion.site_id == site_id, PageVersion.id != baseline_id)
        .order_by(PageVersion.id.desc())
        .offset(VERSIONS_KEPT)
        .limit(100)
    ).all()
    if numbers:
        connection.execute(delete(PageVersion).where(PageVersion.id.in_(numbers)))


# -- what people ask for ---------------------------------------------------------------------------------------


def newest(session: Session, site_id: int) -> PageVersion | None:
    """Return the version of a site's page that was seen last."""
    query = select(PageVersion).where(PageVersion.site_id == site_id).order_by(PageVersion.id.desc()).limit(1)
    return session.scalars(query).first()


def accept(session: Session, site: Site, version: PageVersion, at: datetime) -> None:
    """Make a version the baseline. The page is compared anew at the next visit, whatever it is like by then.

    Args:
        session: committed by the caller.
        site: whose page it is.
        version: one of its own.
        at: when it was accepted, an aware time.
    """
    version.accepted_at = at
    latest = newest(session, site.id)
    # Past the ORM: sync writes the same columns, and of what is watched nothing changes.
    session.flush()
    session.execute(
        update(Site)
        .where(Site.id == site.id)
        .values(
            baseline_id=version.id,
            tamper_state="unchanged" if latest is None or latest.id == version.id else "unknown",
            tamper_severity=None,
            tamper_since=at,
            page_hash=None,
            body_digest=None,
        )
        .execution_options(synchronize_session=False)
    )
    session.refresh(site)


# -- cleaning --------------------------------------------------------------------------------------------------

_swept: dict[str, tuple[datetime, str]] = {}  # how far this process has looked, by database


def prune_bodies(connection: Connection, limit: int) -> bool:
    """Delete bodies that no version names any more, among the next `limit` of them; is there more to look at.

    They are walked in the order of their time by an index that holds all that is asked, so a part costs the same
    however many there are; behind the last one it begins again.
    """
    place = str(connection.engine.url)
    old = PageBody.created_at < utcnow() - ORPHANS_KEPT
    query = select(PageBody.created_at, PageBody.hash).where(old)
    begin = _swept.get(place)
    if begin is not None:
        query = query.where(
            PageBody.created_at >= begin[0], (PageBody.created_at > begin[0]) | (PageBody.hash > begin[1])
        )
    rows = connection.execute(query.order_by(PageBody.created_at, PageBody.hash).limit(limit)).all()
    if not rows:
        _swept.pop(place, None)
        return False
    hashes = [row.hash for row in rows]
    named = set(connection.scalars(select(PageVersion.hash).where(PageVersion.hash.in_(hashes)).distinct()))
    orphans = [name for name in hashes if name not in named]
    if orphans:
        unnamed = ~exists().where(PageVersion.hash == PageBody.hash)
        connection.execute(delete(PageBody).where(PageBody.hash.in_(sorted(orphans)), old, unnamed))
    if len(rows) < limit:
        _swept.pop(place, None)
        return False
    _swept[place] = (rows[-1].created_at, rows[-1].hash)
    return True
