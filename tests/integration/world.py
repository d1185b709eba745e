"""An application on a real database, and a fixed cast of people who use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse

from cloudeye import cli
from cloudeye.app import create_app
from cloudeye.config import Config
from cloudeye.extensions import cache, db
from cloudeye.models import Base, Site, User
from cloudeye.services.passwords import hash_password

PASSWORD = "the right password"
CAST = ("owner", "mate", "outsider", "admin", "leaver")


def environment(folder: Path, database_url: str, password: str = "", **changes: str) -> dict[str, str]:
    """Return every variable that a process reads.

    Args:
        folder: for the secrets and what the process writes.
        database_url: without password.
        password: of the database, empty for SQLite.
        changes: variables that are to differ.
    """
    secret_key = folder / "secret_key"
    secret_key.write_text("0123456789abcdef" * 4)
    password_file = folder / "database_password"
    password_file.write_text(password + "\n")
    return {
        "APP_NAME": "cloudeye",
        "APP_ENVIRONMENT": "test",
        "APP_RELEASE": "r1",
        "APP_DATABASE_URL": database_url,
        "APP_DATABASE_PASSWORD_FILE": str(password_file) if password else "",
        "APP_DATABASE_POOL_SIZE": "10",
        "APP_DATABASE_POOL_OVERFLOW": "10",
        "APP_DATABASE_POOL_WAIT": "5",
        "APP_DATABASE_LOCK_WAIT": "5",
        "APP_DATABASE_CONNECTIONS": "40",
        "APP_SECRET_KEY_FILE": str(secret_key),
        "APP_SECRET_KEY_NEXT_FILE": str(folder / "secret_key_next"),
        "APP_SECRET_KEY_PREVIOUS_FILE": str(folder / "secret_key_previous"),
        "APP_PROOF_KEY_FILE": str(folder / "proof_key"),
        "APP_DATA_DIR": str(folder),
        "APP_RUN_DIR": str(folder),
        "APP_LOG_LEVEL": "info",
        "APP_DEBUG": "0",
        "APP_SECURE_COOKIES": "0",
        "APP_TRUSTED_PROXIES": "1",
        "APP_CACHE_URL": "",
        "APP_OPEN_REGISTRATION": "0",
        "APP_ACCESS_TOKEN_MINUTES": "15",
        "APP_PUBLIC_URL": "http://testserver",
        "APP_ALIASES": "/users=/api/v1/users,/api/cloudeye/v1=/api/v1",
        "APP_CORS_ORIGINS": "https://friend.example.com",
        "APP_REFRESH_TOKEN_DAYS": "30",
        "APP_ATTEMPTS_LOGIN_ADDRESS": "1000 per minute",
        "APP_ATTEMPTS_LOGIN_ACCOUNT": "10 per 15 minutes",
        "APP_ATTEMPTS_REGISTER_ADDRESS": "1000 per minute",
        "APP_ATTEMPTS_RESET_ADDRESS": "1000 per minute",
        "APP_ATTEMPTS_RESET_ACCOUNT": "5 per hour",
        "APP_MAIL_HOST": "",
        "APP_MAIL_PORT": "25",
        "APP_MAIL_SECURITY": "none",
        "APP_MAIL_USER": "",
        "APP_MAIL_PASSWORD_FILE": "",
        "APP_MAIL_SENDER": "cloudeye@example.com",
        "APP_OIDC_ISSUER": "",
        "APP_OIDC_CLIENT_ID": "",
        "APP_OIDC_CLIENT_SECRET_FILE": "",
        "APP_OIDC_CREATE_ACCOUNTS": "0",
        "APP_OIDC_DOMAINS": "",
        "APP_OIDC_INTROSPECT": "0",
        "APP_ADMIN_EMAIL": "admin@localhost",
        "APP_HEARTBEAT_FILE": str(folder / "heartbeat"),
        "APP_SYNC_ALLOW_PRIVATE": "0",
        "APP_SYNC_CONCURRENCY": "50",
        "APP_SYNC_CONNECTIONS": "10",
        "APP_SYNC_BATCH": "50",
        "APP_SYNC_POLL_SECONDS": "0.2",
        "APP_SYNC_CONNECT_TIMEOUT": "2",
        "APP_SYNC_READ_TIMEOUT": "2",
        "APP_SYNC_TOTAL_TIMEOUT": "5",
        "APP_SYNC_MAX_BYTES": "65536",
        "APP_SYNC_MAX_REDIRECTS": "5",
        "APP_SYNC_MINIMUM_INTERVAL": "20",
        "APP_SYNC_DEFAULT_INTERVAL": "60",
        "APP_SYNC_HEARTBEAT_SECONDS": "1",
        **changes,
    }


class Person:
    """Somebody who asks the API for things, with a token once logged in."""

    def __init__(self, client: FlaskClient, name: str, user_id: int) -> None:
        self.client, self.name, self.id = client, name, user_id
        self.email = f"{name}@example.com"
        self.headers: dict[str, str] = {}

    def log_in(self) -> Person:
        """Get a token from the API."""
        answer = self.client.post("/api/v1/auth/login", json={"email": self.email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        self.headers = {"Authorization": f"Bearer {answer.json['data']['access_token']}"}
        return self

    def asks(self, method: str, path: str, body: Any = None, **options: Any) -> TestResponse:
        """Send a request; a path without a leading slash lies below /api/v1."""
        if not path.startswith("/"):
            path = f"/api/v1/{path}"
        if body is not None:
            options["json"] = body
        return self.client.open(path, method=method, headers=self.headers, **options)

    def gets(self, path: str) -> TestResponse:
        """Send a GET."""
        return self.asks("GET", path)

    def has_site(self, **given: Any) -> int:
        """Add a site and return its id."""
        body = {"name": "Example", "url": "https://example.com/", **given}
        answer = self.asks("POST", "sites", body)
        assert answer.status_code == 201, answer.text
        return int(answer.json["data"]["site"]["id"])


class World:
    """One application, its database, and the cast."""

    def __init__(self, app: Flask, settings: Mapping[str, str]) -> None:
        self.app, self.settings = app, settings
        self.ids: dict[str, int] = {}

    @property
    def config(self) -> Config:
        """The application's settings."""
        config: Config = self.app.config["CLOUDEYE"]
        return config

    def populate(self) -> None:
        """Empty every table and make the cast; the leaver's account is not active."""
        password_hash = _password_hash()
        with self.app.app_context():
            for table in reversed(Base.metadata.sorted_tables):
                db.session.execute(table.delete())
            people = {
                name: User(
                    username=name,
                    email=f"{name}@example.com",
                    password_hash=password_hash,
                    role="admin" if name == "admin" else "user",
                    active=name != "leaver",
                )
                for name in CAST
            }
            db.session.add_all(people.values())
            db.session.commit()
            # What this process knew of the database before.
            self.app.extensions["cloudeye-tokens"].revocations.read_at = float("-inf")
            cache.clear()
            self.app.extensions["cloudeye_attempts"]._refused.clear()
            self.ids = {name: person.id for name, person in people.items()}

    def second_instance(self, **changes: str) -> World:
        """Return another application on the same database, as another process would be."""
        settings = {**self.settings, **changes}
        other = World(create_app(Config.from_environment(settings)), settings)
        other.ids = self.ids
        return other

    def person(self, name: str) -> Person:
        """Return one of the cast, not logged in."""
        return Person(self.app.test_client(), name, self.ids[name])

    def log_in(self, name: str) -> Person:
        """Return one of the cast, with a token."""
        return self.person(name).log_in()

    def stranger(self) -> Person:
        """Return somebody without an account."""
        return Person(self.app.test_client(), "stranger", 0)

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Collect the SQL that the application sends, each statement as one line."""
        with self.app.app_context():
            engine = db.engine
        found: list[str] = []

        def note(*arguments: Any) -> None:
            found.append(" ".join(arguments[2].split()))

        event.listen(engine, "before_cursor_execute", note)
        try:
            yield found
        finally:
            event.remove(engine, "before_cursor_execute", note)

    @contextmanager
    def changing_user(self, name: str) -> Iterator[User]:
        """Change one of the cast in the database, as another process would."""
        with self.app.app_context():
            yield db.session.get_one(User, self.ids[name])
            db.session.commit()

    @contextmanager
    def changing_site(self, site_id: int) -> Iterator[Site]:
        """Change a site in the database, as sync would."""
        with self.app.app_context():
            yield db.session.get_one(Site, site_id)
            db.session.commit()


def make_world(settings: Mapping[str, str]) -> World:
    """Make an application and bring its database to the newest revision."""
    app = create_app(Config.from_environment(settings))
    migrate(app)
    return World(app, settings)


def migrate(app: Flask, revision: str = "head") -> None:
    """Run the migrations as `flask db upgrade` does."""
    from flask_migrate import upgrade

    cli.add_migrations(app)
    with app.app_context():
        upgrade(revision=revision)


def end(app: Flask) -> None:
    """Close the application's connections."""
    with app.app_context():
        db.engine.dispose()


_hashes: list[str] = []


def _password_hash() -> str:
    if not _hashes:
        _hashes.append(hash_password(PASSWORD))
    return _hashes[0]
