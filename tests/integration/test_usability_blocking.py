"""No answer about usability holds gevent's hub for more than 20 ms, however long the history behind it is."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from cloudeye.extensions import db
from cloudeye.models import CheckResult, HourlyResult, Incident, Site, SiteTag, User, utcnow
from cloudeye.services.usability.tally import HOUR, Tally, hour_of
from cloudeye.tokens import start_session
from tests.integration.test_blocking_api import LIMIT, hold_of, worker
from tests.integration.world import World

pytestmark = pytest.mark.alone

SITES, HOURS, PER_HOUR = 100, 400 * 24, 180  # an interval of 20 s, for as long as hours are kept
FRESH_WORKERS, MOST_WORKERS, TRIES = 2, 6, 2


def fill(world: World) -> tuple[int, dict[str, str]]:
    """Give the owner sites with as much behind them as there can be; return the first and how to ask for it."""
    now, chance = utcnow(), random.Random(1)
    top = hour_of(now)
    kinds = []
    for _ in range(20):
        tally = Tally()
        for _ in range(PER_HOUR):
            tally.add("up", False, chance.lognormvariate(4.5, 0.4), 1.0, 2.0, 3.0, 90.0, 100.0)
        kinds.append(tally.row())
    times = {"dns_ms": 1.0, "connect_ms": 2.0, "tls_ms": 3.0, "first_byte_ms": 90.0, "total_ms": 100.0}
    with world.app.test_request_context():
        session = db.session()
        given: dict[str, Any] = {"owner_id": world.ids["owner"], "url": "https://example.com/", "interval": 20}
        sites = [Site(**given, name=f"site {n}", state="down", rolled_until=top) for n in range(SITES)]
        session.add_all(sites)
        session.flush()
        session.add_all(SiteTag(site_id=site.id, tag="shop") for site in sites)
        for place, site in enumerate(sites):
            hours = range(1, (HOURS if place == 0 else 25) + 1)
            session.execute(
                insert(HourlyResult),
                [{"site_id": site.id, "hour": top - n * HOUR, **kinds[n % len(kinds)]} for n in hours],
            )
            checks = range(7 * PER_HOUR if place == 0 else PER_HOUR)
            session.execute(
                insert(CheckResult),
                [
                    {
                        "site_id": site.id,
                        "checked_at": now - timedelta(seconds=20 * n),
                        "state": "up",
                        "latency_ms": 99.0,
                    }
                    | times
                    for n in checks
                ],
            )
            session.add_all(
                Incident(site_id=site.id, owner_id=world.ids["owner"], started_at=now - n * HOUR, cause="x" * 200)
                for n in range(1, 300 if place == 0 else 20)
            )
        token = start_session(session.get_one(User, world.ids["owner"]), "password", "the monitor")["access_token"]
        session.commit()
        return sites[0].id, {"Authorization": f"Bearer {token}"}


@pytest.mark.timeout(600)
def test_no_answer_about_usability_holds_the_hub(world: World, tmp_path: Path) -> None:
    site, headers = fill(world)

    def since(**ago: float) -> str:
        return f"{utcnow() - timedelta(**ago):%Y-%m-%dT%H:%M:%SZ}"

    paths = {
        "90 days": f"sites/{site}/usability",
        "500 probes": f"sites/{site}/usability/history?from={since(hours=2.7)}",
        "500 hours": f"sites/{site}/usability/history?from={since(days=20)}",
        "400 days": f"sites/{site}/usability/history?from={since(days=399)}",
        "100 sites": "usability?per_page=100",
        "100 sites of a tag": "usability?per_page=100&tag=shop&sort=-state",
        "200 incidents of a site": f"sites/{site}/incidents?limit=200",
        "100 incidents": "incidents?limit=100",
        "100 incidents of a tag": "incidents?limit=100&tag=shop&state=open",
    }
    holds: dict[str, list[float]] = {name: [] for name in paths}
    took: dict[str, list[float]] = {name: [] for name in paths}
    for number in range(MOST_WORKERS):
        if number >= FRESH_WORKERS and max(min(tries[::TRIES]) for tries in holds.values()) <= LIMIT:
            break
        with worker(world, tmp_path) as client:
            for _ in range(TRIES):
                for name, path in paths.items():
                    began = time.perf_counter()
                    status, (held, _cpu) = hold_of(client, "GET", f"/api/v1/{path}", headers=headers)
                    assert status == 200, path
                    took[name].append(1000 * (time.perf_counter() - began))
                    holds[name].append(held)
    print("\n| | answered within | held the hub for | when asked again |\n|---|---|---|---|")
    for name, tries in holds.items():
        print(f"| {name} | {min(took[name]):.0f} ms | {min(tries[::TRIES]):.1f} ms | {min(tries):.1f} ms |")
    assert {name: min(tries[::TRIES]) for name, tries in holds.items() if min(tries[::TRIES]) > LIMIT} == {}
