"""Findings of many sites, in parts: whatever the filter, each part costs the same, however many findings there are.

Sites are walked in the order of their numbers, some at a time, and their findings read by the index that begins with
the site. So a rare severity among a hundred million findings makes parts short, not slow.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, or_, select, tuple_
from sqlalchemy.orm import Session

from cloudeye.models import SEVERITIES, Finding, Site, SiteTag

SITES_AT_ONCE = 200
MOST_SITES = 1_000  # looked into for one part


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part begins: at a site, behind one of its findings when there is one."""

    site_id: int
    finding_id: int | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which findings are wanted; None: whichever."""

    state: str | None = None
    severity: str | None = None
    tag: str | None = None


def findings_across(
    session: Session, owner_id: int | None, begin: Place | None, limit: int, wanted: Filter
) -> tuple[list[tuple[Finding, str, str]], Place | None]:
    """Return findings of a user's sites, site by site.

    Args:
        session: to read with.
        owner_id: whose sites; None for everybody's.
        begin: where the part before ended; None for the first.
        limit: findings in a part at most.
        wanted: which ones.

    Returns:
        Each finding with the name and the URL of its site, and where the next part begins: None at the end. A part
        may be short and still not be the last.
    """
    found: list[tuple[Finding, str, str]] = []
    place = begin or Place(0)
    for _ in range(MOST_SITES // SITES_AT_ONCE):
        sites, following = _sites(session, owner_id, place.site_id, wanted)
        found += _findings(session, sites, place, limit + 1 - len(found), wanted)
        if len(found) > limit:
            last = found[limit - 1][0]
            return found[:limit], Place(last.site_id, last.id)
        if following is None:
            return found, None
        place = Place(following)
    return found, place


def _sites(session: Session, owner_id: int | None, first: int, wanted: Filter) -> tuple[list[int], int | None]:
    """The numbers of the next sites that may have any, and that of the site behind all that were looked at."""
    if owner_id is None and wanted.tag is not None:
        tagged = select(SiteTag.site_id).where(SiteTag.tag == wanted.tag, SiteTag.site_id >= first)
        numbers = list(session.scalars(tagged.order_by(SiteTag.site_id).limit(SITES_AT_ONCE + 1)))
        return numbers[:SITES_AT_ONCE], numbers[SITES_AT_ONCE] if len(numbers) > SITES_AT_ONCE else None
    query = select(Site.id, Site.open_findings, Site.worst_severity).where(Site.id >= first).order_by(Site.id)
    if owner_id is not None:
        query = query.where(Site.owner_id == owner_id)
    rows = session.execute(query.limit(SITES_AT_ONCE + 1)).all()
    following = rows[SITES_AT_ONCE].id if len(rows) > SITES_AT_ONCE else None
    numbers = [row.id for row in rows[:SITES_AT_ONCE] if _may_have(row.open_findings, row.worst_severity, wanted)]
    if wanted.tag is not None and numbers:
        # Of the user's own: others may have given the same tag to any number of sites.
        mine = select(SiteTag.site_id).where(SiteTag.site_id.in_(numbers), SiteTag.tag == wanted.tag)
        numbers = list(session.scalars(mine))
    return numbers, following


def _may_have(open_findings: int, worst: str | None, wanted: Filter) -> bool:
    """Whether a site may have such findings, by what its own row says of them."""
    if wanted.state == "open" and not open_findings:
        return False
    if wanted.state in ("open", "acknowledged") and wanted.severity is not None:
        return worst is not None and SEVERITIES.index(worst) >= SEVERITIES.index(wanted.severity)
    return True


def _findings(
    session: Session, sites: list[int], place: Place, limit: int, wanted: Filter
) -> list[tuple[Finding, str, str]]:
    if not sites:
        return []
    # Without a join: engines would begin it at the sites, and sort what they found.
    query = select(Finding).where(Finding.site_id.in_(sites))
    if wanted.state is not None:
        query = query.where(Finding.state == wanted.state)
    if wanted.severity is not None:
        query = query.where(Finding.severity == wanted.severity)
    last = session.get(Finding, place.finding_id) if place.finding_id is not None else None
    if last is not None and last.site_id == place.site_id:  # else it is gone: what comes again does no harm
        behind = tuple_(Finding.code, Finding.subject) > (last.code, last.subject)
        query = query.where(or_(Finding.site_id > last.site_id, and_(Finding.site_id == last.site_id, behind)))
    rows = session.scalars(query.order_by(Finding.site_id, Finding.code, Finding.subject).limit(limit)).all()
    if not rows:
        return []
    named = select(Site.id, Site.name, Site.url).where(Site.id.in_(sorted({row.site_id for row in rows})))
    names = {number: (name, url) for number, name, url in session.execute(named)}
    return [(row, *names[row.site_id]) for row in rows if row.site_id in names]  # one may be gone meanwhile
