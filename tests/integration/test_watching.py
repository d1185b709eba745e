"""One site's life, watched by real sync processes: what happened, what was found, and who was told of it.

The site goes down, comes back, is defaced, mended, loses a header, gets it back, and lets its certificate near its end.
A mail server and a webhook's receiver take the alerts. Then the same once more, with sync killed at moments of what it
writes, one after the other.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gevent import socket
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloudeye.models import AlertTarget, Event, Finding, Incident, Message, PageVersion, Site, utcnow
from tests.integration.smtp_server import SmtpServer
from tests.integration.watched_site import KEPT_WELL, WatchedSite
from tests.unit.cloudeye.playback import DAY, read_request, tcp_server
from tests.unit.cloudeye.sync_stack import Stack, wait_for

SECRET = "whsec_c2VjcmV0IG9mIHRoZSB3ZWJob29rIGluIHRlc3Rz"
pytestmark = pytest.mark.long

HSTS = "Strict-Transport-Security"


@dataclass(frozen=True)
class Change:
    """Something that happens to the site, and the kinds of events that must come of it."""

    what: str
    happen: Callable[[WatchedSite], object]
    told: tuple[str, ...]


LIFE = (
    Change("goes down", lambda site: setattr(site, "status", 503), ("down",)),
    Change("comes back", lambda site: setattr(site, "status", 200), ("up",)),
    Change("is defaced", lambda site: setattr(site, "defaced", True), ("page", "finding")),
    Change("is mended", lambda site: setattr(site, "defaced", False), ("page", "finding")),
    Change("loses a header", lambda site: site.headers.pop(HSTS), ("finding",)),
    Change("gets it back", lambda site: site.headers.update({HSTS: KEPT_WELL[HSTS]}), ("finding",)),
    Change("certificate nears its end", lambda site: site.renew(10 * DAY), ("certificate", "finding")),
)


@dataclass
class Receiver:
    """A webhook's receiver: what it accepted, by the ids it came with."""

    ids: list[str] = field(default_factory=list)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, sock: socket.socket) -> None:
        head, whole, body = read_request(sock).partition(b"\r\n\r\n")
        if not whole:
            return  # whoever sent it was killed meanwhile
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.decode().split("\r\n")[1:])
        }
        while len(body) < int(headers["content-length"]):
            body += sock.recv(65536)
        self.ids.append(headers["webhook-id"])
        self.bodies[headers["webhook-id"]] = json.loads(body)
        sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


class Scene:
    """The site, those who are told, and the sync process that watches."""

    def __init__(self, stack: Stack, site: WatchedSite, mail: SmtpServer, receiver: Receiver, port: int) -> None:
        self.stack, self.site, self.mail, self.receiver = stack, site, mail, receiver
        self.deaths = 0
        stack.add(site.url, interval=1)
        with Session(stack.engine) as session:
            common = {"owner_id": 1, "confirmed_at": utcnow()}
            address = f"http://127.0.0.1:{port}/hook"
            session.add(AlertTarget(name="mail", kind="mail", address="owner@example.com", **common))
            session.add(AlertTarget(name="hook", kind="webhook", address=address, secret=SECRET, **common))
            session.commit()

    def start(self, dies_at: int | None = None) -> Any:
        """Start a sync process, which may have to die."""
        mortal = {} if dies_at is None else {"MORTAL_AT": dies_at}
        return self.stack.start(
            module="tests.integration.mortal_sync",
            minimum_interval=1,
            SSL_CERT_FILE=self.site.ca_file,
            MORTAL_HOSTS=self.site.hosts_file,
            **self.mail.settings(),
            **mortal,
        )

    def hurry(self) -> None:
        """Let pass the time that events wait for others, messages for another attempt, and claims of the dead for."""
        now = utcnow()
        with self.stack.engine.begin() as connection:
            connection.execute(update(Event).where(Event.dispatch_after > now).values(dispatch_after=now))
            connection.execute(update(Message).where(Message.next_attempt_at > now).values(next_attempt_at=now))

    def bury(self) -> None:
        """Let the claims of a process that died expire."""
        now = utcnow()
        with self.stack.engine.begin() as connection:
            connection.execute(update(Site).values(claimed_until=now, scan_claimed_until=now))
            connection.execute(update(Message).values(claimed_until=now))

    def events(self) -> list[Event]:
        with Session(self.stack.engine) as session:
            return list(session.scalars(select(Event).order_by(Event.id)))

    def settled(self, events: int, asked: int) -> bool:
        """Whether so many events were told to everybody, and the site was looked at so often since."""
        self.hurry()
        with Session(self.stack.engine) as session:
            made, waiting = session.execute(select(func.count(), func.count(Event.dispatch_after))).one()
            messages, sent = session.execute(select(func.count(), func.count(Message.sent_at))).one()
        done = made >= events and waiting == 0 and messages == sent == 2 * made
        return done and self.site.asked >= asked


@pytest.fixture
def stack(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    url = None
    if engine == "mariadb":
        server = request.getfixturevalue("mariadb_server")
        server.run("CREATE OR REPLACE DATABASE cloudeye_watching CHARACTER SET utf8mb4")
        url = server.url("cloudeye_watching")
    made = Stack(tmp_path, url)
    made.migrate()
    yield made
    made.stop()


@pytest.fixture
def scene(stack: Stack, tmp_path: Path) -> Iterator[Scene]:
    receiver = Receiver()
    with WatchedSite(tmp_path).open() as site, SmtpServer() as mail, tcp_server(receiver) as port:
        made = Scene(stack, site, mail, receiver, port)
        first = made.start()
        wait_for(lambda: stack.sites()[0].state == "up" and stack.sites()[0].tamper_state == "unchanged")
        end(first)
        assert made.events() == []  # what a site is like at first is no news
        yield made


def end(process: Any) -> None:
    process.terminate()
    wait_for(lambda: process.poll() is not None)
    assert process.returncode == 0


def check_life(scene: Scene) -> None:
    """What must be known, and must have been told, at the end of the site's life."""
    events = scene.events()
    assert Counter(event.kind for event in events) == Counter(kind for change in LIFE for kind in change.told)
    told: dict[str, list[Event]] = {}
    for event in events:
        told.setdefault(event.kind, []).append(event)
    with Session(scene.stack.engine) as session:
        (incident,) = session.scalars(select(Incident))
        findings = {finding.code: finding.state for finding in session.scalars(select(Finding))}
        diffs = [version.diff or "" for version in session.scalars(select(PageVersion))]
    site = scene.stack.sites()[0]

    assert incident.cause.startswith("http_status: ")
    assert incident.status_code == 503
    assert incident.ended_at is not None
    assert incident.ended_at > incident.started_at
    assert (site.state, site.tamper_state) == ("up", "unchanged")

    defaced, mended = told["page"]
    assert (defaced.severity, defaced.data["restored"], mended.data["restored"]) == ("critical", False, True)
    assert defaced.data["changes"][0]["severity"] == "critical"
    assert "cdn.evil.example" in defaced.data["changes"][0]["text"]
    assert any(line.startswith("+") and "cdn.evil.example" in line for diff in diffs for line in diff.splitlines())
    assert not any("Visitors so far" in line for diff in diffs for line in diff.splitlines() if line[:1] in "+-")

    changes = [[(one["code"], one["change"]) for one in event.data["changes"]] for event in told["finding"]]
    assert changes == [
        [("script_no_integrity", "opened")],
        [("script_no_integrity", "fixed")],
        [("hsts_missing", "opened")],
        [("hsts_missing", "fixed")],
        [("certificate_ends_soon", "opened")],
    ]
    assert findings["hsts_missing"] == "fixed"
    assert told["certificate"][0].data["days"] in (9, 10)

    # Everybody was told everything, and what came twice came under one id.
    names = {event.event_id for event in events}
    letters = Counter(str(letter["Message-ID"]).strip("<>").split(".")[0] for letter in scene.mail.letters)
    hooks = Counter(name.split(".")[0] for name in scene.receiver.ids)
    assert (set(letters), set(hooks)) == (names, names)
    again = letters.total() - len(names) + hooks.total() - len(names)
    print(f"{len(names)} events, {scene.deaths} deaths, {again} told again")
    assert again <= scene.deaths


def test_a_sites_life_yields_just_what_happened(scene: Scene) -> None:
    process = scene.start()
    expected = 0
    for change in LIFE:
        expected += len(change.told)
        change.happen(scene.site)
        asked = scene.site.asked + 2
        wait_for(lambda: scene.settled(expected, asked), 30)  # noqa: B023 - called at once
    end(process)
    check_life(scene)


@pytest.mark.timeout(2400)  # in full, one that is killed some 300 times
def test_a_sites_life_yields_the_same_though_sync_is_killed_at_each_moment(scene: Scene, full: bool) -> None:
    """In full at each moment of each change; in short at each fourth, a different one of the four by turns."""
    stride = 1 if full else 4
    expected = 0
    for turn, change in enumerate(LIFE):
        expected += len(change.told)
        change.happen(scene.site)
        asked = scene.site.asked + 1
        moment = turn % stride + 1 - stride
        deaths = scene.deaths
        while not scene.settled(expected, asked):
            moment += stride
            process = scene.start(dies_at=moment)
            wait_for(lambda: process.poll() is not None or scene.settled(expected, asked), 30)  # noqa: B023
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
            scene.deaths += 1
            scene.bury()
        assert scene.deaths - deaths > 3, f"{change.what}: sync did not die often enough to show anything"
    check_life(scene)
