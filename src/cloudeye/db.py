"""How the application reaches its database: one engine, made alike for the web and for the sync process.

SQLite is set up in ``sqlite.py``. For MySQL and MariaDB the connection class of ``mysql_gevent.py`` takes
the place of the driver's own where gevent is active.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from cloudeye import sqlite
from cloudeye.config import Config
from cloudeye.pool import Pool

# A mode in which the server refuses what does not fit, whatever its own configuration says.
SQL_MODE = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
MYSQL_ARGS: dict[str, Any] = {
    "connect_timeout": 5,  # seconds
    "local_infile": 0,  # no server may ask for our files
    "init_command": f"SET SESSION time_zone = '+00:00', sql_mode = '{SQL_MODE}'",
}


def gevent_is_active() -> bool:
    """Do sockets of this process wait in gevent's hub."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def make_engine(config: Config, size: int | None = None) -> Engine:
    """Make the engine of this process.

    Args:
        config: where the database is and how many connections may be open.
        size: so many of them, instead of the configuration's.

    Returns:
        An engine that connects at first use. When ``pool_size + pool_overflow`` connections are taken, who comes
        next waits in a line (pool.py) for ``pool_wait`` seconds and then gets ``sqlalchemy.exc.TimeoutError``.
    """
    pool: dict[str, Any] = {
        "poolclass": Pool,
        "pool_size": size or config.pool_size,
        "max_overflow": 0 if size else config.pool_overflow,
        "pool_timeout": config.pool_wait,
        "hide_parameters": True,  # of a statement that failed: the log holds no address and no hash
        "pool_use_lifo": True,  # a quiet process lets its idle connections be closed by the server
    }
    if config.on_sqlite:
        return create_engine(config.database_url, connect_args=sqlite.CONNECT_ARGS, **pool)
    from MySQLdb.constants.FIELD_TYPE import DATETIME  # not there where SQLite is all that is wanted
    from MySQLdb.converters import conversions

    # Times are read by a function in C instead of mysqlclient's in Python, which takes zero dates; there are none.
    conv = {**conversions, DATETIME: datetime.fromisoformat}
    engine = create_engine(
        config.database_url,
        connect_args={**MYSQL_ARGS, "conv": conv},
        isolation_level="READ COMMITTED",
        pool_recycle=3600,
        **pool,
    )

    event.listen(engine, "do_connect", _connect(config))
    event.listen(engine, "checkout", _refuse_closed)
    return engine


def _connect(config: Config) -> Callable[..., Any]:
    """Return what opens a MySQL connection: with the login from its file, and in gevent's manner."""

    def connect(_dialect: Any, _record: Any, arguments: Any, parameters: dict[str, Any]) -> Any:
        account, parameters["password"] = config.database_login()
        if account:
            parameters["user"] = account
        if not gevent_is_active():
            return None  # SQLAlchemy goes on with the driver's own connection
        from cloudeye.mysql_gevent import Connection

        return Connection(*arguments, **parameters)

    return connect


def _refuse_closed(connection: DBAPIConnection, _record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
    """Tell the pool to replace a connection that the server has closed since it was last used.

    The kernel knows when the other side has hung up (POLLRDHUP, poll(2)), so a restarted server is found
    without the round trip of a ping.
    """
    poll = _plain_poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    if poll.poll(0):
        raise DisconnectionError("the server closed an idle connection")


def _plain_poll() -> Any:
    """Return the kernel's poll: gevent's goes round the hub even when it need not wait."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return select.poll()
    return monkey.get_original("select", "poll")()
