"""When a site is probed next, and steps that a process is not needed for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, insert, select, update

from cloudeye.config import SyncConfig
from cloudeye.models import Base, CheckResult, Site, User, utcnow
from cloudeye.services.answer import Answer
from cloudeye.services.probe import ProbeResult, Timings
from cloudeye.sync import claims, records, steps, visits
from cloudeye.sync.schedule import next_slot
from cloudeye.sync.work import Outcome, Work

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
SETTINGS = SyncConfig(
    allow_private=True,
    concurrency=10,
    connections=5,
    batch=10,
    poll_seconds=0.1,
    connect_timeout=1,
    read_timeout=1,
    total_timeout=2,
    max_bytes=1000,
    max_redirects=1,
    minimum_interval=20,
    default_interval=60,
    heartbeat_seconds=5,
)


def result(state: str = "up", text: str | None = None) -> ProbeResult:
    return ProbeResult(state, 200, 1.5, text and "code", text, Timings(), None, "http://x/", 0, 0, False)


@pytest.fixture
def engine(tmp_path: Any) -> Engine:
    engine = create_engine(f"sqlite:///{tmp_path}/db.sqlite3")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        people = (
            {"id": n, "username": "o", "email": f"{n}@example.com", "email_key": f"{n}@example.com"} for n in (1, 2)
        )
        connection.execute(insert(User), list(people))
        connection.execute(
            insert(Site),
            [{"owner_id": 1 + n % 2, "name": f"{n}", "url": f"http://{n}.test/", "interval": 60} for n in range(1, 5)],
        )
    return engine


def make(engine: Engine, me: str = "me", **settings: Any) -> Work:
    values = {name: getattr(SETTINGS, name) for name in SyncConfig.__dataclass_fields__}
    return Work(engine=engine, settings=SyncConfig(**{**values, **settings}), me=me, probe=lambda url: result())


def column(engine: Engine, what: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.scalars(select(what).order_by(Site.id)))


@pytest.mark.parametrize("interval", [1, 20, 60, 86400])
@pytest.mark.parametrize("late", [0.0, 0.01, 0.3, 0.49])
def test_a_site_that_is_probed_late_keeps_its_times(interval: int, late: float) -> None:
    for site_id in range(1, 50):
        slot = next_slot(site_id, interval, NOW)
        following = next_slot(site_id, interval, slot + timedelta(seconds=interval * late))
        assert abs((following - slot).total_seconds() - interval) < 0.001


def test_missed_times_are_left_out() -> None:
    slot = next_slot(7, 60, NOW)
    later = next_slot(7, 60, slot + timedelta(seconds=60 * 9 + 10))
    assert abs((later - slot).total_seconds() - 60 * 10) < 0.001


def test_the_next_probe_is_half_an_interval_away_at_least_and_one_and_a_half_at_most() -> None:
    for site_id in range(1, 500):
        wait = (next_slot(site_id, 60, NOW) - NOW).total_seconds()
        assert 29.999 <= wait <= 90.001


def test_sites_added_together_spread_evenly() -> None:
    seconds = Counter(int(next_slot(site_id, 60, NOW).timestamp()) % 60 for site_id in range(1, 5001))
    assert len(seconds) == 60
    assert max(seconds.values()) - min(seconds.values()) <= 4


def test_no_interval_is_shorter_than_the_minimum(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(Site).values(interval=-5))
    work = make(engine)
    steps.claim(work)
    work.pool.join()
    steps.write(work)
    waits = [(slot - utcnow()).total_seconds() for slot in column(engine, Site.next_check_at)]
    assert all(9 < wait < 31 for wait in waits)


def test_a_site_that_is_claimed_is_not_claimed_again_until_the_claim_expires(engine: Engine) -> None:
    one, two = make(engine, "one"), make(engine, "two")
    steps.claim(one)
    steps.claim(two)
    assert (len(one.running), len(two.running)) == (4, 0)
    assert column(engine, Site.claimed_by) == ["one"] * 4
    two.clock = lambda: utcnow() + timedelta(seconds=SETTINGS.total_timeout + claims.CLAIM_MARGIN + 1)
    steps.claim(two)
    assert len(two.running) == 4
    one.pool.join()
    steps.write(one)  # too late: the sites are somebody else's now
    with engine.connect() as connection:
        assert connection.scalars(select(CheckResult.id)).all() == []
    assert column(engine, Site.claimed_by) == ["two"] * 4


def test_a_site_without_a_next_time_is_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(Site).where(Site.id < 3).values(next_check_at=None))
    work = make(engine)
    steps.claim(work)
    assert sorted(work.running) == [3, 4]


def test_no_more_is_claimed_than_there_are_places_for(engine: Engine) -> None:
    work = make(engine, concurrency=3)
    steps.claim(work)
    assert len(work.running) == 3
    assert work.backlog
    work.pool.join()
    steps.claim(work)
    assert not work.running  # results take the places until they are written
    steps.write(work)
    steps.claim(work)
    assert len(work.running) == 1


def test_results_with_much_to_write_are_written_a_few_at_a_time(engine: Engine) -> None:
    many = 2 * records.LOOKED_INTO + 1
    with engine.begin() as connection:
        rows = [{"owner_id": 1, "name": f"{n}", "url": f"http://{n}.test/", "interval": 60} for n in range(5, many + 1)]
        connection.execute(insert(Site), rows)
    work = make(engine, concurrency=2 * many, batch=many)
    steps.claim(work)
    work.pool.join()
    assert [steps.write(work), steps.write(work), steps.write(work)] == [True, True, False]
    assert column(engine, Site.state) == ["up"] * many
    work.clock = lambda: utcnow() + timedelta(seconds=100)  # now that each was looked into, nothing else is new
    steps.claim(work)
    work.pool.join()
    assert len(work.done) == many
    assert steps.write(work) is False
    assert not work.done


def test_sites_that_were_looked_into_together_have_their_next_turn_apart(engine: Engine) -> None:
    with engine.begin() as connection:
        rows = [{"owner_id": 1, "name": f"{n}", "url": f"http://{n}.test/", "interval": 60} for n in range(5, 41)]
        connection.execute(insert(Site), rows)
    work = make(engine, concurrency=80, batch=40)
    now, turns = utcnow(), []
    for minutes in (0, 29, 60, 91):
        work.clock = lambda at=now + timedelta(minutes=minutes): at  # type: ignore[misc]
        steps.claim(work)
        work.pool.join()
        turns.append(sum(one.seen is not None and one.seen.inspected is not None for one in work.done))
        while steps.write(work):
            pass
    assert turns[:2] == [40, 0]
    assert 15 <= turns[2] <= 25  # of those whose time fell into the half hour
    assert turns[2] + turns[3] >= 40


def test_sites_due_before_the_next_look_are_claimed_and_probed_at_their_own_times(engine: Engine) -> None:
    begin = utcnow()
    times = {number: begin + timedelta(seconds=0.15 * number) for number in range(1, 5)}  # the last one too late
    with engine.begin() as connection:
        for number, at in times.items():
            connection.execute(update(Site).where(Site.id == number).values(next_check_at=at))
    work = make(engine, poll_seconds=0.5)
    steps.claim(work)
    assert column(engine, Site.claimed_by) == ["me", "me", "me", None]
    work.pool.join()
    assert [outcome.site.id for outcome in work.done] == [1, 2, 3]
    assert all(outcome.started >= times[outcome.site.id] for outcome in work.done)


def test_no_owner_takes_all_places(engine: Engine) -> None:
    with engine.begin() as connection:
        rows = [{"owner_id": 1, "name": f"{n}", "url": f"http://{n}.test/", "interval": 60} for n in range(20)]
        connection.execute(insert(Site), rows)
        connection.execute(update(Site).where(Site.owner_id == 2).values(next_check_at=utcnow()))
    work = make(engine, concurrency=8, batch=8)
    for _ in range(3):
        steps.claim(work)
    assert Counter(site.owner_id for site in work.running.values()) == {1: 6, 2: 2}
    assert work.backlog
    work.pool.join()
    steps.write(work)
    steps.claim(work)
    assert len(work.running) == 6


def test_a_result_that_cannot_be_written_costs_only_its_own_site(engine: Engine) -> None:
    work = make(engine)
    steps.claim(work)
    work.pool.join()
    bad = work.done[1]
    work.done[1] = Outcome(bad.site, datetime(2026, 1, 1), bad.seen, None)  # noqa: DTZ001, RUF100 - no zone
    steps.write(work)
    assert not work.done
    states = dict(zip(column(engine, Site.id), column(engine, Site.state), strict=True))
    assert states.pop(bad.site.id) == "unknown"
    assert set(states.values()) == {"up"}
    assert column(engine, Site.claimed_by) == [None] * 4
    assert work.failures == {bad.site.id: 1}


def test_a_probe_that_fails_by_our_fault_says_nothing_of_the_site(engine: Engine) -> None:
    work = make(engine)

    def fail(url: str) -> ProbeResult:
        raise OSError(24, "Too many open files")

    work.probe = fail
    for times in (1, 2, 3):
        work.clock = lambda times=times: utcnow() + timedelta(hours=times)  # type: ignore[misc]
        steps.claim(work)
        work.pool.join()
        steps.write(work)
        waits = [(slot - work.clock()).total_seconds() for slot in column(engine, Site.next_check_at)]
        assert all(abs(wait - 60 * 2**times) < 5 for wait in waits)
    assert set(column(engine, Site.state)) == {"unknown"}


def test_a_fault_in_looking_into_an_answer_does_not_hide_that_the_site_is_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(visits, "findings", None)
    work = make(engine)
    steps.claim(work)
    work.pool.join()
    steps.write(work)
    assert column(engine, Site.state) == ["up"] * 4
    assert [record.getMessage() for record in caplog.records] == ["an answer could not be looked into"] * 4


def test_a_probe_does_not_change_when_the_owner_last_changed_the_site(engine: Engine) -> None:
    before = column(engine, Site.updated_at)
    work = make(engine)
    steps.claim(work)
    work.pool.join()
    steps.write(work)
    assert column(engine, Site.state) == ["up"] * 4
    assert column(engine, Site.updated_at) == before


def test_results_survive_a_database_that_is_away_for_a_while(engine: Engine) -> None:
    work = make(engine)
    steps.claim(work)
    work.pool.join()
    good, work.engine = work.engine, create_engine("sqlite:////nowhere/at/all.sqlite3")
    with pytest.raises(Exception, match="unable to open"):
        steps.write(work)
    assert len(work.done) == 4
    work.engine = good
    steps.write(work)
    assert column(engine, Site.state) == ["up"] * 4


def test_a_page_that_cannot_be_looked_up_does_not_put_its_site_off(engine: Engine) -> None:
    answer = Answer(200, (("content-type", "text/html"),), b"<p>Hello</p>", "http://x/", False)
    work = make(engine)
    work.probe = lambda ask: replace(result(), answer=answer)
    steps.claim(work)
    good, work.engine = work.engine, create_engine("sqlite:////nowhere/at/all.sqlite3")
    work.pool.join()
    work.engine = good
    steps.write(work)
    assert column(engine, Site.state) == ["up"] * 4
    assert column(engine, Site.tamper_state) == ["unknown"] * 4
    assert not work.failures
    work.clock = lambda: utcnow() + timedelta(seconds=100)
    steps.claim(work)
    work.pool.join()
    steps.write(work)
    assert column(engine, Site.tamper_state) == ["unchanged"] * 4


def test_lateness_and_what_is_due_are_measured(engine: Engine) -> None:
    work = make(engine, concurrency=2)
    work.clock = lambda: utcnow() + timedelta(seconds=100)
    steps.claim(work)
    steps.measure(work)
    assert work.due == 2
    assert 99 < work.lag < 200
