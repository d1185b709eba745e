"""What every table shares: numbers, times, and the naming of constraints. Plain SQLAlchemy, without any Flask.

Every time is UTC and aware; every text column compares by bytes on both engines.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import BigInteger, DateTime, Integer, LargeBinary, MetaData, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

# A number is never given twice: tokens, revocations and links name rows that may be gone.
TABLE = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
    "sqlite_autoincrement": True,
}

# SQLite hands out row numbers only for a column declared exactly INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")

# MySQL's TEXT and BLOB end at 64 KiB.
LongText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
LongBinary = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


def utcnow() -> datetime:
    """Return the time now, aware, in UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept as naive UTC with microseconds (neither engine keeps a zone)."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> DateTime | mysql.DATETIME:
        """MySQL drops fractions of a second unless told how many digits to keep."""
        return mysql.DATETIME(fsp=6) if dialect.name in ("mysql", "mariadb") else DateTime()

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without a zone: guessing one is how hours go astray."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


class Json(TypeDecorator[Any]):
    """What JSON can hold, kept as text: both engines read it alike. None is NULL."""

    impl = LongText
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write it down without blanks."""
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Read it again."""
        return None if value is None else orjson.loads(value)


class _Texts(TypeDecorator[list[str]]):
    """Texts that were gathered in no order; ordered here by their characters, as a binary collation does."""

    impl = LongText
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[str]:
        """Read them; there may be none."""
        return [] if value is None else sorted(orjson.loads(value))


class gathered(FunctionElement[list[str]]):
    """The texts of a column in all the rows of a group, as one value: so a list with lists in it takes one query."""

    type = _Texts()
    inherit_cache = True


@compiles(gathered)
def _gathered(element: gathered, compiler: SQLCompiler, **options: Any) -> str:
    name = "json_group_array" if compiler.dialect.name == "sqlite" else "JSON_ARRAYAGG"
    return f"{name}({compiler.process(element.clauses, **options)})"


class Base(DeclarativeBase):
    """The parent of every table."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    __table_args__: Any = TABLE
