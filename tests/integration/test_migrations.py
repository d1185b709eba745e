"""The migrations, and what /readyz makes of where the database is."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from sqlalchemy import inspect, text

from cloudeye.app import create_app
from cloudeye.config import Config
from cloudeye.extensions import db
from cloudeye.models import Base
from cloudeye.services.readiness import VERSIONS, check_readiness, known_revisions
from tests.integration.world import World, end, migrate


@pytest.fixture
def bare_app(empty_database: dict[str, str]) -> object:
    """An application whose database has no table yet."""
    app = create_app(Config.from_environment(empty_database))
    yield app
    end(app)


def test_an_empty_database_is_not_ready_and_names_what_is_missing(bare_app: Flask) -> None:
    answer = bare_app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json["status"] == "error"
    assert answer.json["data"]["database"] == "reachable"
    assert answer.json["data"]["missing_revisions"] == sorted(known_revisions(VERSIONS))
    assert bare_app.test_client().get("/healthz").status_code == 200


def test_the_migrations_make_exactly_the_tables_of_the_models(bare_app: Flask) -> None:
    migrate(bare_app)
    migrate(bare_app)
    with bare_app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert bare_app.test_client().get("/readyz").status_code == 200


def test_the_migrations_can_be_undone(bare_app: Flask) -> None:
    from flask_migrate import downgrade

    migrate(bare_app)
    with bare_app.app_context():
        downgrade(revision="base")
        assert inspect(db.engine).get_table_names() == ["alembic_version"]
    assert bare_app.test_client().get("/readyz").status_code == 503


def test_a_database_that_a_newer_release_has_migrated_is_ready(world: World) -> None:
    with world.app.app_context():
        db.session.execute(text("UPDATE alembic_version SET version_num = 'from_the_future'"))
        db.session.commit()
    try:
        answer = world.stranger().gets("/readyz")
    finally:
        with world.app.app_context():
            db.session.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": _head()})
            db.session.commit()
    assert (answer.status_code, answer.json["data"]["missing_revisions"]) == (200, [])


def test_a_database_that_lacks_a_revision_of_this_release_is_not_ready(world: World, tmp_path: Path) -> None:
    for path in VERSIONS.glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "next.py").write_text(f'revision = "next"\ndown_revision = "{_head()}"\n')
    with world.app.app_context():
        found = check_readiness(db.engine, tmp_path)
    assert (found.reachable, found.missing, found.ready) == (True, ("next",), False)


def _head() -> str:
    revisions = known_revisions(VERSIONS)
    (head,) = revisions.keys() - {before for befores in revisions.values() for before in befores}
    return head
