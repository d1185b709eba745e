"""No operation of the driver holds gevent's hub, however slow the server or the network is.

gevent's own monitor watches from a thread: it reports the hub as blocked when no greenlet gave way for
``max_blocking_time``. A busy machine may stop a process for as long, so an operation is only said to block if each of
several attempts is reported. Most of the plain driver's are, which shows that the monitor sees what there is to see.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.events
import MySQLdb
import pytest
from MySQLdb.connections import Connection as Plain
from MySQLdb.cursors import SSCursor

from cloudeye.mysql_gevent import Connection
from tests.integration import slow_proxy
from tests.integration.mariadb import MariaDB
from tests.ports import free_port

pytestmark = pytest.mark.alone

LIMIT = 0.02  # seconds
ATTEMPTS = 5
RECORD = "x" * 200


class Road:
    """A way to the server that can be made slow.

    Args:
        server: where it leads.
        folder: for the file that makes it slow.
    """

    def __init__(self, server: MariaDB, folder: Path) -> None:
        self.server = server
        self.switch = folder / "slow"
        command = [sys.executable, slow_proxy.__file__, server.socket, str(self.switch)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def connect(self, kind: type[Any], **options: Any) -> Any:
        """Open a connection of the driver or of the plain driver."""
        return kind(**{"host": "127.0.0.1", "port": self.port, "user": "root", "database": "cloudeye"} | options)

    def close(self) -> None:
        """End the proxy."""
        self.process.communicate(timeout=10)


@pytest.fixture(scope="module")
def road(mariadb_server: MariaDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """The slow way to a server that has a table ``slow`` and a procedure ``slowly``."""
    mariadb_server.run(
        "CREATE OR REPLACE TABLE cloudeye.slow (id INT PRIMARY KEY AUTO_INCREMENT, a TEXT) ENGINE=InnoDB"
    )
    mariadb_server.run("CREATE OR REPLACE PROCEDURE cloudeye.slowly() BEGIN SELECT 1; SELECT SLEEP(0.2); SELECT 2; END")
    road = Road(mariadb_server, tmp_path_factory.mktemp("road"))
    yield road
    road.close()


@pytest.fixture(scope="module")
def tls_server() -> Iterator[MariaDB]:
    """A server that offers TLS."""
    with tempfile.TemporaryDirectory(prefix="ce-") as folder, MariaDB(Path(folder), free_port(), tls=True) as server:
        yield server


def run(connection: Any, statement: str, cursor: Any = None) -> Any:
    """Run a statement and return all its rows."""
    with connection.cursor(cursor) as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def write(connection: Any) -> None:
    run(connection, "INSERT INTO slow (a) VALUES ('x')")


def many(connection: Any) -> None:
    with connection.cursor() as cursor:
        assert cursor.executemany("INSERT INTO slow (a) VALUES (%s)", [(RECORD,)] * 1000) == 1000
    connection.rollback()


def call(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.callproc("slowly")
        while cursor.nextset():
            cursor.fetchall()


def portions(connection: Any) -> None:
    with connection.cursor(SSCursor) as cursor:
        cursor.execute(f"SELECT seq, '{RECORD}' FROM seq_1_to_1500")
        assert cursor.fetchone()[0] == 1
        assert len(cursor.fetchmany(700)) == 700


def refused(connection: Any) -> None:
    with pytest.raises(MySQLdb.Error):
        run(connection, "LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE slow (a)")


def wrong(connection: Any) -> None:
    with pytest.raises(MySQLdb.Error):
        run(connection, "SELEC")


# Each is told a connection on the slow road, and what ran on it before the road became slow.
Operation = Callable[[Any], Any]
OPERATIONS: dict[str, tuple[Operation, Operation | None]] = {
    "query": (lambda c: run(c, "SELECT 1"), None),
    "slow query": (lambda c: run(c, "SELECT SLEEP(0.2)"), None),
    "first write of a transaction": (write, None),
    "commit": (lambda c: c.commit(), write),
    "rollback": (lambda c: c.rollback(), write),
    "autocommit": (lambda c: c.autocommit(True), write),
    "ping": (lambda c: c.ping(), None),
    "charset": (lambda c: c.set_character_set("latin1"), None),
    "collation": (lambda c: c.set_character_set("utf8mb4", "utf8mb4_bin"), None),
    "several results": (lambda c: run(c, "SELECT 1; SELECT SLEEP(0.2); SELECT 2"), None),
    "procedure": (call, None),
    "executemany": (many, None),
    "long statement": (lambda c: run(c, f"SELECT LENGTH('{'x' * 600_000}')"), None),
    "large result": (lambda c: run(c, f"SELECT seq, '{RECORD}' FROM seq_1_to_1500"), None),
    "server-side cursor": (lambda c: run(c, f"SELECT seq, '{RECORD}' FROM seq_1_to_1500", SSCursor), None),
    "server-side cursor in portions": (portions, None),
    "error": (wrong, None),
    "local file": (refused, None),
    "select_db": (lambda c: c.select_db("mysql"), None),
    "stat": (lambda c: c.stat(), None),
    "change_user": (lambda c: c.change_user("root", "", "cloudeye"), None),
    "close": (lambda c: c.close(), write),
}
# Closing waits for nothing in the plain driver either, and that would hand over the file.
NOT_TRIED = {"close", "local file"}


@pytest.fixture
def reports() -> Iterator[list[str]]:
    """What gevent's monitor says, while it runs."""
    said: list[str] = []

    def hear(event: Any) -> None:
        if isinstance(event, gevent.events.EventLoopBlocked):
            said.append("\n".join(event.info))

    config = gevent.config
    before = config.monitor_thread, config.max_blocking_time, config.print_blocking_reports
    config.monitor_thread, config.max_blocking_time, config.print_blocking_reports = True, LIMIT, False
    hub = gevent.get_hub()
    hub.start_periodic_monitoring_thread()
    gevent.events.subscribers.append(hear)
    yield said
    gevent.events.subscribers.remove(hear)
    hub.periodic_monitoring_thread.kill()
    hub.periodic_monitoring_thread = None
    config.monitor_thread, config.max_blocking_time, config.print_blocking_reports = before


def watch(reports: list[str], work: Callable[[], Any]) -> bool:
    """Run some work in a greenlet and tell whether the monitor reported it."""
    gevent.sleep(2 * LIMIT)
    reports.clear()
    greenlet = gevent.spawn(work)
    greenlet.join()
    gevent.sleep(10 * LIMIT)  # a report takes some time to be written
    # To write it, the monitor takes hold of every object there is, from its thread. When it lets go of a result, the
    # result is freed in that thread, and mysqlclient may say that the connection is used by two: after a report only.
    if not reports or not isinstance(greenlet.exception, MySQLdb.ProgrammingError):
        greenlet.get()
    return bool(reports)


def attempts(road: Road, reports: list[str], kind: type[Any], name: str) -> Iterator[bool]:
    """Tell of each of several attempts whether one operation on the slow road was reported."""
    operation, earlier = OPERATIONS[name]
    for _ in range(ATTEMPTS):
        connection = road.connect(kind)
        if earlier is not None:
            earlier(connection)
        road.switch.touch()
        try:
            yield watch(reports, lambda connection=connection: operation(connection))
        finally:
            road.switch.unlink()
            if kind is Connection or name != "close":
                connection.close()


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_holds_the_hub(road: Road, reports: list[str], name: str) -> None:
    assert not all(attempts(road, reports, Connection, name)), reports


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in NOT_TRIED])
def test_the_plain_driver_does_and_is_found_out(road: Road, reports: list[str], name: str) -> None:
    assert any(attempts(road, reports, Plain, name))


@pytest.mark.parametrize(("kind", "blocks"), [(Plain, True), (Connection, False)])
def test_connecting_does_not_hold_the_hub(road: Road, reports: list[str], kind: type[Any], blocks: bool) -> None:
    road.switch.touch()
    try:
        assert blocks in (watch(reports, lambda: road.connect(kind).close()) for _ in range(ATTEMPTS)), reports
    finally:
        road.switch.unlink()


@pytest.mark.parametrize(("kind", "blocks"), [(Plain, True), (Connection, False)])
def test_a_hundred_thousand_rows_do_not_hold_the_hub(
    mariadb_server: MariaDB, reports: list[str], kind: type[Any], blocks: bool
) -> None:
    connection = kind(unix_socket=mariadb_server.socket, user="root", database="cloudeye")
    query = "SELECT seq, 'abc', NOW(), 1.5 FROM seq_1_to_100000"
    assert blocks in (watch(reports, lambda: run(connection, query)) for _ in range(ATTEMPTS)), reports
    connection.close()


@pytest.mark.parametrize("options", [{"ssl_mode": "REQUIRED"}, {"compress": True}], ids=["tls", "compressed"])
def test_what_cannot_be_seen_on_the_wire_does_not_hold_the_hub(
    tls_server: MariaDB, reports: list[str], options: dict[str, Any]
) -> None:
    connection = Connection(host="127.0.0.1", port=tls_server.port, user="root", database="cloudeye", **options)
    query = "SELECT SLEEP(0.3); SELECT SLEEP(0.3)"
    assert False in (watch(reports, lambda: run(connection, query)) for _ in range(ATTEMPTS)), reports
    connection.close()
