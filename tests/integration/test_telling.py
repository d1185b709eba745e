"""How often somebody is told of what changes back and forth."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from cloudeye.extensions import db
from cloudeye.models import Event
from cloudeye.services.tamper.compare import Change, Comparison
from cloudeye.sync.telling import MOST_TOLD, RESTLESS_TIME, tell_page
from tests.integration.world import World

START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
CHANGED = Comparison("medium", (Change("text", "medium", "the other page"),), "+the other page\n")


def tell(world: World, site_id: int, *minutes: float, change: Comparison = CHANGED) -> list[Event]:
    """Let a page change at these minutes; what was told, and what was only kept."""
    with world.app.app_context():
        connection = db.session.connection()
        for minute in minutes:
            tell_page(connection, site_id, world.ids["owner"], START + timedelta(minutes=minute), change)
        db.session.commit()
        return list(db.session.scalars(select(Event).where(Event.site_id == site_id).order_by(Event.id)))


def test_a_page_that_changes_back_and_forth_is_told_of_so_often_and_then_kept_in_the_history(world: World) -> None:
    site = world.log_in("owner").has_site()
    events = tell(world, site, *range(20))
    assert [event.dispatch_after is not None for event in events] == [True] * MOST_TOLD + [False] * (20 - MOST_TOLD)
    assert ["restless" in event.data for event in events[:MOST_TOLD]] == [False] * (MOST_TOLD - 1) + [True]


def test_it_is_told_of_again_once_it_kept_still_for_an_hour(world: World) -> None:
    site = world.log_in("owner").has_site()
    later = RESTLESS_TIME / timedelta(minutes=1) + 20
    events = tell(world, site, *range(20), later)
    assert events[-1].dispatch_after is not None
    assert "restless" not in events[-1].data


def test_another_site_that_changes_meanwhile_is_told_of(world: World) -> None:
    owner = world.log_in("owner")
    tell(world, owner.has_site(), *range(20))
    (event,) = tell(world, owner.has_site(url="https://example.org/"), 20)
    assert event.dispatch_after is not None


def test_what_is_worse_is_told_of_all_the_same(world: World) -> None:
    site = world.log_in("owner").has_site()
    tell(world, site, *range(20))
    events = tell(world, site, 20, change=replace(CHANGED, severity="critical"))
    assert events[-1].dispatch_after is not None
    assert [event.dispatch_after is None for event in tell(world, site, 21)[-1:]] == [True]
