"""Events and targets for tests of alerts, put straight into a stack's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from cloudeye.config import Config
from cloudeye.db import make_engine
from cloudeye.models import AlertTarget, Event, Message, Site, User, utcnow
from cloudeye.services import events
from cloudeye.services.ask import Ask
from cloudeye.services.probe import ProbeResult
from cloudeye.services.webhooks import make_secret
from cloudeye.sync.carriers import Post
from cloudeye.sync.work import Work
from tests.integration.world import environment
from tests.unit.cloudeye.sync_stack import Stack


class Scene(Stack):
    """A stack with somebody who watches sites and wants to be told."""

    def has_user(self, name: str) -> int:
        """Add somebody with an address of their own, which is verified; return their number."""
        with Session(self.engine) as session:
            user = User(username=name, email=f"{name}@example.com", email_verified_at=utcnow())
            session.add(user)
            session.commit()
            return user.id

    def has_site(self, owner_id: int = 1, **given: Any) -> int:
        """Add a site that nobody will probe; return its number."""
        with Session(self.engine) as session:
            values = {"name": "Example", "url": "https://example.com/", "interval": 60, **given}
            site = Site(owner_id=owner_id, next_check_at=utcnow() + timedelta(days=1), **values)
            session.add(site)
            session.commit()
            return site.id

    def has_target(self, kind: str = "mail", owner_id: int = 1, **given: Any) -> int:
        """Add a target that is confirmed; return its number."""
        with Session(self.engine) as session:
            number = len(self.targets()) + 1
            values: dict[str, Any] = {
                "name": f"target {number}", "address": "owner@example.com", "confirmed_at": utcnow(),
                "minimum_severity": "low", "secret": make_secret() if kind == "webhook" else None, **given,
            }  # fmt: skip
            target = AlertTarget(owner_id=owner_id, kind=kind, **values)
            session.add(target)
            session.commit()
            return target.id

    def happens(self, site_id: int, kind: str = "down", ago: float = 60.0, owner_id: int = 1, **given: Any) -> str:
        """Add an event, so many seconds ago; return its name."""
        given = {"cause": "http_status: the site answered with status 500", **given} if kind == "down" else given
        with self.engine.begin() as connection:
            at = utcnow() - timedelta(seconds=ago)
            return events.add(connection, site_id=site_id, owner_id=owner_id, kind=kind, at=at, **given)

    def messages(self) -> list[Message]:
        """Return what lies in the outbox."""
        with Session(self.engine) as session:
            return list(session.scalars(select(Message).order_by(Message.id)))

    def message(self, name: str) -> Message:
        """Return the message of this name."""
        return next(message for message in self.messages() if message.event_id == name)

    def waiting(self) -> list[datetime]:
        """Return until when events wait to be dispatched."""
        with Session(self.engine) as session:
            found = session.scalars(select(Event.dispatch_after).where(Event.dispatch_after.is_not(None)))
            return [time for time in found if time is not None]

    def untold(self) -> list[str]:
        """Return the names of the events of which their history says that nobody was told."""
        with Session(self.engine) as session:
            found = session.scalars(select(Event).order_by(Event.id)).all()
            return [event.event_id for event in found if not event.data.get("told", True)]

    def targets(self) -> list[AlertTarget]:
        """Return the targets of everybody."""
        with Session(self.engine) as session:
            return list(session.scalars(select(AlertTarget).order_by(AlertTarget.id)))

    def target(self, number: int) -> AlertTarget:
        """Return a target."""
        return next(target for target in self.targets() if target.id == number)

    def change(self, table: Any, number: int = 1, **values: Any) -> None:
        """Change a row."""
        with self.engine.begin() as connection:
            connection.execute(update(table).where(table.id == number).values(**values))

    def change_owner(self, **values: Any) -> None:
        """Change the owner's account."""
        self.change(User, 1, **values)

    def make_due(self) -> None:
        """Let the time of every next attempt come."""
        with self.engine.begin() as connection:
            waits = (Message.sent_at.is_(None), Message.next_attempt_at.is_not(None))
            connection.execute(update(Message).where(*waits).values(next_attempt_at=utcnow()))

    def work(self, me: str = "test") -> Work:
        """Return what the steps need, for a test that runs one itself. It sends nothing."""
        config = Config.from_environment(environment(self.folder, self.url))
        return Work(
            engine=self.engine_of(config),
            settings=config.sync,
            me=me,
            probe=_refuse,
            post=Post(config, _refuse),
        )

    def engine_of(self, config: Config) -> Engine:
        """Make an engine as a process does; it ends with the stack."""
        engine = make_engine(config)
        self.engines.append(engine)
        return engine

    def __init__(self, folder: Path, url: str | None = None) -> None:
        super().__init__(folder, url)
        self.engines: list[Engine] = []

    def stop(self) -> None:
        """End processes and connections."""
        for engine in self.engines:
            engine.dispose()
        super().stop()


def _refuse(ask: Ask) -> ProbeResult:
    raise AssertionError(f"nobody was to ask {ask.url}")


@contextmanager
def scene_on(engine: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Make a stack on one of the engines, with somebody who has an account."""
    url = None
    if engine == "mariadb":
        server = request.getfixturevalue("mariadb_server")
        server.run("CREATE OR REPLACE DATABASE cloudeye_alerts CHARACTER SET utf8mb4")
        url = server.url("cloudeye_alerts")
    made = Scene(folder, url)
    made.migrate()
    try:
        yield made
    finally:
        made.stop()
