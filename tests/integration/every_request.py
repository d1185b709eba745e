"""Valid requests to every operation of the API, each a new one, and bodies and files that are hard to read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from cloudeye.extensions import db
from cloudeye.models import (
    AlertTarget,
    CheckResult,
    Event,
    Finding,
    HourlyResult,
    Incident,
    PageBody,
    PageVersion,
    Site,
    StatusPage,
    User,
    UserSession,
    utcnow,
)
from cloudeye.services import keys, one_time
from cloudeye.services.answer import Answer
from cloudeye.services.findings import control
from cloudeye.services.passwords import hash_password
from cloudeye.services.tamper import snapshots
from cloudeye.tokens import start_session
from tests.integration.proof_server import ProofServer
from tests.integration.world import PASSWORD, World

USERS, SITES, CHECKS = 150, 150, 1000
ROWS = 1000  # of a file of sites
FOUND = 200  # findings, incidents and events of the site that is looked at
HOURS = 24 * 90

# After these a session is over, and of these a user may have but a few: each is asked by somebody new.
ENDING = {"log_out", "end_other_sessions", "end_session", "change_password"}
FEW = {"add_target", "add_status_page"}

# What a list is asked for.
QUERIES = {
    "list_users": "?per_page=100&sort=-email",
    "list_sites": "?per_page=100&sort=-name",
    "list_checks": "?limit=200",
    "list_versions": "?limit=200",
    "get_usability_history": "?resolution=hour",
    "list_usability": "?per_page=100",
    "list_tamper": "?per_page=100",
    "get_bugs": "?per_page=100",
    "list_bugs": "?limit=100",
    "list_incidents": "?limit=100",
    "list_site_incidents": "?limit=200",
    "list_events": "?limit=200",
    "list_site_events": "?limit=200",
}


def bodies_of(size: int) -> dict[str, bytes]:
    """Return bodies of about a size that take different ways through what reads and refuses them."""
    return {
        "a long text": json.dumps({"email": "x" * size}).encode(),
        "many fields": json.dumps({f"f{number:06}": 1 for number in range(size // 14)}).encode(),
        "many lists": b'{"email":[' + b",".join([b"[]"] * (size // 3)) + b"]}",
        "many wrong values": json.dumps({"name": "x", "scopes": ["x"] * (size // 5)}).encode(),
        "deep": b"[" * size,
        "no text": b"\xff" * size,
        "a long number": b'{"email":' + b"1" * size + b"}",
    }


def files_of(size: int) -> dict[str, tuple[str, bytes]]:
    """Return files of about a size in which no site is, and their kinds."""
    json_kind, csv_kind = "application/json", "text/csv"
    item = b'{"sites":[{"name":'
    return {
        "one long item": (json_kind, item + b"[" + b"[]," * (size // 3) + b"[]]}]}"),
        "one long text": (json_kind, item + b'"' + b"x" * size + b'"}]}'),
        "a text of escapes": (json_kind, item + b'"' + b'\\"' * (size // 2) + b'"}]}'),
        "an item that is not closed": (json_kind, item + b'"x",' * (size // 4)),
        "many small items": (json_kind, b'{"sites":[' + b"{}," * (size // 3) + b"{}]}"),
        "items of many lists": (
            json_kind,
            b'{"sites":[' + b",".join([b'{"tags":[' + b"[]," * 40_000 + b"[]]}"] * 8) + b"]}",
        ),
        "many blanks": (json_kind, b'{"sites":[{}' + b" " * size + b"]"),
        "many cells": (csv_kind, b"name,url\n" + b"," * (size // 10) + b"\n" + b"," * (size * 8 // 10)),
        "many lines": (csv_kind, b"name,url\n" + b"\n" * size),
        "many lines in a cell": (csv_kind, b'name,url\n"' + b"\n" * size),
        "many columns": (csv_kind, b"name," * 25_000 + b"\n"),
        "many bad rows": (csv_kind, b"name,url\n" + b"x,y\n" * (size // 4)),
        "no text": (csv_kind, b"name,url\n" + b"\xff" * size),
    }


class Requests:
    """Valid requests to every operation, each a new one; most are an admin's, on a site of the owner's."""

    def __init__(self, world: World, proofs: ProofServer) -> None:
        self.world, self.proofs = world, proofs
        self.made = 0
        world.populate()
        with self._session() as session:
            words = hash_password(PASSWORD)
            people = (User(username=f"u{n}", email=f"u{n}@example.com", password_hash=words) for n in range(USERS))
            session.add_all(people)
            sites = [self._site(n) for n in range(SITES)]
            session.add_all(sites)
            session.add(StatusPage(owner_id=world.ids["owner"], slug="everything", title="All", language="en"))
            session.flush()
            self.site, self.changing, self.proven = (site.id for site in sites[:3])
            proofs.token = control.token_of(world.config.proof_key, world.ids["owner"], "127.0.0.1")
            sites[2].url, sites[2].controlled_at = proofs.url, utcnow()
            self.numbers = self._fill(session, sites[0])
        self.admin = self._tokens(world.ids["admin"])["access_token"]

    def request(self, operation: str, path: str) -> tuple[str, str, Callable[[], Any]]:
        """Return the token of who asks, where, and what makes the body."""
        self.made += 1
        token, numbers = self._who_and_what(operation)
        return token, path.format_map(numbers) + QUERIES.get(operation, ""), lambda: self._body(operation)

    def _fill(self, session: Any, site: Site) -> dict[str, int]:
        """Let a site have been watched for long, with much to find; return numbers of what was found."""
        now = utcnow()
        hour = now.replace(minute=0, second=0, microsecond=0)
        site.rolled_until, site.state, site.grade, site.inspected_at = hour, "down", "F", now
        times = {"dns_ms": 1.0, "connect_ms": 2.0, "tls_ms": 3.0, "first_byte_ms": 4.0, "total_ms": 12.5}
        for n in range(CHECKS):
            at = now - timedelta(seconds=n)
            session.add(CheckResult(site_id=site.id, checked_at=at, state="up", latency_ms=12.5, **times))
        for n in range(1, HOURS):
            sums = {name: 60 * value for name, value in times.items()}
            session.add(
                HourlyResult(site_id=site.id, hour=hour - timedelta(hours=n), checks=60, down=1, maintenance=0,
                             timed=59, latency_ms=750.0, latencies=None, **sums)
            )  # fmt: skip
        for n in range(FOUND):
            at = now - timedelta(hours=n + 1)
            told = {"owner_id": site.owner_id, "created_at": at, "kind": "down", "data": {"cause": "x" * 200}}
            session.add(Event(event_id=f"{n:032x}", site_id=site.id, **told))
            session.add(
                Incident(site_id=site.id, owner_id=site.owner_id, started_at=at, cause="x" * 200,
                         ended_at=at + timedelta(minutes=5) if n else None)
            )  # fmt: skip
            session.add(
                Finding(site_id=site.id, code="cookie_no_secure", subject=f"cookie {n}", kind="visit",
                        severity="medium", state="open", evidence="x" * 400, first_seen_at=at, last_seen_at=at)
            )  # fmt: skip
        page = Answer(200, (("content-type", "text/html"),), b"<p>Hello</p>\n" * 5000, site.url, truncated=False)
        name = snapshots.name(page)
        session.add(PageBody(hash=name, body=snapshots.pack(page), size=snapshots.size(page)))
        changes = [{"kind": "script", "severity": "critical", "text": "x" * 300} for _ in range(50)]
        for n in range(11):
            version = PageVersion(site_id=site.id, hash=name, seen_at=now - timedelta(hours=11 - n), status_code=200)
            if n:
                version.severity, version.changes, version.diff = "critical", changes, "+ a changed line\n" * 2000
            session.add(version)
        site.tamper_state, site.tamper_severity, site.page_hash = "changed", "critical", name
        session.flush()
        finding = session.query(Finding.id).filter_by(site_id=site.id).order_by(Finding.id).first()[0]
        site.baseline_id = session.query(PageVersion.id).filter_by(site_id=site.id).order_by(PageVersion.id).first()[0]
        return {"finding_id": finding, "version_id": version.id}

    def _who_and_what(self, operation: str) -> tuple[str, dict[str, Any]]:
        """Return the token of who asks, and the numbers in the path."""
        numbers: dict[str, Any] = {"site_id": self.site, "user_id": self.world.ids["mate"], **self.numbers}
        if operation in ENDING or operation in FEW:
            user = self._user()
            self._tokens(user)
            with self._session() as session:
                numbers["session_id"] = session.query(UserSession.id).filter_by(user_id=user).scalar()
            return self._tokens(user)["access_token"], numbers
        if operation in ("prove_control", "ask_for_scan", "give_up_control"):
            numbers["site_id"] = self.proven
            with self._session() as session:
                session.get_one(Site, self.proven).controlled_at = utcnow() - timedelta(hours=1)
        if operation == "change_site":
            numbers["site_id"] = self.changing
        if operation.endswith(("_target", "_target_secret")):
            numbers["target_id"] = self._target(self.world.ids["admin"], "webhook", "https://example.net/").id
        if operation.endswith("_status_page"):
            numbers["page_id"] = self._page(self.world.ids["admin"]).id
        if operation == "remove_user":
            numbers["user_id"] = self._user()
        if operation == "remove_key":
            with self._session() as session:
                key, _ = keys.create_key(session, self.world.ids["admin"], name=f"{self.made}", scopes=["sites:read"])
                numbers["key_id"] = key.id
        if operation == "remove_site":
            with self._session() as session:
                site = self._site(self.made)
                session.add(site)
                session.flush()
                numbers["site_id"] = site.id
        return self.admin, numbers

    def _body(self, operation: str) -> Any:
        n = self.made
        bodies: dict[str, Callable[[], dict[str, Any]]] = {
            "log_in": lambda: {"email": "owner@example.com", "password": PASSWORD},
            "refresh": lambda: {"refresh_token": self._tokens(self.world.ids["owner"])["refresh_token"]},
            "register": lambda: {"username": "somebody", "email": f"somebody{n}@example.com", "password": PASSWORD},
            "verify": lambda: {"token": self._one_time("register", new=True), "password": PASSWORD},
            "request_reset": lambda: {"email": f"u{n % USERS}@example.com"},
            "reset": lambda: {"token": self._one_time("reset"), "password": "another right password"},
            "confirm_email_change": lambda: {"token": self._one_time("email")},
            "log_in_by_oidc": lambda: {"access_token": "of nobody"},
            "change_password": lambda: {"old_password": PASSWORD, "new_password": "another right password"},
            "request_email_change": lambda: {"email": f"elsewhere{n}@example.com", "password": PASSWORD},
            "add_key": lambda: {"name": f"backup {n}", "scopes": ["sites:read"]},
            "add_site": lambda: {"name": f"Another {n}", "url": f"https://example.org/{n}"},
            "change_site": lambda: {"name": f"Renamed {n}", "url": f"https://example.org/{n}"},
            "import_sites": lambda: {"sites": [self._row(n, row) for row in range(ROWS)]},
            "add_target": lambda: {"name": f"Chat {n}", "kind": "slack", "address": "https://example.net/chat"},
            "change_target": lambda: {"name": f"Renamed {n}", "minimum_severity": "high"},
            "confirm_target": lambda: {"token": self._agreement()},
            "accept_version": lambda: {"version_id": self.numbers["version_id"]},
            "add_status_page": lambda: {"slug": f"page-{n}", "title": f"Page {n}"},
            "change_status_page": lambda: {"title": f"Renamed {n}", "tag": "shop"},
            "change_bug": lambda: {"state": "acknowledged" if n % 2 else "open", "note": "seen"},
            "add_user": lambda: {"username": "x", "email": f"x{n}@example.com", "password": PASSWORD, "language": "en"},
            "change_user": lambda: {"username": f"renamed {n}", "time_zone": "Europe/Berlin"},
        }
        return bodies[operation]()

    @contextmanager
    def _session(self) -> Iterator[Any]:
        with self.world.app.test_request_context():
            yield db.session()
            db.session.commit()

    def _site(self, number: int) -> Site:
        url = f"https://example.com/{number}"
        return Site(owner_id=self.world.ids["owner"], name=f"site {number}", url=url, interval=60, state="up")

    def _row(self, n: int, row: int) -> dict[str, Any]:
        name = f"Imported {n}.{row}"
        window = {"weekdays": ["mon"], "at": "02:00", "minutes": 60, "time_zone": "Europe/Berlin"}
        some = {"tags": ["a", "b"], "headers": {"Accept": "text/html"}, "maintenance": [window], "retries": 2}
        return {"name": name, "url": f"https://example.org/{n}?{row}", **some}

    def _user(self) -> int:
        with self._session() as session:
            user = User(username="new", email=f"new{self.made}@example.com", password_hash=hash_password(PASSWORD))
            session.add(user)
            session.flush()
            return user.id

    def _target(self, owner_id: int, kind: str, address: str) -> AlertTarget:
        with self._session() as session:
            given = {"kind": kind, "address": address, "confirmed_at": utcnow(), "secret": "whsec_AAAA"}
            target = AlertTarget(owner_id=owner_id, name=f"target {self.made}", **given)
            session.add(target)
            session.flush()
            return target

    def _page(self, owner_id: int) -> StatusPage:
        with self._session() as session:
            page = StatusPage(owner_id=owner_id, slug=f"made-{self.made}", title="A page", language="en")
            session.add(page)
            session.flush()
            return page

    def _agreement(self) -> str:
        owner, address = self.world.ids["owner"], f"friend{self.made}@example.com"
        data = {"target": self._target(owner, "mail", address).id}
        with self._session() as session:
            return one_time.issue(session, "target", timedelta(hours=1), user_id=owner, email=address, data=data)

    def _tokens(self, user_id: int) -> dict[str, Any]:
        with self._session() as session:
            return start_session(session.get_one(User, user_id), "password", "the monitor")

    def _one_time(self, purpose: str, *, new: bool = False) -> str:
        user_id = None if new else self._user()
        data = {"username": "x", "password_hash": hash_password(PASSWORD)} if new else None
        email = f"{purpose}{self.made}@example.com"
        with self._session() as session:
            return one_time.issue(session, purpose, timedelta(hours=1), user_id=user_id, email=email, data=data)
