"""Migrations that are refused as they run: by their kind's rules on both engines, and by the server itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import inspect, text

from cloudeye import cli
from cloudeye.app import create_app
from cloudeye.config import Config
from cloudeye.extensions import db
from cloudeye.services.readiness import check_readiness, contract_revisions
from tests.integration.world import end, migrate
from tests.unit.cloudeye.migrated import HEAD, folder_with

ADDS = 'op.add_column("users", sa.Column("nick", sa.String(80)))'
WIDENS = 'op.alter_column("status_pages", "tag", type_=sa.String(80), existing_type=sa.String(40))'
ON_SERVER = pytest.mark.parametrize("engine", ["mariadb"], indirect=True)


@pytest.fixture
def app(empty_database: dict[str, str]) -> Iterator[Flask]:
    """An application whose database is at this release's newest revision."""
    made = create_app(Config.from_environment({**empty_database, "APP_DATABASE_LOCK_WAIT": "1"}))
    migrate(made)
    yield made
    end(made)


def upgrade(app: Flask, folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    """Run the migrations of a folder; return what was said of a failure, empty when there was none."""
    from flask_migrate import upgrade

    cli.add_migrations(app)
    caplog.clear()
    with app.app_context(), caplog.at_level(logging.ERROR):
        try:
            upgrade(directory=str(folder))
        except SystemExit:
            return "\n".join(record.getMessage() for record in caplog.records)
    return ""


def revision(app: Flask) -> str:
    with app.app_context(), db.engine.connect() as connection:
        return str(connection.scalar(text("SELECT version_num FROM alembic_version")))


def columns(app: Flask, table: str = "users") -> set[str]:
    with app.app_context():
        return {column["name"] for column in inspect(db.engine).get_columns(table)}


def test_what_breaks_the_rules_of_its_kind_is_refused_as_it_begins(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_with(tmp_path / "migrations", ADDS, 'op.drop_column("users", "nick")')
    said = upgrade(app, folder, caplog)
    assert "9002_test.py is refused: DROP" in said
    assert "contract" in said
    assert (revision(app), "nick" in columns(app)) == ("9001", True)


def test_one_without_a_kind_is_refused_by_name(app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = upgrade(app, folder_with(tmp_path / "migrations", ADDS, kind=""), caplog)
    assert "9001_test.py is refused: it has no kind" in said
    assert revision(app) == HEAD


def test_a_contract_migration_takes_away(app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    body = 'with op.batch_alter_table("users") as table:\n    table.drop_column("time_zone")'
    assert upgrade(app, folder_with(tmp_path / "migrations", body, kind='kind = "contract"'), caplog) == ""
    assert "time_zone" not in columns(app)


@ON_SERVER
def test_the_server_refuses_to_copy_a_table_under_a_lock(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Beyond 255 bytes a VARCHAR's length takes two bytes in each row, so all rows are written anew.
    said = upgrade(app, folder_with(tmp_path / "migrations", WIDENS), caplog)
    assert "9001 is refused by the server, which would copy the table under a lock" in said
    assert "add a column or a table beside it" in said
    assert revision(app) == HEAD
    assert upgrade(app, folder_with(tmp_path / "contract", WIDENS, kind='kind = "contract"'), caplog) == ""


@ON_SERVER
def test_a_table_that_a_transaction_holds_is_not_waited_for_long(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_with(tmp_path / "migrations", ADDS)
    with app.app_context(), db.engine.connect() as holder:
        holder.execute(text("SELECT 1 FROM users"))
        said = upgrade(app, folder, caplog)
    assert "9001 waited 1 s (database.lock_wait) for a table that a transaction holds" in said
    assert (revision(app), "nick" in columns(app)) == (HEAD, False)
    assert upgrade(app, folder, caplog) == ""
    assert (revision(app), "nick" in columns(app)) == ("9001", True)


def test_one_that_fails_is_a_whole_step_and_the_next_attempt_goes_on_from_there(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    again = 'op.add_column("users", sa.Column("nick", sa.String(80)))'
    said = upgrade_raising(app, folder_with(tmp_path / "broken", ADDS, again))
    assert "nick" in said
    assert (revision(app), "nick" in columns(app)) == ("9001", True)
    mended = folder_with(tmp_path / "mended", ADDS, again.replace("nick", "other"))
    assert upgrade(app, mended, caplog) == ""
    assert (revision(app), "other" in columns(app)) == ("9002", True)


def upgrade_raising(app: Flask, folder: Path) -> str:
    from flask_migrate import upgrade
    from sqlalchemy.exc import OperationalError

    with app.app_context(), pytest.raises(OperationalError) as failed:
        upgrade(directory=str(folder))
    return str(failed.value)


def test_a_contract_migration_that_waits_is_nothing_that_a_release_needs(app: Flask, tmp_path: Path) -> None:
    versions = folder_with(tmp_path / "migrations", ADDS, ADDS, kind='kind = "contract"') / "versions"
    assert contract_revisions(versions) == {"9001", "9002"}
    with app.app_context():
        found = check_readiness(db.engine, versions)
    assert (found.ready, found.missing, found.waiting) == (True, (), ("9001", "9002"))
    behind = (versions / "9002_test.py").read_text().replace('"contract"', '"expand"')
    versions = folder_with(tmp_path / "behind", ADDS, ADDS, kind='kind = "contract"') / "versions"
    (versions / "9002_test.py").write_text(behind)
    with app.app_context():
        found = check_readiness(db.engine, versions)
    assert (found.ready, found.missing, found.waiting) == (False, ("9002",), ("9001",))
