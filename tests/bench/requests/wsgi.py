"""The application that the contestants serve: this tree's, and one endpoint more.

BENCH_DRIVER says what it connects to MariaDB with: `own` (as this tree decides), `plain` (stock mysqlclient, under
gevent too) or `pymysql`. It is the benchmark's switch; the product has none.
"""

from __future__ import annotations

import os
import select
from typing import Any

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DisconnectionError

from cloudeye import db as database


def _plain() -> None:
    database.gevent_is_active = lambda: False


def _pymysql() -> None:
    _plain()

    def with_pymysql(url: str, **options: Any) -> Any:
        del options["connect_args"]["conv"]  # mysqlclient's table of functions
        return create_engine(make_url(url).set(drivername="mysql+pymysql"), **options)

    def refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
        """What db.py does for mysqlclient, whose connections know their descriptor; PyMySQL's socket does."""
        poll = database._plain_poll()
        poll.register(connection._sock.fileno(), select.POLLRDHUP)
        if poll.poll(0):
            raise DisconnectionError("the server closed an idle connection")

    database.create_engine = with_pymysql  # type: ignore[assignment, attr-defined]
    database._refuse_closed = refuse_closed


# Before the application is made, which makes the engine.
{"own": lambda: None, "plain": _plain, "pymysql": _pymysql}[os.environ.get("BENCH_DRIVER", "own")]()

from cloudeye.extensions import db as session_of  # noqa: E402
from cloudeye.schemas.common import success  # noqa: E402
from cloudeye.wsgi import app  # noqa: E402

__all__ = ["app"]


@app.route("/bench/query/<int:milliseconds>")
def query(milliseconds: int) -> dict[str, Any]:
    """Answer when the database has waited so long."""
    session_of.session.execute(text("SELECT SLEEP(:seconds)"), {"seconds": milliseconds / 1000})
    return success()
