"""What Alembic runs for every `flask db` command: the application's own engine and tables."""

from __future__ import annotations

from alembic import context
from flask import current_app

from cloudeye.config import Config
from cloudeye.migrations import operations  # noqa: F401 - makes our operations known
from cloudeye.migrations.guard import Guard
from cloudeye.models import Base

engine = current_app.extensions["migrate"].db.engine
options = {
    "target_metadata": Base.metadata,
    # SQLite cannot alter most of a column; Alembic then copies the table.
    "render_as_batch": engine.dialect.name == "sqlite",
    "transaction_per_migration": True,
}

if context.is_offline_mode():
    context.configure(dialect_name=engine.dialect.name, literal_binds=True, **options)
    with context.begin_transaction():
        context.run_migrations()
else:
    with engine.connect() as connection:
        context.configure(connection=connection, **options)
        config: Config = current_app.config["CLOUDEYE"]
        Guard(connection, config.lock_wait).watch(context.script)
        with context.begin_transaction():
            context.run_migrations()
