"""The `flask` commands, run as they are typed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from flask_migrate.cli import db as migrations
from sqlalchemy import select

import cloudeye
from cloudeye.app import create_app
from cloudeye.config import Config
from cloudeye.extensions import db
from cloudeye.models import Site, User
from cloudeye.services.readiness import VERSIONS, known_revisions
from cloudeye.services.users import authenticate
from tests.integration.world import end, migrate

pytestmark = pytest.mark.long

SOURCES = str(Path(cloudeye.__file__).parents[1])


def flask(
    settings: dict[str, str], *arguments: str, at: str = "/", sources: str = SOURCES
) -> subprocess.CompletedProcess[str]:
    """Type a command."""
    paths = os.pathsep.join([sources, *(path for path in sys.path if path != SOURCES)])
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "cloudeye.wsgi", *arguments],
        env={**os.environ, **settings, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=at,
        check=False,
    )


@pytest.fixture
def migrated(settings: dict[str, str]) -> dict[str, str]:
    """The environment of a process whose database is complete."""
    app = create_app(Config.from_environment(settings))
    migrate(app)
    end(app)
    return settings


def test_an_incomplete_environment_stops_every_command_with_the_names(settings: dict[str, str]) -> None:
    del settings["APP_NAME"], settings["APP_SYNC_BATCH"]
    done = flask(settings, "check")
    assert done.returncode != 0
    assert "APP_NAME is not set\nAPP_SYNC_BATCH is not set" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_finds_an_unreachable_database_missing_migrations_and_a_complete_one(
    settings: dict[str, str], tmp_path: Path
) -> None:
    nowhere = flask({**settings, "APP_DATABASE_URL": f"sqlite:///{tmp_path}/no/such/folder/db.sqlite3"}, "check")
    assert nowhere.returncode == 1
    assert "database: unreachable" in nowhere.stderr
    empty = flask(settings, "check")
    assert empty.returncode == 1
    assert "flask --app cloudeye.wsgi db upgrade" in empty.stderr
    assert flask(settings, "db", "upgrade").returncode == 0
    assert flask(settings, "db", "upgrade").returncode == 0
    complete = flask(settings, "check")
    assert (complete.returncode, complete.stdout.splitlines()[-1]) == (0, "migrations: complete")


def test_check_says_of_the_other_servers_whether_they_are_reachable(settings: dict[str, str]) -> None:
    flask(settings, "db", "upgrade")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        there, nowhere = server.getsockname()[1], nobody.getsockname()[1]
        others = {
            "APP_MAIL_HOST": "127.0.0.1",
            "APP_MAIL_PORT": str(there),
            "APP_CACHE_URL": f"redis://127.0.0.1:{nowhere}/0",
        }
        done = flask({**settings, **others}, "check")
    assert done.returncode == 0
    assert f"mail: 127.0.0.1 is reachable at port {there}" in done.stdout
    assert f"cache: 127.0.0.1 is not reachable at port {nowhere}" in done.stdout
    assert f"mail: written to files in {settings['APP_DATA_DIR']}/mail" in flask(settings, "check").stdout


def test_what_a_command_logs_is_json(settings: dict[str, str]) -> None:
    done = flask(settings, "db", "upgrade")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert any(line["message"].startswith("Running upgrade  -> 0001") for line in lines)
    assert {line["process"] for line in lines} == {"flask"}


def test_an_admin_is_made_once(migrated: dict[str, str], tmp_path: Path) -> None:
    password = tmp_path / "admin_password"
    password.write_text("the admin's password\nsecond line\n")
    arguments = ("create-admin", "--email", "admin@localhost", "--password-file", str(password))
    first = flask(migrated, *arguments)
    assert (first.returncode, first.stdout) == (0, "admin@localhost was added\n")
    password.write_text("another password\n")
    again = flask(migrated, *arguments)
    assert (again.returncode, again.stdout) == (0, "admin@localhost is already there\n")
    app = create_app(Config.from_environment(migrated))
    with app.app_context():
        admin = authenticate(db.session(), "admin@localhost", "the admin's password")
        assert admin is not None
        assert admin.is_admin
    end(app)


def test_an_admin_needs_an_address(migrated: dict[str, str], tmp_path: Path) -> None:
    password = tmp_path / "admin_password"
    password.write_text("the admin's password\n")
    done = flask(migrated, "create-admin", "--email", "nomail", "--password-file", str(password))
    assert (done.returncode, "nomail: this is no mail address" in done.stderr) == (1, True)


def test_a_user_who_is_there_becomes_admin_only_where_there_is_none(migrated: dict[str, str], tmp_path: Path) -> None:
    password = tmp_path / "admin_password"
    password.write_text("the admin's password\n")

    def create_admin(email: str) -> str:
        return flask(migrated, "create-admin", "--email", email, "--password-file", str(password)).stdout

    flask(migrated, "seed", "--sites", "1")
    assert create_admin("demo@example.com") == "demo@example.com is already there, and admin now: there was none\n"
    app = create_app(Config.from_environment(migrated))
    with app.app_context():
        db.session.add(User(username="other", email="other@example.com"))
        db.session.commit()
    end(app)
    assert "is no active admin; an admin can change that" in create_admin("other@example.com")
    assert create_admin("demo@example.com") == "demo@example.com is already there\n"


def test_an_admin_needs_a_password_that_is_long_enough(migrated: dict[str, str], tmp_path: Path) -> None:
    password = tmp_path / "admin_password"
    password.write_text("short\n")
    done = flask(migrated, "create-admin", "--email", "admin@localhost", "--password-file", str(password))
    assert done.returncode == 1
    assert str(password) in done.stderr


def test_seed_adds_a_user_with_sites_once(migrated: dict[str, str]) -> None:
    assert flask(migrated, "seed", "--sites", "3").stdout == "demo@example.com was added, with 3 sites\n"
    assert flask(migrated, "seed").stdout == "the demo user is already there\n"
    app = create_app(Config.from_environment(migrated))
    with app.app_context():
        assert len(db.session.scalars(select(Site)).all()) == 3
    end(app)


@pytest.mark.parametrize("place", ["production", "staging"])
def test_recreating_the_database_of_a_host_has_to_be_meant(migrated: dict[str, str], place: str) -> None:
    flask(migrated, "seed")
    refused = flask({**migrated, "APP_ENVIRONMENT": place}, "recreate-db")
    assert refused.returncode == 1
    assert "--yes-destroy" in refused.stderr
    app = create_app(Config.from_environment(migrated))
    with app.app_context():
        assert db.session.scalar(select(User.username)) == "demo"
    assert flask({**migrated, "APP_ENVIRONMENT": place}, "recreate-db", "--yes-destroy").returncode == 0
    with app.app_context():
        assert db.session.scalar(select(User.username)) is None
    end(app)


def test_the_migrations_can_be_printed_instead_of_run(settings: dict[str, str]) -> None:
    done = flask(settings, "db", "upgrade", "--sql")
    assert done.returncode == 0
    assert "CREATE TABLE users" in done.stdout
    assert not Path(settings["APP_DATABASE_URL"].removeprefix("sqlite:///")).exists()


def test_the_migrations_are_checked_and_those_that_have_not_run_are_said(settings: dict[str, str]) -> None:
    known = sorted(known_revisions(VERSIONS))
    said = json.loads(flask(settings, "check-migrations", "--json").stdout)
    assert said == {"empty": True, "pending": known}
    assert flask(settings, "db", "upgrade", known[-2]).returncode == 0
    said = json.loads(flask(settings, "check-migrations", "--json").stdout)
    assert said == {"empty": False, "pending": known[-1:]}
    words = flask(settings, "check-migrations").stdout.splitlines()
    assert words[0] == f"{len(known)} migrations suit their kinds; {len(known) - 1} have run"
    assert words[1:] == [f"{known[-1]}: expand, has not run"]


def test_a_new_migration_has_a_kind_and_one_that_breaks_it_is_refused(settings: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(Path(SOURCES) / "cloudeye", tmp_path / "src" / "cloudeye")
    sources = str(tmp_path / "src")
    assert flask(settings, "db", "revision", "--message", "words", sources=sources).returncode == 0
    (path,) = (tmp_path / "src" / "cloudeye" / "migrations" / "versions").glob("*_words.py")
    assert '\nkind = "expand"' in path.read_text()
    path.write_text(path.read_text().replace("    pass", '    op.drop_table("sites")'))
    refused = flask(settings, "check-migrations", "--json", sources=sources)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"Error: {path.name}: DROP takes away" in refused.stderr


def test_each_command_explains_itself(settings: dict[str, str]) -> None:
    listed = flask(settings, "--help").stdout
    for name in ("create-admin", "check", "check-migrations", "recreate-db", "seed", "test", "db"):
        assert f"  {name} " in listed
    app = create_app(Config.from_environment(settings))
    explained = {**app.cli.commands, **migrations.commands}
    assert {"create-admin", "check", "check-migrations", "recreate-db", "seed", "test"} < set(explained)
    assert {"init", "migrate", "upgrade", "downgrade", "history"} < set(explained)
    for name, command in explained.items():
        assert command.help, name
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, f"{name} {option.opts}"


def test_the_applications_tests_are_run_by_a_command_and_know_nothing_of_its_database(settings: dict[str, str]) -> None:
    done = flask(settings, "test", "tests/unit/cloudeye/test_config.py", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed in " in done.stdout
    failed = flask(settings, "test", "tests/unit/cloudeye/test_config.py", "-q", "-k", "nothing_of_that_name")
    assert failed.returncode == 5  # pytest's own word for: nothing was run


def test_where_there_are_no_tests_it_says_where_there_are(settings: dict[str, str], tmp_path: Path) -> None:
    """As in a release on a host, which carries src/ alone."""
    shutil.copytree(Path(SOURCES) / "cloudeye", tmp_path / "src" / "cloudeye")
    done = flask(settings, "test", sources=str(tmp_path / "src"))
    assert done.returncode == 1
    assert done.stderr == (
        "Error: the tests and pytest are not installed here; in a checkout run: make test ARGS='unit integration'\n"
    )


def test_progress_is_no_part_of_what_seeding_answers(migrated: dict[str, str]) -> None:
    done = flask(migrated, "seed", "--sites", "200")
    assert done.stdout == "demo@example.com was added, with 200 sites\n"
    assert "adding sites" in done.stderr
