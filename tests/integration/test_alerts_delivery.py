"""Alerts on their way: by real sync processes to a real mail server and real receivers of webhooks, on both engines."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import gevent
import pytest
from sqlalchemy import update

from cloudeye.models import AlertTarget, Message, utcnow
from cloudeye.sync.alerts import dispatch
from tests.integration.alerting import Scene, scene_on
from tests.integration.receiver import ACCEPTED, Delivery, Receiver, receiving, status
from tests.integration.smtp_server import SmtpServer
from tests.unit.cloudeye.sync_stack import wait_for

pytestmark = pytest.mark.long

DOCS = Path(__file__).resolve().parents[2] / "docs" / "alerts.md"


@pytest.fixture
def scene(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    with scene_on(engine, tmp_path, request) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def verifier() -> Any:
    """Return the function that docs/alerts.md gives to receivers, as it stands there."""
    [code] = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    return found["verify"]


def is_done(scene: Scene) -> bool:
    """Is every event told, and every message sent or given up."""
    return not scene.waiting() and all(message.next_attempt_at is None for message in scene.messages())


def test_an_alert_arrives_by_every_channel_and_its_signature_is_right(scene: Scene, receiver: Receiver) -> None:
    hook = scene.has_target("webhook", address=receiver.url("/hook"))
    scene.has_target("slack", address=receiver.url("/slack"))
    mail = scene.has_target("mail")
    name = scene.happens(scene.has_site(name="Shop & <b>"))
    with SmtpServer() as server:
        scene.start(**server.settings())
        wait_for(lambda: len(scene.messages()) == 3 and is_done(scene))
        [letter] = server.letters
    [signed], [plain] = receiver.at("/hook"), receiver.at("/slack")
    assert signed.name == f"{name}.{hook}"
    assert signed.headers["content-type"] == "application/json"
    assert verifier()(scene.target(hook).secret, signed.headers, signed.body)["id"] == name
    assert abs(int(signed.headers["webhook-timestamp"]) - time.time()) < 60
    assert plain.said["text"].startswith("Shop &amp; &lt;b&gt; is down\n")
    assert "webhook-signature" not in plain.headers
    assert letter["Message-ID"] == f"<{name}.{mail}.cloudeye@example.com>"
    assert letter["Subject"] == "Shop & <b> is down"
    stop = re.search(r"http://testserver/unsubscribe\?token=\S+", letter.get_content())
    assert stop is not None
    assert letter["List-Unsubscribe"].strip() == f"<{stop[0]}>"
    assert {message.body for message in scene.messages()} == {None}
    assert [target.error for target in scene.targets()] == [None] * 3


@pytest.mark.parametrize(
    "forge",
    [
        lambda headers, body: (headers, body.replace(b"down", b"fine")),
        lambda headers, body: ({**headers, "webhook-id": "another"}, body),
        lambda headers, body: ({**headers, "webhook-timestamp": str(int(time.time()) + 1)}, body),
        lambda headers, body: ({**headers, "webhook-timestamp": "1000000000"}, body),
        lambda headers, body: ({**headers, "webhook-signature": "v1,AAAA"}, body),
        lambda headers, body: ({**headers, "webhook-signature": headers["webhook-signature"][3:]}, body),
    ],
)
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_what_is_forged_does_not_pass_the_code_of_the_documentation(
    scene: Scene, receiver: Receiver, forge: Any
) -> None:
    hook = scene.has_target("webhook", address=receiver.url())
    scene.happens(scene.has_site())
    scene.start()
    wait_for(lambda: receiver.deliveries)
    [delivery] = receiver.deliveries
    secret = scene.target(hook).secret
    assert verifier()(secret, delivery.headers, delivery.body)["type"] == "site.down"
    headers, body = forge(delivery.headers, delivery.body)
    with pytest.raises(ValueError, match="this was"):
        verifier()(secret, headers, body)


@pytest.mark.parametrize(
    ("said", "waits", "error"),
    [
        (status(500), (48, 72), "answered with status 500"),
        (status(503, "Retry-After: 1800"), (1790, 1810), "answered with status 503"),
        (status(429, "Retry-After: 99999999"), (21590, 21610), "answered with status 429"),
        (status(404), (48, 72), "answered with status 404"),
        (status(302, "Location: http://127.0.0.1:9/"), (48, 72), "answered with status 302"),
        (b"", (48, 72), "closed"),
        (b"nonsense\r\n\r\n", (48, 72), "bad_response"),
    ],
)
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_what_is_not_accepted_is_tried_again_later(
    scene: Scene, receiver: Receiver, said: bytes, waits: tuple[int, int], error: str
) -> None:
    receiver.answer = lambda delivery: said
    target = scene.has_target("webhook", address=receiver.url())
    name = scene.happens(scene.has_site())
    scene.start()
    wait_for(lambda: scene.target(target).error)
    waiting = scene.message(f"{name}.{target}")
    assert error in (waiting.error or "")
    assert scene.target(target).error == waiting.error
    assert waiting.next_attempt_at is not None
    assert timedelta(seconds=waits[0] - 5) < waiting.next_attempt_at - utcnow() < timedelta(seconds=waits[1])
    receiver.answer = lambda delivery: ACCEPTED
    scene.make_due()
    wait_for(lambda: is_done(scene))
    first, second = receiver.deliveries
    assert (first.name, first.body) == (second.name, second.body)
    verify = verifier()
    assert all(verify(scene.target(target).secret, one.headers, one.body)["id"] == name for one in (first, second))
    assert scene.target(target).error is None


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("number", [400, 404, 301])
def test_a_refusal_is_the_last_word_at_the_fifth_attempt(scene: Scene, receiver: Receiver, number: int) -> None:
    receiver.answer = lambda delivery: status(number)
    target = scene.has_target("webhook", address=receiver.url())
    name = scene.happens(scene.has_site())
    scene.start()
    for attempt in range(1, 6):
        wait_for(lambda attempt=attempt: scene.messages() and scene.messages()[0].attempts == attempt)  # type: ignore[misc]
        assert (scene.message(f"{name}.{target}").next_attempt_at is None) == (attempt == 5)
        scene.make_due()
    gevent.sleep(0.5)
    assert len(receiver.deliveries) == 5
    assert scene.messages()[0].body is None


def test_a_receiver_that_is_gone_gets_nothing_more(scene: Scene, receiver: Receiver) -> None:
    receiver.answer = lambda delivery: status(410)
    target = scene.has_target("webhook", address=receiver.url())
    site = scene.has_site()
    scene.happens(site)
    scene.start()
    wait_for(lambda: not scene.target(target).active)
    assert scene.target(target).error == "answered with status 410: the target is switched off"
    assert scene.target(target).version == 2
    assert len(receiver.deliveries) == 1
    scene.happens(site)
    wait_for(lambda: not scene.waiting())
    assert len(scene.messages()) == 1


@pytest.mark.parametrize("how", ["removed", "switched off"])
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_what_waits_for_a_target_that_is_no_more_is_given_up(scene: Scene, receiver: Receiver, how: str) -> None:
    receiver.answer = lambda delivery: status(500)
    target = scene.has_target("webhook", address=receiver.url())
    scene.happens(scene.has_site())
    scene.start()
    wait_for(lambda: scene.target(target).error)
    with scene.engine.begin() as connection:
        sql = "DELETE FROM alert_targets" if how == "removed" else "UPDATE alert_targets SET active = 0"
        connection.exec_driver_sql(sql)
    scene.make_due()
    wait_for(lambda: is_done(scene))
    assert scene.messages()[0].error == ("the target is gone" if how == "removed" else "the target is switched off")
    assert len(receiver.deliveries) == 1


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:{port}/", "http://169.254.169.254/latest", "http://[::ffff:127.0.0.1]:{port}/"]
)
def test_a_webhook_reaches_no_private_address(scene: Scene, receiver: Receiver, address: str) -> None:
    target = scene.has_target("webhook", address=address.format(port=receiver.port))
    scene.happens(scene.has_site())
    scene.start(allow_private=0)
    wait_for(lambda: scene.target(target).error)
    assert (scene.target(target).error or "").startswith("refused_address")
    assert receiver.deliveries == []


def test_an_address_that_is_mended_gets_what_was_waiting(scene: Scene, receiver: Receiver) -> None:
    target = scene.has_target("webhook", address=receiver.url("/wrong"))
    receiver.answer = lambda delivery: status(404) if delivery.path == "/wrong" else ACCEPTED
    scene.happens(scene.has_site())
    scene.start()
    wait_for(lambda: scene.target(target).error)
    scene.change(AlertTarget, target, address=receiver.url("/right"))
    scene.make_due()
    wait_for(lambda: is_done(scene))
    assert len(receiver.at("/right")) == 1


def test_receivers_that_hang_hold_up_no_mail_and_no_other_receiver(scene: Scene, receiver: Receiver) -> None:
    """Forty people with three hanging receivers each, and two who only want to be told."""
    receiver.answer = lambda delivery: None if delivery.path == "/hang" else ACCEPTED
    for number in range(40):
        person = scene.has_user(f"u{number}")
        for place in range(3):
            scene.has_target("webhook", owner_id=person, name=f"{place}", address=receiver.url("/hang"))
        scene.happens(scene.has_site(person), owner_id=person)
    scene.start()
    wait_for(lambda: len(receiver.at("/hang")) >= 16)
    with receiving() as other, SmtpServer() as server:
        scene.processes[0].terminate()
        wait_for(lambda: scene.processes[0].poll() is not None)
        before = len(receiver.at("/hang"))
        scene.start("again", **server.settings())
        wait_for(lambda: len(receiver.at("/hang")) >= before + 16)
        scene.has_target("webhook", address=other.url())
        scene.has_target("mail")
        begin = time.monotonic()
        scene.happens(scene.has_site())
        wait_for(lambda: other.deliveries and server.letters, 10)  # a hanging one is given 15 seconds
        assert len(receiver.at("/hang")) - before <= 32
        print(f"told after {time.monotonic() - begin:.2f} s while {receiver.open} receivers hang")
        assert receiver.open >= 16


def test_two_processes_share_the_messages_and_each_is_sent_once(scene: Scene, receiver: Receiver) -> None:
    def slowly(delivery: Delivery) -> bytes:
        gevent.sleep(0.1)  # so that one alone does not finish before the other has started
        return ACCEPTED

    receiver.answer = slowly
    people = [scene.has_user(f"u{number}") for number in range(60)]
    for person in people:
        for place in range(5):
            scene.has_target("webhook", owner_id=person, name=f"{place}", address=receiver.url(f"/{person}/{place}"))
        scene.happens(scene.has_site(person), owner_id=person)
    for name in ("one", "two"):
        scene.start(name)
    wait_for(lambda: len(scene.messages()) == 300 and is_done(scene), 60)
    assert Counter(delivery.name for delivery in receiver.deliveries) == Counter(
        message.event_id for message in scene.messages()
    )
    assert [len(receiver.at(f"/{person}/{place}")) for person in people for place in range(5)] == [1] * 300


def test_one_target_gets_one_message_at_a_time_in_order(scene: Scene, receiver: Receiver) -> None:
    def slowly(delivery: Delivery) -> bytes:
        gevent.sleep(0.05)
        return ACCEPTED

    receiver.answer = slowly
    scene.has_target("webhook", address=receiver.url())
    sites = [scene.has_site(name=f"Site {number}") for number in range(2)]
    for turn in range(4):
        for site in sites:
            scene.happens(site, "down" if turn % 2 == 0 else "certificate", ago=100 - turn)
        dispatch(scene.work())
    scene.start()
    wait_for(lambda: len(receiver.deliveries) == 8)
    assert receiver.most_open == 1
    moments = [delivery.said["timestamp"] for delivery in receiver.deliveries]
    assert moments == sorted(moments)


@pytest.mark.timeout(900)
def test_no_alert_is_lost_or_told_under_two_names_however_often_sync_is_killed(
    scene: Scene, receiver: Receiver, full: bool
) -> None:
    """Processes are killed at random moments while events are dispatched and delivered."""
    kills = 40 if full else 12
    chance = random.Random(20261121)
    hook, mail = scene.has_target("webhook", address=receiver.url()), scene.has_target("mail")
    sites = [scene.has_site(name=f"Site {number}") for number in range(12)]
    kinds = ("down", "up", "certificate", "page", "finding")
    told: list[str] = []

    def slowly(delivery: Delivery) -> bytes:
        gevent.sleep(chance.uniform(0, 0.03))
        return ACCEPTED

    def something_happens() -> None:
        for _ in range(chance.randint(3, 12)):
            data: dict[str, Any] = (
                {"changes": [{"code": "no_https", "change": "opened"}]}
                if (kind := chance.choice(kinds)) == "finding"
                else {}
            )
            told.append(scene.happens(chance.choice(sites), kind, ago=chance.uniform(15, 40), severity="high", **data))

    receiver.answer = slowly
    with SmtpServer() as server:
        server.stall = 0.01
        for number in range(kills):
            something_happens()
            seen = len(receiver.deliveries) + len(server.letters)
            process = scene.start("sync", poll_seconds=0.02, **server.settings())
            # Begin when this process has begun to tell; its start alone takes longer than anything else.
            wait_for(lambda seen=seen: len(receiver.deliveries) + len(server.letters) > seen, 60)  # type: ignore[misc]
            if number % 3:
                something_happens()
            gevent.sleep(chance.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            process.wait()
            with scene.engine.begin() as connection:  # a minute later
                connection.execute(update(Message).where(Message.sent_at.is_(None)).values(claimed_until=utcnow()))
        scene.start("last", poll_seconds=0.02, **server.settings())
        wait_for(lambda: is_done(scene), 120)
        letters = Counter(
            str(letter["Message-ID"]).strip("<>").rpartition(".cloudeye@")[0] for letter in server.letters
        )
        texts = {str(letter["Message-ID"]): letter.as_string() for letter in server.letters}
        assert all(letter.as_string() == texts[str(letter["Message-ID"])] for letter in server.letters)
    hooks = Counter(delivery.name for delivery in receiver.deliveries)
    bodies = {delivery.name: delivery.body for delivery in receiver.deliveries}
    assert all(delivery.body == bodies[delivery.name] for delivery in receiver.deliveries)
    # Every event is in exactly one message to each target: under one name, whichever process wrote it.
    mentions = Counter(
        entry["id"]
        for body in bodies.values()
        for said in [json.loads(body)]
        for entry in (said["data"]["events"] if said["type"] == "group" else [said])
    )
    assert mentions == Counter(told)
    assert set(hooks) == {m.event_id for m in scene.messages() if m.target_id == hook}
    assert set(letters) == {m.event_id for m in scene.messages() if m.target_id == mail}
    again = {"webhook": sum(hooks.values()) - len(hooks), "mail": sum(letters.values()) - len(letters)}
    print(f"{len(told)} events, {len(hooks)} webhooks and {len(letters)} letters, {kills} kills, twice: {again}")
    assert max(again.values()) <= kills
    assert all(message.sent_at is not None for message in scene.messages())
