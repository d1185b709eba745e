"""Which sites a caller may see, for every resource that lies below one."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Row
from sqlalchemy.orm import joinedload

from cloudeye.access import caller
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.models import Site
from cloudeye.preconditions import current

_Site = TypeVar("_Site", Site, Row[Any])

WITH_TAGS = (joinedload(Site.tag_rows),)  # in one round trip


def visible_site(site_id: int) -> Site:
    """Return a site that the caller may see, and name it as what the answer is about.

    Raises:
        Problem: 404, there is none; 412, the change was made to another version of it.
    """
    return current(visible(db.session.get(Site, site_id, options=WITH_TAGS)))


def visible(site: _Site | None) -> _Site:
    """Return a site, or the columns of one, if the caller may see it; another's is as unknown as one that never was.

    Raises:
        Problem: 404, there is none.
    """
    if site is None or not (caller().is_admin or site.owner_id == caller().id):
        raise Problem(404, "Site does not exist")
    return site
