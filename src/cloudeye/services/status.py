"""What a status page shows to anybody: of each site its name and how it is, and nothing of how it is asked.

A page is looked at in two steps. The first reads where its sites stand, and from that follows a fingerprint of all that
the page will say; only who has not seen that yet makes the second one worth it, which adds up their checks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from cloudeye.models import Site, SiteTag, StatusPage, User
from cloudeye.services import maintenance
from cloudeye.services.status_pages import SLUG
from cloudeye.services.usability.tally import Tally, hour_of
from cloudeye.services.usability.uptime import shares_of
from cloudeye.turns import Turns

SHOWN = 100  # sites of a page at most; their figures are read anew every few seconds
AHEAD = timedelta(days=7)  # maintenance that begins later is not told yet
STATES = ("up", "down", "maintenance", "unknown", "paused")

_PAGE: tuple[Any, ...] = (
    StatusPage.id, StatusPage.owner_id, StatusPage.slug, StatusPage.title, StatusPage.tag, StatusPage.language,
    StatusPage.version,
)  # fmt: skip
# Not the URL, nor the error: both may hold what is nobody's business.
_SITE: tuple[Any, ...] = (
    Site.id, Site.name, Site.state, Site.paused, Site.maintenance, Site.state_since, Site.last_checked_at,
    Site.rolled_until,
)  # fmt: skip


@dataclass(frozen=True)
class SiteStatus:
    """Where one site stands.

    `state` is one of STATES; of one that is down `since` is when its incident began. `maintenance` is what lasts now,
    or begins next.
    """

    id: int
    name: str
    state: str
    since: datetime | None
    rolled_until: datetime | None
    maintenance: tuple[datetime, datetime] | None


@dataclass(frozen=True)
class Status:
    """Where the sites of a page stand. `more`: there are others, which it does not show."""

    page: Row[Any]
    now: datetime
    sites: list[SiteStatus]
    more: bool
    checked_at: datetime | None
    fingerprint: str

    @property
    def state(self) -> str:
        """That of all of them together."""
        found = {site.state for site in self.sites}
        return next((state for state in ("down", "maintenance", "up") if state in found), "unknown")


def find_page(session: Session, slug: str) -> Row[Any] | None:
    """Return the page at an address; those of somebody whose account is not active are not shown."""
    if not re.fullmatch(SLUG, slug):
        return None
    query = select(*_PAGE).join(User, User.id == StatusPage.owner_id)
    return session.execute(query.where(StatusPage.slug == slug, User.active.is_(True))).one_or_none()


def status_of(
    session: Session, page: Row[Any], now: datetime, *, release: str, site_id: int | None = None
) -> Status | None:
    """Return where the sites of a page stand, those that were added first at its beginning.

    Args:
        session: to read by.
        page: of `find_page`.
        now: when it is looked at.
        release: of the code that will write it down; another one may say it otherwise.
        site_id: one site alone.

    Returns:
        None when the page does not show that one site.
    """
    query = select(*_SITE).where(Site.owner_id == page.owner_id).order_by(Site.id).limit(SHOWN + 1)
    if page.tag is not None:
        query = query.join(SiteTag, SiteTag.site_id == Site.id).where(SiteTag.tag == page.tag)
    if site_id is not None:
        query = query.where(Site.id == site_id)
    rows = session.execute(query).all()
    if site_id is not None and not rows:
        return None
    sites, turns = [], Turns.of_page()
    for row in rows[:SHOWN]:
        windows = [] if row.paused else maintenance.coming(row.maintenance, now, AHEAD)
        state, planned = _state(row, windows, now), windows[0] if windows else None
        sites.append(SiteStatus(row.id, row.name, state, row.state_since, row.rolled_until, planned))
        turns.rest()
    # Uptimes change with a check, which moves last_checked_at, and with the hour, which their windows begin with.
    checks = [row.last_checked_at for row in rows[:SHOWN]]
    said = repr((release, tuple(page), site_id, hour_of(now), len(rows), sites, checks))
    checked_at = max((at for at in checks if at is not None), default=None)
    fingerprint = hashlib.sha256(said.encode()).hexdigest()[:20]
    return Status(page, now, sites, len(rows) > SHOWN, checked_at, fingerprint)


def figures_of(session: Session, status: Status, *windows: str) -> dict[int, dict[str, Tally]]:
    """Add up the checks of a page's sites in some windows of `usability.uptime`, by site and window."""
    return shares_of(session, status.sites, status.now, *windows)


def _state(row: Row[Any], windows: Sequence[tuple[datetime, datetime]], now: datetime) -> str:
    if row.paused:
        return "paused"
    if any(start <= now for start, _ in windows):
        return "maintenance"
    return str(row.state)
