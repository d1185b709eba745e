"""While an expand migration runs on MySQL or MariaDB, the server itself refuses what would hold requests up.

Each statement says which way it may go: at once (ALGORITHM=INSTANT), or else beside readers and writers
(ALGORITHM=INPLACE, LOCK=NONE). A server that can do neither would copy the table under a lock; it refuses instead, with
nothing changed. MariaDB: https://mariadb.com/kb/en/innodb-online-ddl-overview/; MySQL: "Online DDL Operations".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, event, text

from cloudeye.migrations.checking import problems_of, shown
from cloudeye.migrations.rules import BESIDE, Refused

# ER_ALTER_OPERATION_NOT_SUPPORTED, ER_ALTER_OPERATION_NOT_SUPPORTED_REASON, ER_WRONG_USAGE; ER_LOCK_WAIT_TIMEOUT
NOT_THAT_WAY, NOT_IN_TIME = (1845, 1846, 1221), 1205


class Guard:
    """Stands over one run of migrations: each keeps to the rules, on SQLite too, and an expand one locks nothing.

    Args:
        connection: which they go over.
        lock_wait: seconds that a statement may wait for a table.
    """

    def __init__(self, connection: Connection, lock_wait: int) -> None:
        self._connection = connection
        self._lock_wait = lock_wait
        self._script: Script | None = None
        self._on_server = connection.dialect.name != "sqlite"
        if self._on_server:
            event.listen(connection.engine, "do_execute", self._execute)

    def watch(self, scripts: ScriptDirectory) -> None:
        """Have each migration refused as it begins, by name, when it breaks a rule."""
        for script in scripts.walk_revisions():
            problems = list(problems_of(script))
            script.module.upgrade = self._watched(script, script.module.upgrade, problems)

    def _watched(self, script: Script, upgrade: Callable[..., None], problems: list[str]) -> Callable[..., None]:
        @functools.wraps(upgrade)
        def watched(**given: Any) -> None:
            if problems:
                name = Path(script.path).name
                raise Refused("\n".join(f"{name} is refused: {problem}" for problem in problems))
            if self._on_server:
                # What waits for a table holds up everything that comes after it, readers too.
                self._connection.execute(text(f"SET SESSION lock_wait_timeout = {self._lock_wait:d}"))
            self._script = script
            try:
                upgrade(**given)
            finally:
                self._script = None

        return watched

    def _execute(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
        """SQLAlchemy asks this in place of the driver; None leaves it to the driver."""
        script = self._script
        if script is None:
            return None
        contract = script.module.kind == "contract"
        for way in [statement] if contract else ways_of(statement):
            try:
                context.dialect.do_execute(cursor, way, parameters, context)
                return True
            except context.dialect.loaded_dbapi.Error as error:
                refused = error
                if error.args[0] == NOT_IN_TIME:
                    raise Refused(
                        f"{script.revision} waited {self._lock_wait} s (database.lock_wait) for a table that a "
                        "transaction holds, and nothing was changed; end that one (SHOW FULL PROCESSLIST) or try again"
                    ) from error
                if contract or error.args[0] not in NOT_THAT_WAY:
                    raise
        raise Refused(
            f"{script.revision} is refused by the server, which would copy the table under a lock ({refused.args[1]}); "
            f"{BESIDE}: {shown(statement)}"
        ) from refused


def ways_of(statement: str) -> Iterator[str]:
    """The ways in which a statement is tried, the one that costs least first."""
    plain = statement.strip().rstrip(";")
    if re.match(r"ALTER\s+TABLE\s", plain, re.IGNORECASE):
        yield f"{plain}, ALGORITHM=INSTANT"
        yield f"{plain}, ALGORITHM=INPLACE, LOCK=NONE"
    elif re.match(r"CREATE\s+(UNIQUE\s+)?INDEX\s", plain, re.IGNORECASE):
        yield f"{plain} ALGORITHM=INPLACE LOCK=NONE"
    else:
        yield plain
