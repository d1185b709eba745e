"""Events become messages: to whom, together or apart, and each of them once; on both engines."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlalchemy import event as sqlalchemy_event

from cloudeye.models import Event, Message, Site, utcnow
from cloudeye.services.ask import MAX_REQUEST_BODY
from cloudeye.services.events import WINDOW
from cloudeye.sync.alerts import BATCH, dispatch
from tests.integration.alerting import Scene, scene_on


@pytest.fixture
def scene(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    with scene_on(engine, tmp_path, request) as made:
        yield made


def run(scene: Scene) -> list[Message]:
    """Dispatch until nothing is due; return the messages."""
    work = scene.work()
    while dispatch(work):
        pass
    return scene.messages()


def names(messages: list[Message]) -> set[str]:
    return {message.event_id for message in messages}


def test_each_target_is_told_of_an_event_in_the_manner_of_its_channel(scene: Scene) -> None:
    site = scene.has_site()
    hook = "https://hooks.example.com/x"
    targets = [scene.has_target("mail"), *(scene.has_target(kind, address=hook) for kind in ("webhook", "slack"))]
    name = scene.happens(site, "down")
    mail, webhook, slack = run(scene)
    assert [message.event_id for message in (mail, webhook, slack)] == [f"{name}.{target}" for target in targets]
    assert [(m.channel, m.recipient, m.target_id) for m in (mail, webhook, slack)] == [
        ("mail", "owner@example.com", targets[0]), ("webhook", hook, targets[1]), ("slack", hook, targets[2]),
    ]  # fmt: skip
    assert mail.subject == "Example is down"
    assert "status 500" in (mail.body or "")
    assert json.loads(webhook.body or "")["type"] == "site.down"
    assert json.loads(slack.body or "")["text"].startswith("Example is down\n")
    assert scene.waiting() == []


def test_an_event_waits_for_others_until_its_window_ends(scene: Scene) -> None:
    scene.has_target()
    scene.happens(scene.has_site(), ago=WINDOW.total_seconds() - 5)
    assert run(scene) == []
    assert len(scene.waiting()) == 1


@pytest.mark.parametrize(("sites", "messages"), [(1, 1), (2, 2), (3, 1), (40, 1)])
def test_sites_that_fall_together_are_told_together(scene: Scene, sites: int, messages: int) -> None:
    scene.has_target()
    # Only the first is due; the others came within its window.
    for number in range(sites):
        scene.happens(scene.has_site(name=f"Site {number}"), ago=30 if number == 0 else 5)
    found = run(scene)
    assert len(found) == messages
    assert scene.waiting() == []
    said = "\n".join(f"{message.subject}\n{message.body}" for message in found)
    assert all(f"Site {number}" in said for number in range(sites))
    if messages == 1 and sites > 1:
        assert found[0].subject == f"{sites} sites are down"
        assert found[0].event_id.startswith("g")


def test_kinds_and_owners_are_not_mixed(scene: Scene) -> None:
    mate = scene.has_user("mate")
    mine, theirs = scene.has_target(), scene.has_target(owner_id=mate, address="mate@example.com")
    for number in range(3):
        site = scene.has_site(name=f"Mine {number}")
        scene.happens(site, "down")
        scene.happens(site, "certificate", days=7)
        scene.happens(scene.has_site(mate, name=f"Theirs {number}"), "down", owner_id=mate)
    found = run(scene)
    assert Counter(message.target_id for message in found) == {mine: 2, theirs: 1}
    assert all("Theirs" not in (message.body or "") for message in found if message.target_id == mine)
    assert all("Mine" not in (message.body or "") for message in found if message.target_id == theirs)


def test_a_site_that_comes_back_at_once_is_told_of_twice_in_order(scene: Scene) -> None:
    scene.has_target("webhook", address="https://hooks.example.com/")
    site = scene.has_site()
    scene.happens(site, "up", ago=25, since="2026-11-21T19:59:00Z")
    scene.happens(site, "down", ago=30)
    assert [json.loads(message.body or "")["type"] for message in run(scene)] == ["site.down", "site.up"]


@pytest.mark.parametrize(
    ("wants", "kind", "given", "told"),
    [
        ({"kinds": ["down", "up"]}, "down", {}, True),
        ({"kinds": ["down", "up"]}, "page", {"severity": "critical"}, False),
        ({"minimum_severity": "high"}, "page", {"severity": "high"}, True),
        ({"minimum_severity": "high"}, "page", {"severity": "medium"}, False),
        ({"minimum_severity": "high"}, "page", {"severity": "info", "restored": True}, True),
        ({"minimum_severity": "critical"}, "finding", {"severity": "low"}, False),
        ({"minimum_severity": "critical"}, "down", {}, True),
        ({"minimum_severity": "critical"}, "certificate", {"severity": "medium", "days": 21}, True),
        ({"active": False}, "down", {}, False),
        ({"confirmed_at": None}, "down", {}, False),
    ],
)
def test_a_target_is_told_of_what_it_wants(
    scene: Scene, wants: dict[str, Any], kind: str, given: dict[str, Any], told: bool
) -> None:
    scene.has_target(**wants)
    name = scene.happens(scene.has_site(), kind, **given)
    assert len(run(scene)) == told
    assert scene.waiting() == []
    assert scene.untold() == ([] if told else [name])


def test_a_site_may_name_its_targets(scene: Scene) -> None:
    first, second = scene.has_target(), scene.has_target()
    scene.change_owner(email_verified_at=utcnow())
    chosen, none, stranger, all_of_them = (
        scene.has_site(alert_targets=targets) for targets in ([second], [], [second + 100], None)
    )
    told = {site: scene.happens(site, "certificate", days=days) for days, site in enumerate((chosen, none, stranger))}
    everybody = scene.happens(all_of_them)
    assert names(run(scene)) == {f"{told[chosen]}.{second}", f"{everybody}.{first}", f"{everybody}.{second}"}
    assert scene.untold() == [told[none], told[stranger]]


def test_without_any_target_the_owners_own_address_is_told_once_it_is_verified(scene: Scene) -> None:
    site = scene.has_site()
    scene.happens(site)
    assert run(scene) == []
    scene.change_owner(email_verified_at=utcnow(), language="zh_Hans", time_zone="Asia/Shanghai")
    name = scene.happens(site)
    [message] = run(scene)
    assert (message.event_id, message.recipient, message.target_id) == (f"{name}.0", "owner@example.com", None)
    assert message.language == "zh_Hans"
    assert "(Asia/Shanghai)" in (message.body or "")
    assert "http://testserver/targets" in (message.body or "")
    # Who has switched every target off wants no alerts.
    scene.has_target(active=False)
    scene.happens(site)
    assert len(run(scene)) == 1


def test_nobody_is_told_for_an_account_that_is_not_active(scene: Scene) -> None:
    scene.has_target()
    name = scene.happens(scene.has_site())
    scene.change_owner(active=False)
    assert run(scene) == []
    assert scene.waiting() == []
    assert scene.untold() == [name]


def test_an_event_that_is_on_the_list_again_is_queued_once(scene: Scene) -> None:
    scene.has_target()
    scene.happens(scene.has_site())
    first = run(scene)
    with scene.engine.begin() as connection:
        connection.execute(update(Event).values(dispatch_after=utcnow()))
    assert names(run(scene)) == names(first)
    assert len(scene.messages()) == 1
    assert scene.waiting() == []


def test_many_events_go_in_messages_that_can_be_sent(scene: Scene) -> None:
    hook, mail = scene.has_target("webhook", address="https://hooks.example.com/"), scene.has_target()
    slack = scene.has_target("slack", address="https://hooks.example.com/")
    # Events as large as they come: a name and an address at their limits, a diff in which everything is escaped.
    site = scene.has_site(name="名" * 120, url=f"https://example.com/{'x' * 2000}")
    told = [
        scene.happens(site, "page", severity="high", diff='"\\\n' * 1300, changes=[{"text": "<" * 300}] * 10)
        for _ in range(60)
    ]
    found = run(scene)
    by_target = {number: [m for m in found if m.target_id == number] for number in (hook, mail, slack)}
    assert (len(by_target[mail]), len(by_target[slack])) == (1, 1)
    assert "And 10 more." in (by_target[mail][0].body or "")
    assert all(len((m.body or "").encode()) <= MAX_REQUEST_BODY for m in by_target[hook] + by_target[slack])
    said = [json.loads(m.body or "") for m in by_target[hook]]
    entries = [entry for one in said for entry in (one["data"]["events"] if one["type"] == "group" else [one])]
    assert sorted(entry["id"] for entry in entries) == sorted(told)
    assert len({m.event_id for m in found}) == len(found)


def test_more_owners_than_one_transaction_takes_are_all_told(scene: Scene) -> None:
    people = {f"u{number}@example.com": scene.has_user(f"u{number}") for number in range(BATCH + 5)}
    for number in people.values():
        scene.happens(scene.has_site(number), owner_id=number)
    assert sorted(message.recipient for message in run(scene)) == sorted(people)


def test_two_processes_at_once_tell_each_event_once(scene: Scene) -> None:
    scene.has_target()
    sites = [scene.has_site(name=f"Site {number}") for number in range(4)]
    told = [scene.happens(sites[number % 4], "certificate", ago=30, days=number) for number in range(40)]
    works = [scene.work(f"process {number}") for number in range(4)]
    failures: list[BaseException] = []

    def work_on(place: int) -> None:
        try:
            for _ in range(5):
                works[place].post.dispatched = None  # type: ignore[union-attr]
                dispatch(works[place])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work_on, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert scene.waiting() == []
    found = scene.messages()
    assert len(names(found)) == len(found)
    alone = [message for message in found if not message.event_id.startswith("g")]
    grouped = sum(int(str(message.subject).split()[0]) for message in found if message not in alone)
    assert grouped + len(alone) == len(told)


@pytest.mark.parametrize("moment", range(8))
def test_a_dispatch_that_is_cut_off_anywhere_leaves_nothing_half_done(scene: Scene, moment: int) -> None:
    """The process dies before the N-th statement; another one starts over."""
    scene.has_target(), scene.has_target("webhook", address="https://hooks.example.com/")
    told = [scene.happens(scene.has_site(name=f"Site {number}"), "certificate", days=number) for number in range(2)]
    work = scene.work()
    count = 0

    def die(*_: Any) -> None:
        nonlocal count
        count += 1
        if count > moment:
            raise SystemExit("killed")

    sqlalchemy_event.listen(work.engine, "before_cursor_execute", die)
    died = False
    try:
        dispatch(work)
    except SystemExit:
        died = True
    sqlalchemy_event.remove(work.engine, "before_cursor_execute", die)
    assert len(scene.messages()) in ((0,) if died else (4,))
    assert len(scene.waiting()) == (2 if died else 0)
    assert {name.partition(".")[0] for name in names(run(scene))} == set(told)
    assert len(scene.messages()) == 4


def test_an_event_that_cannot_be_read_holds_up_no_other_and_is_given_up_after_days(scene: Scene) -> None:
    scene.has_target()
    broken, sound = scene.happens(scene.has_site()), scene.happens(scene.has_site())
    with scene.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE events SET data = '{{' WHERE event_id = '{broken}'")
    assert names(run(scene)) == {f"{sound}.{scene.targets()[0].id}"}
    [again] = scene.waiting()
    assert timedelta(minutes=55) < again - utcnow() < timedelta(minutes=65)
    with scene.engine.begin() as connection:
        old = utcnow() - timedelta(days=4)
        connection.execute(update(Event).where(Event.event_id == broken).values(created_at=old, dispatch_after=old))
    run(scene)
    assert scene.waiting() == []


def test_an_event_goes_with_its_site_and_nobody_is_told(scene: Scene) -> None:
    scene.has_target()
    site = scene.has_site()
    scene.happens(site)
    work = scene.work()
    with work.engine.begin() as connection:
        connection.execute(delete(Site).where(Site.id == site))
    assert scene.waiting() == []
    assert run(scene) == []


def test_what_is_asked_at_each_poll_is_found_by_an_index_however_many_events_were_told(scene: Scene) -> None:
    asked: list[tuple[str, Any]] = []
    work = scene.work()
    sqlalchemy_event.listen(work.engine, "before_cursor_execute", lambda *said: asked.append((said[2], said[3])))
    dispatch(work)
    [(sql, values)] = [(sql, values) for sql, values in asked if "FROM events" in sql]
    explain = "EXPLAIN QUERY PLAN" if work.engine.dialect.name == "sqlite" else "EXPLAIN"
    with work.engine.connect() as connection:
        plan = " ".join(str(tuple(row)) for row in connection.exec_driver_sql(f"{explain} {sql}", values))
    assert "SEARCH events USING COVERING INDEX" in plan or "uq_events_dispatch_after" in plan, plan
