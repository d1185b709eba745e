"""Who may do what: every operation of the API's description, asked by everybody there is.

An operation that is new to the description fails by name until FOR_WHOM says for whom it is. The table in docs/api.md
is what was measured here; `python -m tests.integration.test_matrix` prints it anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cloudeye.extensions import db
from cloudeye.models import (
    AlertTarget,
    Base,
    CheckResult,
    Finding,
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
from tests.integration.world import PASSWORD, World, end, environment, make_world

pytestmark = pytest.mark.long

DOCS = Path(__file__).resolve().parents[2] / "docs" / "api.md"

# For whom each operation is. "own": whoever is logged in, on what is theirs; a key of theirs if it has the scope.
# "account": the same, but for people alone. "admin": for admins, and for keys of admins.
FOR_WHOM = {
    "public": """ping healthz readyz log_in refresh register verify request_reset reset confirm_email_change
        get_oidc log_in_by_oidc confirm_target""",
    "account": """get_me log_out change_password request_email_change list_sessions end_other_sessions end_session
        list_keys add_key remove_key""",
    "own": """list_sites add_site export_sites import_sites get_site change_site remove_site get_usability
        get_usability_history list_usability list_site_incidents list_incidents list_checks get_user
        change_user list_bugs get_bugs change_bug get_control prove_control give_up_control ask_for_scan
        list_tamper get_tamper list_versions get_version accept_version
        list_targets add_target get_target change_target remove_target test_target rotate_target_secret
        list_events list_site_events
        list_status_pages add_status_page get_status_page change_status_page remove_status_page""",
    "admin": "list_users add_user remove_user",
}
ACCESS = {name: access for access, names in FOR_WHOM.items() for name in names.split()}
# What lies below an account is nobody else's, whereas admins see every user's sites.
PRIVATE = {
    "end_session", "remove_key", "get_target", "change_target", "remove_target", "test_target", "rotate_target_secret",
    "get_status_page", "change_status_page", "remove_status_page",
}  # fmt: skip
SWITCHED_OFF = {"get_oidc", "log_in_by_oidc"}  # 404 for everybody: the stack of these tests has no issuer

# What is open to everybody lets nobody in whose account is not active.
INACTIVE = {"log_in": 401, "refresh": 401, "reset": 400, "confirm_email_change": 400}

# Everybody there is, and whose token or key each sends.
ACTORS = {
    "anonymous": None,
    "user": "owner",
    "other user": "outsider",
    "admin": "admin",
    "deactivated": "owner",
    "key without scope": "owner",
    "key with scope": "owner",
}
# What a refusal may change all the same: that a key was used, and that a login was tried.
NOTED = {("api_keys", "last_used_at")}
COUNTED = {"attempt_counters"}


@dataclass
class Scene:
    """What the owner has, and what a valid request to each operation holds."""

    world: World
    proofs: ProofServer  # where the owner's site is
    numbers: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def set_up(self) -> None:
        """Empty the tables and give the owner a site, a check, a key and a second session."""
        self.world.populate()
        owner = self.world.ids["owner"]
        with self.world.app.test_request_context():
            session = db.session()
            site = Site(owner_id=owner, name="Example", url=self.proofs.url, interval=60, state="unknown")
            self.proofs.token = control.token_of(self.world.config.proof_key, owner, "127.0.0.1")
            site.control_token, site.controlled_at = self.proofs.token, utcnow() - timedelta(hours=1)
            site.next_scan_at = utcnow() + timedelta(hours=23)
            session.add(site)
            session.flush()
            seen = {"first_seen_at": utcnow(), "last_seen_at": utcnow()}
            finding = Finding(
                site_id=site.id, code="hsts_missing", subject="", kind="visit", severity="medium", state="open", **seen
            )
            agreed = {"kind": "webhook", "address": "https://example.net/", "secret": "whsec_AAAA"}
            target = AlertTarget(owner_id=owner, name="Pager", confirmed_at=utcnow(), **agreed)
            asked = AlertTarget(owner_id=owner, name="Colleague", kind="mail", address="colleague@example.net")
            page = StatusPage(owner_id=owner, slug="our-shop", title="Our shop", language="en")
            session.add_all([finding, target, asked, page])
            session.flush()
            session.add(CheckResult(site_id=site.id, checked_at=utcnow(), state="up", status_code=200))
            seen_page = Answer(200, (("content-type", "text/html"),), b"<p>Hello", self.proofs.url, truncated=False)
            name = snapshots.name(seen_page)
            session.add(PageBody(hash=name, body=snapshots.pack(seen_page), size=snapshots.size(seen_page)))
            version = PageVersion(site_id=site.id, hash=name, seen_at=utcnow(), status_code=200)
            session.add(version)
            session.flush()
            key, _ = keys.create_key(session, owner, name="mine", scopes=["sites:read"])
            opened = start_session(session.get_one(User, owner), "password", "elsewhere")
            session_id = session.query(UserSession.id).filter_by(user_id=owner).scalar()
            person = {"username": "newcomer", "password_hash": hash_password(PASSWORD)}
            hour = timedelta(hours=1)
            self.tokens = {
                "refresh": opened["refresh_token"],
                "verify": one_time.issue(session, "register", hour, email="new@example.com", data=person),
                "reset": one_time.issue(session, "reset", hour, user_id=owner, email="owner@example.com"),
                "target": one_time.issue(
                    session, "target", hour, user_id=owner, email=asked.address, data={"target": asked.id}
                ),
                "email": one_time.issue(session, "email", hour, user_id=owner, email="moved@example.com"),
            }
            session.commit()
            self.numbers = {"user_id": owner, "site_id": site.id, "key_id": key.id, "session_id": session_id}
            self.numbers |= {"finding_id": finding.id, "target_id": target.id, "version_id": version.id}
            self.numbers["page_id"] = page.id

    def headers(self, actor: str, scope: str) -> dict[str, str]:
        """Return what an actor sends along, made before anything else happens."""
        name = ACTORS[actor]
        if name is None:
            return {}
        with self.world.app.test_request_context():
            user = db.session.get_one(User, self.world.ids[name])
            if actor.startswith("key"):
                scopes = {scope} & set(keys.SCOPES) or set(keys.SCOPES)
                if actor == "key without scope":
                    scopes = set(keys.SCOPES) - {scope}
                _, text = keys.create_key(db.session(), user.id, name=actor, scopes=scopes)
                headers = {"X-API-Key": text}
            else:
                tokens = start_session(user, "password", "the matrix")
                headers = {"Authorization": f"Bearer {tokens['access_token']}"}
            db.session.commit()
        if actor == "deactivated":
            self._deactivate(user.id)
        return headers

    def _deactivate(self, user_id: int) -> None:
        admin = {"Authorization": self.headers("admin", "")["Authorization"]}
        body = {"active": False}
        answer = self.world.app.test_client().patch(f"/api/v1/users/{user_id}", json=body, headers=admin)
        assert answer.status_code == 200, answer.text
        # Every process learns of it within two seconds; these tests do not wait for that.
        self.world.app.extensions["cloudeye-tokens"].revocations.read_at = float("-inf")

    def body(self, operation: str) -> dict[str, Any] | None:
        """Return a valid body for an operation; there is one here for each that takes any."""
        bodies: dict[str, dict[str, Any]] = {
            "log_in": {"email": "owner@example.com", "password": PASSWORD},
            "refresh": {"refresh_token": self.tokens["refresh"]},
            "register": {"username": "somebody", "email": "somebody@example.com", "password": PASSWORD},
            "verify": {"token": self.tokens["verify"], "password": PASSWORD},
            "request_reset": {"email": "mate@example.com"},
            "reset": {"token": self.tokens["reset"], "password": "another right password"},
            "confirm_email_change": {"token": self.tokens["email"]},
            "log_in_by_oidc": {"access_token": "of nobody"},
            "change_password": {"old_password": PASSWORD, "new_password": "another right password"},
            "request_email_change": {"email": "elsewhere@example.com", "password": PASSWORD},
            "add_key": {"name": "backup", "scopes": ["sites:read"]},
            "add_target": {"name": "Another", "kind": "slack", "address": "https://example.net/chat"},
            "change_target": {"name": "Renamed"},
            "confirm_target": {"token": self.tokens["target"]},
            "accept_version": {},
            "add_status_page": {"slug": "another", "title": "Another"},
            "change_status_page": {"title": "Renamed"},
            "add_site": {"name": "Another", "url": "https://example.org/"},
            "change_site": {"name": "Renamed"},
            "import_sites": {"sites": [{"name": "Another", "url": "https://example.org/"}]},
            "add_user": {"username": "made", "email": "made@example.com"},
            "change_user": {"username": "renamed"},
            "change_bug": {"state": "acknowledged"},
        }
        return bodies.get(operation)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Return everything that lies in the database."""
        with self.world.app.app_context():
            return {
                table.name: sorted(
                    (
                        {name: value for name, value in row.items() if (table.name, name) not in NOTED}
                        for row in db.session.execute(table.select()).mappings()
                    ),
                    key=str,
                )
                for table in Base.metadata.sorted_tables
                if table.name not in COUNTED
            }


@dataclass(frozen=True)
class Operation:
    """An operation of the description."""

    name: str
    method: str
    path: str
    described: dict[str, Any]

    @property
    def scope(self) -> str:
        """The scope that a key needs for it."""
        return f"{self.described['tags'][0]}:{'read' if self.method == 'GET' else 'write'}"


def operations_of(world: World) -> dict[str, Operation]:
    """Read the description as a client does."""
    paths = world.app.test_client().get("/api/openapi.json").json["paths"]
    found = [
        Operation(described["operationId"], method.upper(), path, described)
        for path, methods in paths.items()
        for method, described in methods.items()
        if method != "parameters"
    ]
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


def expected(operation: str, actor: str, *, of_the_owner: bool) -> int:
    """Return the status that an actor should get; 200 stands for any success."""
    access = ACCESS[operation]
    if access == "public":
        if operation in SWITCHED_OFF:
            return 404
        return INACTIVE.get(operation, 200) if actor == "deactivated" else 200
    if actor in ("anonymous", "deactivated"):
        return 401
    if actor == "key without scope" or (actor == "key with scope" and access == "account"):
        return 403
    if access == "admin":
        return 200 if actor == "admin" else 403
    if of_the_owner and (actor == "other user" or (actor == "admin" and operation in PRIVATE)):
        return 404
    return 200


def measure(scene: Scene, operation: Operation, actor: str) -> int:
    """Let an actor ask for an operation on what the owner has; return the status, 200 for any success."""
    scene.set_up()
    headers = scene.headers(actor, operation.scope)
    before = scene.rows()
    path = operation.path.format_map(scene.numbers)
    body = scene.body(operation.name)
    assert (body is None) == ("requestBody" not in operation.described), f"no valid body for {operation.name}"
    answer = scene.world.app.test_client().open(path, method=operation.method, headers=headers, json=body)
    status = 200 if answer.status_code < 300 else answer.status_code
    if status != 200:
        assert answer.json["status"] == "fail", answer.text
        assert scene.rows() == before, f"{operation.name} by {actor} was refused with {status} and changed something"
    elif operation.method != "GET" and actor == "user":
        assert scene.rows() != before, f"{operation.name} by {actor} succeeded and changed nothing"
    return status


def row(operation: Operation, statuses: dict[str, int]) -> str:
    """Write one line of the table."""
    cells = ["yes" if status == 200 else str(status) for status in statuses.values()]
    return f"| `{operation.method} {operation.path}` | {' | '.join(cells)} |"


@pytest.fixture(scope="module")
def scene(lasting_world: World) -> Iterator[Scene]:
    """The database of an engine behind an instance where anyone may register."""
    open_world = lasting_world.second_instance(APP_OPEN_REGISTRATION="1", APP_SYNC_ALLOW_PRIVATE="1")
    with ProofServer() as proofs:
        yield Scene(open_world, proofs)
    end(open_world.app)


def test_the_matrix_knows_each_operation_of_the_description(scene: Scene) -> None:
    found = operations_of(scene.world)
    assert found.keys() - ACCESS.keys() == set(), "say in FOR_WHOM for whom these are"
    assert ACCESS.keys() - found.keys() == set(), "these are gone"
    closed = {name for name, operation in found.items() if "security" in operation.described}
    assert closed == {name for name, access in ACCESS.items() if access != "public"}
    open_to_keys = {name for name in closed if {"key": []} in found[name].described["security"]}
    assert open_to_keys == {name for name, access in ACCESS.items() if access in ("own", "admin")}


@pytest.mark.parametrize("name", ACCESS)
def test_an_operation_is_for_whom_it_should_be(scene: Scene, name: str) -> None:
    operation = operations_of(scene.world)[name]
    of_the_owner = "{" in operation.path
    statuses = {actor: measure(scene, operation, actor) for actor in ACTORS}
    line = row(operation, statuses)
    print(line)
    assert statuses == {actor: expected(name, actor, of_the_owner=of_the_owner) for actor in ACTORS}
    assert line in DOCS.read_text("utf-8"), "docs/api.md is stale: python -m tests.integration.test_matrix"


def main() -> None:
    """Print the table of docs/api.md, measured on SQLite."""
    with tempfile.TemporaryDirectory() as folder, ProofServer() as proofs:
        open_to_all = {"APP_OPEN_REGISTRATION": "1", "APP_SYNC_ALLOW_PRIVATE": "1"}
        world = make_world(environment(Path(folder), f"sqlite:///{folder}/matrix.sqlite3", **open_to_all))
        scene = Scene(world, proofs)
        print(f"| | {' | '.join(ACTORS)} |\n|---|{'---|' * len(ACTORS)}")
        for operation in operations_of(world).values():
            print(row(operation, {actor: measure(scene, operation, actor) for actor in ACTORS}))
        end(world.app)


if __name__ == "__main__":
    main()
