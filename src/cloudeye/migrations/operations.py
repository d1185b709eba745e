"""Operations of our own for migrations; `env.py` loads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, Operations
from sqlalchemy.schema import CreateColumn

# How a table is made: every text compares by its bytes, and a number is never given twice.
TABLE = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
    "sqlite_autoincrement": True,
}
# The same for a table whose rows have no number of their own.
UNNUMBERED_TABLE = {**TABLE, "sqlite_autoincrement": False}


@Operations.register_operation("add_columns")
class AddColumns(MigrateOperation):
    """Add columns, and indexes on them, to a table.

    MariaDB and MySQL do it in one statement, which happens as a whole or not at all; `op.add_column` for each would
    leave a migration that failed halfway. SQLite adds one column a statement, in the migration's transaction.
    """

    def __init__(self, table: str, columns: Sequence[sa.Column[Any]], indexes: Mapping[str, Sequence[str]]) -> None:
        self.table, self.columns, self.indexes = table, columns, indexes

    @classmethod
    def add_columns(
        cls,
        operations: Operations,
        table: str,
        *columns: sa.Column[Any],
        indexes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Add `columns`; `indexes` maps names to columns. Each is nullable or has a server's default."""
        operations.invoke(cls(table, columns, indexes or {}))


@Operations.implementation_for(AddColumns)
def add_columns(operations: Operations, operation: AddColumns) -> None:
    """Carry it out."""
    dialect = operations.get_bind().dialect
    quote, one_statement = dialect.identifier_preparer.quote, dialect.name != "sqlite"
    table = quote(operation.table)
    sa.Table(operation.table, sa.MetaData(), *operation.columns)  # a column compiles only within a table
    parts = [f"ADD COLUMN {CreateColumn(column).compile(dialect=dialect)}" for column in operation.columns]
    for name, columns in operation.indexes.items():
        listed = ", ".join(map(quote, columns))
        parts.append(
            f"ADD INDEX {quote(name)} ({listed})" if one_statement else f"CREATE INDEX {name} ON {table} ({listed})"
        )
    if one_statement:
        operations.execute(f"ALTER TABLE {table} {', '.join(parts)}")
        return
    for part in parts:
        operations.execute(part if part.startswith("CREATE INDEX") else f"ALTER TABLE {table} {part}")


@Operations.register_operation("drop_columns")
class DropColumns(MigrateOperation):
    """Drop what `add_columns` added, in its order."""

    def __init__(self, table: str, columns: Sequence[str], indexes: Sequence[str]) -> None:
        self.table, self.columns, self.indexes = table, columns, indexes

    @classmethod
    def drop_columns(cls, operations: Operations, table: str, *columns: str, indexes: Sequence[str] = ()) -> None:
        """Drop `columns`, and the `indexes` on them by name."""
        operations.invoke(cls(table, columns, indexes))


@Operations.implementation_for(DropColumns)
def drop_columns(operations: Operations, operation: DropColumns) -> None:
    """Carry it out."""
    quote = operations.get_bind().dialect.identifier_preparer.quote
    table = quote(operation.table)
    if operations.get_bind().dialect.name != "sqlite":
        parts = [f"DROP INDEX {quote(name)}" for name in operation.indexes]
        parts += [f"DROP COLUMN {quote(name)}" for name in operation.columns]
        operations.execute(f"ALTER TABLE {table} {', '.join(parts)}")
        return
    for name in operation.indexes:
        operations.execute(f"DROP INDEX {name}")
    for name in operation.columns:
        operations.execute(f"ALTER TABLE {table} DROP COLUMN {quote(name)}")
