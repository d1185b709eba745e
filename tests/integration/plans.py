"""How an engine goes about a statement: which index it takes, what it sorts, and how many rows it reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, event

from tests.integration.many_rows import BIG

HUNDRED_MILLION = 100_000_000
# Rows that one statement may read, and rows that it may sort: bounds that do not grow with the tables.
MOST_READ, MOST_SORTED = 25_000, 5_000
# SQLite counts the steps of its machine: at least so many for a row.
STEPS_OF_A_ROW = 5


@dataclass(frozen=True)
class Sent:
    """A statement as it was sent, and by whom."""

    by: str
    sql: str
    values: Any

    @property
    def form(self) -> str:
        """The statement without its values; lists of different length are the same."""
        return re.sub(r"\((?:\?|%s)(?:, (?:\?|%s))*\)", "(...)", " ".join(self.sql.split()))

    @property
    def big(self) -> list[str]:
        """The large tables in it."""
        return [table for table in BIG if re.search(rf"\b{table}\b", self.sql)]

    @property
    def can_be_explained(self) -> bool:
        """A plain INSERT looks for nothing."""
        return self.sql.split()[0] in ("SELECT", "UPDATE", "DELETE")


@contextmanager
def listening(engine: Engine) -> Iterator[list[Sent]]:
    """Collect what is sent; `by` is empty until the listener fills it in."""
    found: list[Sent] = []

    def note(_connection: Any, _cursor: Any, sql: str, values: Any, _context: Any, many: bool) -> None:
        found.append(Sent("", sql, values[0] if many else values))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def faults(connection: Connection, sent: Sent, *, estimates: bool) -> list[str]:
    """Say what is wrong with how a statement would be carried out.

    Args:
        connection: with the statistics by which the engine plans.
        sent: the statement.
        estimates: may the engine's numbers of rows be believed.
    """
    if connection.dialect.name == "sqlite":
        return _faults_on_sqlite(connection, sent)
    return _faults_on_mariadb(connection, sent, estimates)


def _faults_on_sqlite(connection: Connection, sent: Sent) -> list[str]:
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sent.sql}", sent.values).mappings().all()
    found = []
    for step in plan:
        detail = step["detail"]
        table = re.match(r"SCAN (\w+)", detail)
        # An index, or the table itself, may be gone through in its order until there is enough.
        if table and table[1] in BIG and not _is_first_rows(sent):
            found.append(detail)
    return found


def _faults_on_mariadb(connection: Connection, sent: Sent, estimates: bool) -> list[str]:
    plan = connection.exec_driver_sql(f"EXPLAIN {sent.sql}", sent.values).mappings().all()
    found = []
    begins = plan[0]
    whole = begins["type"] in ("ALL", "index") and not begins["table"].startswith("<")  # <...> is a part of the plan
    if whole and any("filesort" in (step["Extra"] or "") for step in plan):
        found.append(f"sorts what goes with all of {begins['table']}")
    for step in plan:
        said = f"{step['table']}: {step['type']} by {step['key']}, {step['rows']} rows, {step['Extra']}"
        if step["table"] not in BIG:
            continue
        if step["type"] == "ALL" or (step["type"] == "index" and not _is_first_rows(sent)):
            found.append(said)
        rows = int(step["rows"] or 0)
        sorts = "filesort" in (step["Extra"] or "")
        # Of first rows without sorting it is not said how few they are; they are counted when they are read.
        if estimates and rows > MOST_READ and (sorts or not _is_first_rows(sent)):
            found.append(f"more than {MOST_READ} rows: {said}")
        if estimates and sorts and rows > MOST_SORTED:
            found.append(f"sorts more than {MOST_SORTED} rows: {said}")
    return found


def _is_first_rows(sent: Sent) -> bool:
    return "ORDER BY" in sent.sql and "LIMIT" in sent.sql


def rows_read(connection: Connection, sent: Sent) -> int:
    """Carry out a SELECT and return how many rows the engine read for it; on SQLite a number about as large."""
    if connection.dialect.name == "sqlite":
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(count, 1000)
        try:
            connection.exec_driver_sql(sent.sql, sent.values).all()
        finally:
            driver.set_progress_handler(None, 0)
        return 1000 * steps // STEPS_OF_A_ROW
    before = _handler_reads(connection)
    connection.exec_driver_sql(sent.sql, sent.values).all()
    return _handler_reads(connection) - before


def _handler_reads(connection: Connection) -> int:
    # Asking for them reads rows too, in a table of its own that is counted elsewhere (Handler_tmp_*).
    rows: Sequence[Any] = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").all()
    return sum(int(value) for name, value in rows if name != "Handler_read_rnd_deleted")


def pretend(connection: Connection, database: str) -> None:
    """Write down that each large table holds a hundred million rows.

    Columns that tell rows apart then tell as many more apart; the number of sites stays. SQLite plans by it from now
    on, on this connection; MariaDB does once it has been started anew.
    """
    if connection.dialect.name == "sqlite":
        for table in BIG:
            rows = connection.exec_driver_sql("SELECT idx, stat FROM sqlite_stat1 WHERE tbl = ?", (table,)).all()
            assert rows, table
            for index, stat in rows:
                number, *groups = (int(part) for part in stat.split())
                factor = HUNDRED_MILLION / number
                # Of so many rows each group holds more, unless its values are all but unique.
                scaled = [group if group <= 2 else round(group * factor) for group in groups]
                text = " ".join(map(str, [HUNDRED_MILLION, *scaled]))
                place = (text, table, index)
                connection.exec_driver_sql("UPDATE sqlite_stat1 SET stat = ? WHERE tbl = ? AND idx IS ?", place)
        connection.commit()
        connection.exec_driver_sql("ANALYZE sqlite_schema")  # reads them; each connection for itself
        return
    for table in BIG:
        of_table = "database_name = %s AND table_name = %s"
        number = connection.exec_driver_sql(
            f"SELECT n_rows FROM mysql.innodb_table_stats WHERE {of_table}", (database, table)
        ).scalar_one()
        factor = HUNDRED_MILLION / number
        connection.exec_driver_sql(
            "UPDATE mysql.innodb_table_stats SET n_rows = %s, clustered_index_size = clustered_index_size * %s,"
            f" sum_of_other_index_sizes = sum_of_other_index_sizes * %s WHERE {of_table}",
            (HUNDRED_MILLION, factor, factor, database, table),
        )
        connection.exec_driver_sql(
            "UPDATE mysql.innodb_index_stats SET stat_value = stat_value * %s"
            f" WHERE {of_table} AND (stat_name IN ('size', 'n_leaf_pages') OR stat_value > %s)",
            (factor, database, table, number / 2),
        )
        connection.commit()


def pretended(connection: Connection, database: str) -> dict[str, int]:
    """How many rows MariaDB believes to be in each large table."""
    return {
        table: connection.exec_driver_sql(
            "SELECT table_rows FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            (database, table),
        ).scalar_one()
        for table in BIG
    }
