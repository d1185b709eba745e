"""Findings of a site, written down as sync does, and read again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from cloudeye.extensions import db
from cloudeye.models import Finding, Site, utcnow
from cloudeye.services.findings import store
from cloudeye.services.findings.catalogue import codes_of
from cloudeye.services.findings.found import Found, Look
from tests.integration.world import World

VISIT = codes_of("transport", "certificate", "headers", "cookies", "page")
SCAN = codes_of("tls", "plain", "cors", "redirects", "files") | {"directory_listing"}


def recorded(
    world: World, site: int, *found: Found, kind: str = "visit", looked: frozenset[str] | None = None, at: Any = None
) -> list[tuple[str, str, str]]:
    """Write a look down as sync does; return what changed."""
    look = Look(found, (VISIT if kind == "visit" else SCAN) if looked is None else looked)
    with world.app.app_context(), db.engine.begin() as connection:
        changes = store.record(connection, site, look, kind, at or utcnow())
    return [(change.code, change.subject, change.change) for change in changes]


def row_of(world: World, site: int) -> Site:
    with world.app.app_context():
        found = db.session.get_one(Site, site)
        db.session.expunge(found)
        return found


def finding(world: World, site: int, code: str) -> Finding:
    with world.app.app_context():
        found = db.session.scalars(select(Finding).where(Finding.site_id == site, Finding.code == code)).one()
        db.session.expunge(found)
        return found
