"""The times in which sites were down: of one site by when they began, across sites by when they were noticed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session, load_only

from cloudeye.models import Incident, Site, SiteTag
from cloudeye.services.parts import part_of


def open_incident(session: Session, site: Site) -> Incident | None:
    """Return the incident that a site is in."""
    if site.state != "down":
        return None
    newest = session.scalar(
        select(Incident).where(Incident.site_id == site.id).order_by(Incident.started_at.desc()).limit(1)
    )
    return newest if newest is not None and newest.ended_at is None else None


def incidents_across(
    session: Session, owner_id: int | None, *, before: int | None, limit: int, is_open: bool | None, tag: str | None
) -> tuple[Sequence[tuple[Incident, Site]], int | None]:
    """Return a part of the incidents of many sites, those noticed last first.

    Args:
        session: to read by.
        owner_id: whose sites; None for everybody's.
        before: the number that the part before gave back; None for the newest.
        limit: incidents in a part. With a tag there may be fewer, even none, and still be more to come.
        is_open: True for those that last, False for those that have ended.
        tag: of the sites.

    Returns:
        The incidents with their sites, and the number that the next part begins before; None at the end.
    """
    query = select(Incident, Site).join(Site, Site.id == Incident.site_id)
    if tag is not None:
        query = query.where(exists().where(SiteTag.site_id == Incident.site_id, SiteTag.tag == tag))
    rows, last = part_of(
        session,
        _walk(owner_id, before, is_open),
        query.options(load_only(Site.id, Site.name, Site.url)),
        Incident.id,
        limit=limit,
        filtered=tag is not None,
    )
    return [(incident, site) for incident, site, _ in rows], last


def _walk(owner_id: int | None, before: int | None, is_open: bool | None) -> Select[Any]:
    """The numbers of incidents, by what an index knows."""
    query = select(Incident.id)
    if owner_id is not None:
        query = query.where(Incident.owner_id == owner_id)
    if is_open is not None:
        query = query.where(Incident.ended_at.is_(None) if is_open else Incident.ended_at.is_not(None))
    if before is not None:
        query = query.where(Incident.id < before)
    return query
