"""Checks as sites make them, and what their figures are when all of them are looked at."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from marshmallow import RAISE
from sqlalchemy import insert

from cloudeye.extensions import db
from cloudeye.models import CheckResult
from cloudeye.schemas.usability import HistorySchema
from cloudeye.services.usability.sketch import ACCURACY
from cloudeye.sync import rollup
from cloudeye.sync.work import Work
from tests.integration.world import Person, World

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 11, 21, 20, 25, 30, 123456, tzinfo=UTC)
PHASES = ("dns_ms", "connect_ms", "tls_ms", "first_byte_ms", "total_ms")


@dataclass
class Check:
    at: datetime
    up: bool
    latency: float | None
    maintenance: bool = False

    def row(self, site_id: int) -> dict[str, Any]:
        parts = (0.1, 0.2, 0.3, 0.35, 1.05)
        phases = {
            name: None if self.latency is None else part * self.latency
            for name, part in zip(PHASES, parts, strict=True)
        }
        return {
            "site_id": site_id,
            "checked_at": self.at,
            "state": "up" if self.up else "down",
            "latency_ms": self.latency,
            "maintenance": self.maintenance,
            **phases,
        }


def checks_between(since: datetime, until: datetime, every: timedelta, seed: int = 1) -> list[Check]:
    """Return checks as a site makes them: some fail, some of those after they answered, some lie in maintenance."""
    chance, found, at = random.Random(seed), [], since
    while at < until:
        up = chance.random() > 0.03
        latency = chance.lognormvariate(4.5, 0.6) if up or chance.random() < 0.5 else None
        found.append(Check(at, up, latency, maintenance=chance.random() < 0.02))
        at += every
    return found


def add(world: World, site: int, checks: Sequence[Check]) -> None:
    with world.app.app_context():
        for start in range(0, len(checks), 1000):
            db.session.execute(insert(CheckResult), [check.row(site) for check in checks[start : start + 1000]])
        db.session.commit()


def roll_up(world: World, now: datetime) -> Work:
    """Let sync add up everything that can be added up by now."""
    with world.app.app_context():
        work = Work(engine=db.engine, settings=world.config.sync, me="me", probe=lambda ask: pytest.fail("no probe"))
    work.clock = lambda: now
    for _ in range(10_000):
        work.rolling.next = None
        rollup.rollup(work)
        if work.rolling.next == now + rollup.IDLE:
            return work
    raise AssertionError("it never comes to an end")


def exact(checks: Sequence[Check]) -> dict[str, Any]:
    """Return the figures of checks by the definitions in docs/usability.md, from all of them."""
    outside = [check for check in checks if not check.maintenance]
    down = sum(not check.up for check in outside)
    latencies = sorted(check.latency for check in outside if check.up and check.latency is not None)

    def rank(share: float) -> Any:
        if not latencies:
            return None
        found = latencies[math.ceil(share * len(latencies)) - 1]
        return pytest.approx(found, abs=found * ACCURACY + 0.005, rel=0)  # and it is given to a hundredth

    return {
        "checks": len(outside),
        "down": down,
        "maintenance": len(checks) - len(outside),
        "uptime": pytest.approx(1 - down / len(outside), abs=1e-7) if outside else None,
        "p50_ms": rank(0.5),
        "p95_ms": rank(0.95),
        "p99_ms": rank(0.99),
    }


def windows(checks: Sequence[Check]) -> dict[str, Any]:
    hour = NOW.replace(minute=0, second=0, microsecond=0)
    found = {}
    for name, length in (("24h", DAY), ("7d", 7 * DAY), ("30d", 30 * DAY), ("90d", 90 * DAY)):
        since = hour - length
        figures = exact([check for check in checks if check.at >= since])
        found[name] = {"since": since.isoformat(), **figures}
    return found


def usability(person: Person, site: int, suffix: str = "", **query: str) -> Any:
    answer = person.gets(f"sites/{site}/usability{suffix}?{urlencode(query)}")
    assert answer.status_code == 200, answer.text
    found = answer.json["data"]["history" if suffix else "usability"]
    if suffix:  # which is not written by its schema, that being slow
        HistorySchema(unknown=RAISE).load(found)
    return found
