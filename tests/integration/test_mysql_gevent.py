"""The driver does what mysqlclient does, in fewer round trips."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import MySQLdb
import pytest
from gevent.socket import wait_read
from MySQLdb.connections import Connection as Plain
from MySQLdb.cursors import DictCursor, SSCursor
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import Session

from cloudeye.mysql_gevent import Connection
from tests.integration.mariadb import MariaDB
from tests.ports import free_port

READ_COMMITTED = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    """A server that offers TLS and would take local files."""
    with (
        tempfile.TemporaryDirectory(prefix="ce-") as folder,
        MariaDB(Path(folder), free_port(), tls=True, options=("--local-infile=1",)) as server,
    ):
        yield server


ROADS: dict[str, dict[str, Any]] = {
    "socket": {},
    "tls": {"host": "127.0.0.1", "ssl_mode": "REQUIRED"},
    "compressed": {"host": "127.0.0.1", "compress": True},
}


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest, server: MariaDB) -> dict[str, Any]:
    """Each way to reach the server."""
    to = {"port": server.port} if ROADS[request.param] else {"unix_socket": server.socket}
    return ROADS[request.param] | to


@pytest.fixture
def connect(server: MariaDB, road: dict[str, Any]) -> Iterator[Connect]:
    """Open connections of the driver to an empty table ``t``; they are closed at the end."""
    server.run("CREATE OR REPLACE TABLE cloudeye.t (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(200)) ENGINE=InnoDB")
    opened = []

    def open_one(**options: Any) -> Any:
        opened.append(Connection(**{"user": "root", "database": "cloudeye", "charset": "utf8mb4"} | road | options))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


def run(connection: Any, statement: str, *values: object, cursor: Any = None) -> Any:
    """Run one statement and return its rows."""
    with connection.cursor(cursor) as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall()


@contextlib.contextmanager
def said(server: MariaDB) -> Iterator[list[str]]:
    """List what clients say to the server, one entry for each round trip."""
    heard: list[str] = []
    server.run("SET GLOBAL log_output = 'TABLE'")
    server.run("TRUNCATE mysql.general_log")
    server.run("SET GLOBAL general_log = ON")
    try:
        yield heard
    finally:
        server.run("SET GLOBAL general_log = OFF")
        log = server.run(
            "SELECT argument FROM mysql.general_log WHERE command_type = 'Query' AND user_host LIKE 'reader%'"
        )
        heard += [line if isinstance(line, str) else line.decode() for (line,) in log]


EVERY_TYPE = (
    "SELECT 1, -2.5, CAST('12.30' AS DECIMAL(6,2)), 'grüße 🦉', NULL, NOW(), DATE '2026-01-02', TIME '10:00:00', "
    "X'00ff', TRUE, CAST(18446744073709551615 AS UNSIGNED), REPEAT('x', 5000)"
)


def test_every_type_arrives_as_from_the_plain_driver(connect: Connect, server: MariaDB) -> None:
    ours = run(connect(), EVERY_TYPE)[0]
    plain = Plain(unix_socket=server.socket, user="root", charset="utf8mb4")
    theirs = run(plain, EVERY_TYPE)[0]
    plain.close()
    assert [type(value) for value in ours] == [type(value) for value in theirs]
    assert ours[:5] == (1, decimal.Decimal("-2.5"), decimal.Decimal("12.30"), "grüße 🦉", None)
    assert ours[6:] == theirs[6:]
    assert isinstance(ours[5], datetime.datetime)


@pytest.mark.parametrize("cursor", [None, DictCursor, SSCursor])
@pytest.mark.parametrize("count", [0, 1, 5, 3000])
def test_as_many_rows_arrive_as_there_are(connect: Connect, cursor: Any, count: int) -> None:
    rows = run(connect(), f"SELECT seq, REPEAT('x', 100) AS x FROM seq_1_to_5000 LIMIT {count}", cursor=cursor)
    assert [row["seq"] if cursor is DictCursor else row[0] for row in rows] == list(range(1, count + 1))


def test_a_server_side_cursor_is_read_in_portions_and_may_be_left_halfway(connect: Connect) -> None:
    connection = connect()
    with connection.cursor(SSCursor) as cursor:
        cursor.execute("SELECT seq, REPEAT('x', 100) FROM seq_1_to_5000")
        assert cursor.fetchone()[0] == 1
        assert [row[0] for row in cursor.fetchmany(3)] == [2, 3, 4]
    assert run(connection, "SELECT 7") == ((7,),)


def test_a_server_side_cursor_that_is_forgotten_halfway_takes_its_connection_with_it(connect: Connect) -> None:
    connection = connect()
    cursor = connection.cursor(SSCursor)
    cursor.execute("SELECT seq, REPEAT('x', 100) FROM seq_1_to_100000")
    cursor.fetchone()
    del cursor
    with pytest.raises(MySQLdb.OperationalError, match="closed"):
        run(connection, "SELECT 7")


def test_several_results_come_one_after_another(connect: Connect) -> None:
    with connect().cursor() as cursor:
        cursor.execute("SELECT 1; INSERT INTO t (a) VALUES ('x'); SELECT seq FROM seq_1_to_3000")
        assert cursor.fetchall() == ((1,),)
        assert cursor.nextset() == 1
        assert cursor.rowcount == 1
        assert cursor.nextset() == 1
        assert len(cursor.fetchall()) == 3000
        assert cursor.nextset() is None


def test_a_procedure_returns_its_results(connect: Connect, server: MariaDB) -> None:
    server.run("CREATE OR REPLACE PROCEDURE cloudeye.p(n INT) BEGIN SELECT n; SELECT n + 1; END")
    connection = connect()
    with connection.cursor() as cursor:
        cursor.callproc("p", (4,))
        assert cursor.fetchall() == ((4,),)
        assert cursor.nextset() == 1
        assert cursor.fetchall() == ((5,),)
    assert run(connection, "SELECT 7") == ((7,),)


def test_many_rows_are_written_and_counted(connect: Connect) -> None:
    connection = connect()
    with connection.cursor() as cursor:
        assert cursor.executemany("INSERT INTO t (a) VALUES (%s)", [("x" * 100,) for _ in range(2000)]) == 2000
        assert cursor.executemany("UPDATE t SET a = %s WHERE id = %s", [("y", 1), ("z", 2)]) == 2
    connection.commit()
    assert run(connection, "SELECT COUNT(*), SUM(a = 'y') FROM t") == ((2000, 1),)


def test_a_statement_of_megabytes_arrives_whole(connect: Connect) -> None:
    assert run(connect(), "SELECT LENGTH(%s)", "x" * 4_000_000) == ((4_000_000,),)


def test_an_error_is_the_plain_drivers_and_leaves_the_connection_usable(connect: Connect) -> None:
    connection = connect()
    with pytest.raises(MySQLdb.ProgrammingError) as error:
        run(connection, "SELEC 1")
    assert error.value.args[0] == 1064
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1; SELECT nothing FROM nowhere")
        with pytest.raises(MySQLdb.ProgrammingError):
            cursor.nextset()
    connection.rollback()
    assert run(connection, "SELECT 7") == ((7,),)


def test_the_character_set_changes_on_both_sides(connect: Connect) -> None:
    connection = connect()
    connection.set_character_set("latin1")
    assert run(connection, "SELECT %s, @@character_set_client", "ü") == (("ü", "latin1"),)
    connection.set_character_set("utf8mb4", "utf8mb4_bin")
    assert run(connection, "SELECT %s, @@collation_connection", "🦉") == (("🦉", "utf8mb4_bin"),)


def test_what_is_rolled_back_is_gone_and_what_is_committed_stays(connect: Connect) -> None:
    connection, other = connect(), connect(autocommit=True)
    run(connection, "INSERT INTO t (a) VALUES ('first')")
    assert run(other, "SELECT a FROM t") == ()
    connection.rollback()
    run(connection, "INSERT INTO t (a) VALUES ('second')")
    connection.commit()
    assert run(other, "SELECT a FROM t") == (("second",),)


def test_autocommit_may_be_switched_and_switching_it_on_commits(connect: Connect) -> None:
    connection, other = connect(autocommit=True), connect(autocommit=True)
    assert connection.get_autocommit()
    run(connection, "INSERT INTO t (a) VALUES ('1')")
    connection.rollback()
    connection.autocommit(False)
    assert not connection.get_autocommit()
    run(connection, "INSERT INTO t (a) VALUES ('2')")
    assert run(other, "SELECT a FROM t") == (("1",),)
    connection.autocommit(True)
    assert run(other, "SELECT a FROM t") == (("1",), ("2",))


def test_a_savepoint_undoes_its_part_of_a_transaction(connect: Connect) -> None:
    connection, other = connect(), connect(autocommit=True)
    run(connection, "SAVEPOINT halfway")
    run(connection, "INSERT INTO t (a) VALUES ('undone')")
    run(connection, "ROLLBACK TO SAVEPOINT halfway")
    run(connection, "INSERT INTO t (a) VALUES ('kept')")
    connection.commit()
    assert run(other, "SELECT a FROM t") == (("kept",),)


def test_a_locking_read_holds_its_lock_until_the_transaction_ends(connect: Connect) -> None:
    holder, other = connect(), connect()
    run(holder, READ_COMMITTED)
    run(holder, "INSERT INTO t (a) VALUES ('x')")
    holder.commit()
    run(holder, "SELECT * FROM t WHERE id = 1 FOR UPDATE")
    run(other, "SET innodb_lock_wait_timeout = 1")
    with pytest.raises(MySQLdb.OperationalError) as error:
        run(other, "UPDATE t SET a = 'y' WHERE id = 1")
    assert error.value.args[0] == 1205
    other.rollback()
    holder.rollback()
    run(other, "UPDATE t SET a = 'y' WHERE id = 1")


def test_reads_share_a_snapshot_unless_the_session_reads_committed(connect: Connect) -> None:
    reader, writer = connect(), connect(autocommit=True)
    counts = []
    for level in ("REPEATABLE READ", "READ COMMITTED"):
        run(reader, f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
        before = run(reader, "SELECT COUNT(*) FROM t")[0][0]
        run(writer, "INSERT INTO t (a) VALUES ('x')")
        counts.append(run(reader, "SELECT COUNT(*) FROM t")[0][0] - before)
        reader.rollback()
    assert counts == [0, 1]


def test_after_a_deadlock_a_new_transaction_begins(connect: Connect, server: MariaDB) -> None:
    server.run("INSERT INTO cloudeye.t VALUES (1, 'a'), (2, 'b')")
    one, two, watcher = connect(), connect(), connect(autocommit=True)
    run(one, "UPDATE t SET a = 'one' WHERE id = 1")
    run(two, "UPDATE t SET a = 'two' WHERE id = 2")
    waits = gevent.spawn(run, one, "UPDATE t SET a = 'one' WHERE id = 2")
    gevent.sleep(0.1)
    with contextlib.suppress(MySQLdb.OperationalError):
        run(two, "UPDATE t SET a = 'two' WHERE id = 1")
    waits.join(10)
    lost = two if waits.successful() else one
    run(lost, "INSERT INTO t VALUES (3, 'c')")
    assert run(watcher, "SELECT * FROM t WHERE id = 3") == ()
    lost.rollback()
    assert run(lost, "SELECT * FROM t WHERE id = 3") == ()


@pytest.mark.parametrize("option", ["local_infile", "local_infile_dir", "read_default_file", "read_default_group"])
def test_a_connection_that_may_send_files_is_refused(connect: Connect, option: str) -> None:
    with pytest.raises(MySQLdb.NotSupportedError, match=f"LOAD DATA LOCAL .*{option}"):
        connect(**{option: "1"})


def test_a_server_that_asks_for_a_file_does_not_get_it(connect: Connect, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    with pytest.raises(MySQLdb.OperationalError):
        run(connect(), f"LOAD DATA LOCAL INFILE '{secret}' INTO TABLE t (a)")
    assert run(connect(), "SELECT * FROM t") == ()


def test_a_connection_serves_one_greenlet_at_a_time(connect: Connect) -> None:
    connection = connect()
    first = gevent.spawn(run, connection, "SELECT SLEEP(0.3)")
    gevent.sleep(0.1)
    with pytest.raises(MySQLdb.ProgrammingError, match="two greenlets"):
        run(connection, "SELECT 1")
    first.join()
    assert first.value == ((0,),)


def test_the_greenlet_that_waits_on_a_connection_learns_that_it_is_closed(connect: Connect) -> None:
    connection = connect()
    waits = gevent.spawn(run, connection, "SELECT SLEEP(30)")
    gevent.sleep(0.1)
    connection.close()
    waits.join(10)
    assert isinstance(waits.exception, MySQLdb.OperationalError)


def test_an_answer_that_takes_longer_than_read_timeout_is_an_error(connect: Connect) -> None:
    with pytest.raises(MySQLdb.OperationalError) as error:
        run(connect(read_timeout=1), "SELECT SLEEP(30)")
    assert error.value.args[0] == 2013


def engine_for(server: MariaDB) -> Engine:
    """Return an engine as the application has it, of one connection, for the user ``reader``."""
    server.run("CREATE OR REPLACE TABLE cloudeye.t (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(200)) ENGINE=InnoDB")
    server.run("CREATE OR REPLACE USER reader@localhost")
    server.run("GRANT ALL ON *.* TO reader@localhost")
    url = server.url().replace("root@", "reader@")
    engine = create_engine(url, isolation_level="READ COMMITTED", pool_size=1)
    event.listen(engine, "do_connect", lambda _dialect, _record, args, options: Connection(*args, **options))
    return engine


def test_a_session_that_reads_makes_one_round_trip(server: MariaDB) -> None:
    engine = engine_for(server)
    with Session(engine) as session:
        session.execute(text("SELECT 1"))
    with said(server) as heard:
        for key in (1, 2):
            with Session(engine) as session:
                session.execute(text(f"SELECT a FROM t WHERE id = {key}"))
    engine.dispose()
    assert heard == ["SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = 2"]


def test_a_session_that_writes_makes_one_round_trip_more_for_the_commit(server: MariaDB) -> None:
    engine = engine_for(server)
    with Session(engine) as session:
        session.execute(text("SELECT 1"))
    with said(server) as heard, Session(engine) as session:
        session.execute(text("SELECT a FROM t WHERE id = 1"))
        session.execute(text("INSERT INTO t (a) VALUES ('x')"))
        session.execute(text("SELECT a FROM t WHERE id = 2"))
        session.commit()
    engine.dispose()
    assert heard == [
        "SELECT a FROM t WHERE id = 1",
        "BEGIN;INSERT INTO t (a) VALUES ('x')",
        "SELECT a FROM t WHERE id = 2",
        "COMMIT",
    ]


def test_an_idle_connection_has_nothing_to_read(connect: Connect) -> None:
    connection = connect()
    run(connection, "SELECT 1")
    with pytest.raises(TimeoutError):
        wait_read(connection.fileno(), 0.1, TimeoutError())
