"""What a caller is told when something behind the API fails, and what the log is told."""

from __future__ import annotations

import io
import json
import logging
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cloudeye import logs, tracing
from cloudeye.app import create_app
from cloudeye.config import Config
from cloudeye.extensions import db
from cloudeye.models import User
from tests.integration.conftest import DATABASE_PASSWORD, mariadb_url
from tests.integration.mariadb import MariaDB
from tests.integration.world import World, end, environment, make_world
from tests.ports import free_port


@pytest.fixture
def log(world: World) -> Iterator[io.StringIO]:
    """What the process logs, as it would stand on its standard error."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.start("info", "api", tracing.context)
    stream = io.StringIO()
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(log: io.StringIO) -> list[dict[str, Any]]:
    """Return what was logged so far."""
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_an_unexpected_error_is_rolled_back_and_its_trace_is_in_the_log_alone(
    world: World, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = world.log_in("admin")
    real = db.session.commit

    def fail() -> None:
        db.session.flush()
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(db.session, "commit", fail)
    body = {"username": "lost", "email": "lost@example.com"}
    answer = admin.asks("POST", "users", body, environ_overrides={"HTTP_X_REQUEST_ID": "request-0815"})
    monkeypatch.setattr(db.session, "commit", real)
    assert answer.status_code == 500
    assert answer.json == {
        "status": "error",
        "message": "Something went wrong on our side.",
        "data": None,
    }
    assert "X-Request-ID" in answer.headers
    with world.app.app_context():
        assert db.session.query(User).filter_by(email="lost@example.com").count() == 0
    (line,) = [line for line in lines_of(log) if line["message"] == "unexpected error"]
    assert "ZeroDivisionError: secret detail" in str(line["trace"])
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert line["user_id"] == admin.id


@pytest.mark.parametrize(
    ("given", "kept"), [("abcDEF-0123456789", True), ("short", False), ('x"} {"forged', False), ("a" * 65, False)]
)
def test_a_request_id_is_taken_over_when_it_has_the_right_form(world: World, given: str, kept: bool) -> None:
    answer = world.app.test_client().get("/ping", headers={"X-Request-ID": given})
    assert (answer.headers["X-Request-ID"] == given) is kept


def test_when_every_connection_is_taken_the_answer_is_503_with_retry_after(world: World) -> None:
    settings = {
        **world.settings,
        "APP_DATABASE_POOL_SIZE": "1",
        "APP_DATABASE_POOL_OVERFLOW": "0",
        "APP_DATABASE_POOL_WAIT": "0.1",
    }
    narrow = World(create_app(Config.from_environment(settings)), settings)
    narrow.ids = world.ids
    owner = narrow.log_in("owner")
    with narrow.app.app_context(), db.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        answer = owner.gets("sites")
        assert (answer.status_code, answer.json["status"]) == (503, "error")
        assert answer.headers["Retry-After"] == "1"
        assert narrow.stranger().gets("/ping").status_code == 200
        assert narrow.stranger().gets("/readyz").status_code == 503
    assert owner.gets("sites").status_code == 200
    end(narrow.app)


def test_an_error_is_answered_even_when_the_rollback_fails_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = world.log_in("admin")

    def fail() -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(db.session, "commit", fail)
        patch.setattr(db.session, "rollback", fail)
        answer = admin.asks("POST", "sites", {"name": "Example", "url": "https://example.com/"})
    assert (answer.status_code, answer.json["status"]) == (500, "error")


def test_a_statement_that_failed_is_logged_without_what_was_to_be_stored(
    world: World, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = world.log_in("admin")

    def fail() -> None:
        db.session.add(User(username="twice", email="OWNER@example.com", password_hash="$argon2id$secret"))
        db.session.flush()

    monkeypatch.setattr(db.session, "commit", fail)
    answer = admin.asks("POST", "sites", {"name": "Example", "url": "https://example.com/"})
    assert answer.status_code == 500
    (line,) = [line for line in lines_of(log) if line["message"] == "unexpected error"]
    assert "IntegrityError" in str(line["trace"])
    assert "$argon2id$secret" not in str(line["trace"])


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/no/such/page", 404), ("PUT", "/ping", 405)])
def test_what_flask_refuses_is_answered_in_the_envelope(world: World, method: str, path: str, status: int) -> None:
    answer = world.stranger().asks(method, path)
    assert answer.status_code == status
    assert answer.json["status"] == "fail"
    assert answer.json["message"]
    assert ("Allow" in answer.headers) is (status == 405)


def test_a_body_that_is_too_large_is_refused(world: World) -> None:
    answer = world.log_in("owner").asks("POST", "sites", data=b" " * 1_048_577, content_type="application/json")
    assert (answer.status_code, answer.json["status"]) == (413, "fail")


def test_a_stopped_server_is_503_and_a_restarted_one_serves_at_once() -> None:
    with tempfile.TemporaryDirectory(prefix="ce-") as name, MariaDB(Path(name), free_port()) as server:
        folder = Path(name)
        server.run("CREATE USER cloudeye@'localhost' IDENTIFIED BY %s", DATABASE_PASSWORD)
        server.run("GRANT ALL ON cloudeye.* TO cloudeye@'localhost'")
        world = make_world(environment(folder, mariadb_url(server), DATABASE_PASSWORD))
        world.populate()
        owner = world.log_in("owner")
        server.stop(signal.SIGTERM)
        answer = owner.gets("sites")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        ready = owner.gets("/readyz")
        assert (ready.status_code, ready.json["data"]["database"]) == (503, "unreachable")
        assert owner.gets("/healthz").status_code == 200
        server.start()
        assert owner.gets("sites").status_code == 200
        server.stop(signal.SIGKILL)
        server.start()
        # The connections of before are closed: found out before one is used, so no request is lost.
        assert owner.gets("sites").status_code == 200
        end(world.app)


def test_a_changed_database_password_is_used_by_the_next_connection() -> None:
    with tempfile.TemporaryDirectory(prefix="ce-") as name, MariaDB(Path(name), free_port()) as server:
        folder = Path(name)
        server.run("CREATE USER cloudeye@'localhost' IDENTIFIED BY %s", DATABASE_PASSWORD)
        server.run("GRANT ALL ON cloudeye.* TO cloudeye@'localhost'")
        world = make_world(environment(folder, mariadb_url(server), DATABASE_PASSWORD))
        end(world.app)
        server.run("ALTER USER cloudeye@'localhost' IDENTIFIED BY 'another one'")
        assert world.stranger().gets("/readyz").status_code == 503
        (folder / "database_password").write_text("another one\n")
        assert world.stranger().gets("/readyz").status_code == 200
        end(world.app)


def test_another_account_in_the_password_file_is_used_by_the_next_connection() -> None:
    with tempfile.TemporaryDirectory(prefix="ce-") as name, MariaDB(Path(name), free_port()) as server:
        folder = Path(name)
        for account in ("cloudeye", "cloudeye_b"):
            server.run(f"CREATE USER {account}@'localhost' IDENTIFIED BY %s", f"password of {account}")
            server.run(f"GRANT ALL ON cloudeye.* TO {account}@'localhost'")
        world = make_world(environment(folder, mariadb_url(server), "password of cloudeye"))
        assert account_of(world) == "cloudeye@localhost"
        (folder / "database_password").write_text("password of cloudeye_b\ncloudeye_b\n")
        assert account_of(world) == "cloudeye@localhost", "the connection that is open goes on"
        end(world.app)
        assert account_of(world) == "cloudeye_b@localhost"
        server.run("DROP USER cloudeye@'localhost'")
        assert world.stranger().gets("/readyz").status_code == 200
        end(world.app)


def account_of(world: World) -> str:
    with world.app.app_context(), db.engine.connect() as connection:
        return str(connection.exec_driver_sql("SELECT CURRENT_USER()").scalar())
