"""Statements that are asked often, with everything worked out once that is the same each time.

For each execution SQLAlchemy finds a statement's text by a key that it makes of all its parts, and makes a context and
a result that could do much more than hand over rows. For a read by key that takes as long as the database does. Here
the text, the order of the values and what turns columns into Python's types are worked out at first use, by SQLAlchemy
itself, and the driver is asked. Connections come from the same pool, with all that is done to them there.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, Select

from cloudeye.extensions import db

_Convert = Callable[[Any], Any]


class Ready:
    """A SELECT that is ready to be asked.

    Args:
        statement: of columns; what differs from time to time are its ``bindparam``s.
        often: False for one that is made anew each time: SQLAlchemy knows its text from the time before.
    """

    def __init__(self, statement: Select[Any], *, often: bool = True) -> None:
        self.statement, self._often = statement, often
        self._prepared: WeakKeyDictionary[Engine, _Prepared] = WeakKeyDictionary()

    def rows(self, **values: Any) -> list[Any]:
        """Ask for its rows, whose columns are attributes; where the session is in a transaction, in that one.

        Raises:
            SQLAlchemyError: as when SQLAlchemy is asked.
        """
        engine = db.engine
        if db.session.registry.has() and db.session().in_transaction():
            return list(db.session.connection().execute(self.statement, values))
        heard = engine.dispatch.before_cursor_execute  # whoever listens to statements hears these as well
        if self._often and engine.dialect.name == "mysql" and not heard:
            prepared = self._prepared.get(engine)
            if prepared is None:
                prepared = self._prepared[engine] = _Prepared(self.statement, engine)
            try:
                return prepared.rows(values)
            except prepared.error:
                pass  # It is asked once more, by SQLAlchemy, which knows what to make of an error.
        with engine.connect() as connection:
            return list(connection.execute(self.statement, values))


class _Prepared:
    """A statement as the driver of one engine takes it."""

    def __init__(self, statement: Select[Any], engine: Engine) -> None:
        dialect = self._dialect = engine.dialect
        compiled = statement.compile(dialect=dialect)
        self._engine, self._text = engine, compiled.string
        self._columns = list(statement.selected_columns)
        row: Any = namedtuple("Row", [column.key or "" for column in self._columns], rename=True)  # type: ignore[misc]
        self._row = row._make
        kinds = {name: parameter.type.dialect_impl(dialect) for name, parameter in compiled.binds.items()}
        self._values = [(name, kinds[name].bind_processor(dialect)) for name in compiled.positiontup or ()]
        if "POSTCOMPILE" in self._text:
            raise TypeError(f"its text differs with its values: {self._text}")
        self._convert: list[tuple[int, _Convert, bool]] | None = None
        self.error: type[Exception] = dialect.loaded_dbapi.Error

    def rows(self, values: dict[str, Any]) -> list[Any]:
        """Ask the driver."""
        given = [write(values[name]) if write else values[name] for name, write in self._values]
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(self._text, given)
            found = cursor.fetchall()
            described = cursor.description
            cursor.close()
        except BaseException:
            connection.invalidate()  # who knows what is still to come over it
            raise
        connection.close()
        if self._convert is None:
            self._convert = self._conversions([column[1] for column in described])
        rows = []
        for one in found:
            row = list(one)
            for place, convert, nothing_stays in self._convert:
                value = row[place]
                if value is not None or not nothing_stays:
                    row[place] = convert(value)
            rows.append(self._row(row))
        return rows

    def _conversions(self, kinds: list[Any]) -> list[tuple[int, _Convert, bool]]:
        """Return which columns are turned into something else, by what, and whether NULL stays None."""
        found: list[tuple[int, _Convert, bool]] = []
        for place, (column, kind) in enumerate(zip(self._columns, kinds, strict=True)):
            convert = column.type.dialect_impl(self._dialect).result_processor(self._dialect, kind)
            if convert is not None:
                found.append((place, convert, convert(None) is None))
        return found
