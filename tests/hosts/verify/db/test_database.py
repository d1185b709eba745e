"""The database: who reaches it, and what the app's account may do in it."""

from __future__ import annotations

import json

import pytest

from tests.hosts.verify.asking import reaches, reaches_from
from tests.hosts.verify.fleet import Fleet, Member

# Runs as the app does, in its environment; prints what each statement brought: rows, or the error's number.
ASK = """
import json, os, sys
from urllib.parse import urlsplit
import MySQLdb
url = urlsplit(os.environ["APP_DATABASE_URL"])
password, *account = open(os.environ["APP_DATABASE_PASSWORD_FILE"]).read().strip().split("\\n")
user = account[0] if account else url.username
connection = MySQLdb.connect(
    host=url.hostname, port=url.port, user=user, password=password, database=url.path.strip("/")
)
for statement in sys.argv[1:]:
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
        print(json.dumps([list(row) for row in cursor.fetchall()], default=str))
    except MySQLdb.Error as error:
        print(json.dumps({"error": error.args[0]}))
"""
DENIED = {1044, 1045, 1142, 1227, 1370}  # of MariaDB's error codes, those that say "access denied"


@pytest.fixture
def database(member: Member) -> Member:
    if member.stack["database"]["engine"] != "mysql":
        pytest.skip("the stack keeps its data in SQLite")
    return member


def as_the_app(member: Member, *statements: str) -> list[object]:
    stack = member.stack["stack"]["name"]
    said = member.root.run(
        f"{stack}-stack exec -- python -c " + " ".join(["%s"] * (1 + len(statements))), ASK, *statements
    )
    assert said.rc == 0, said.stderr
    return [json.loads(line) for line in said.stdout.splitlines()]


@pytest.mark.on("app")
def test_the_account_sees_its_own_schema_alone(database: Member) -> None:
    [names] = as_the_app(database, "SHOW DATABASES")
    assert isinstance(names, list)
    assert {name for [name] in names} == {database.stack["database"]["name"], "information_schema"}


@pytest.mark.on("app")
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM mysql.user",
        "CREATE DATABASE of_its_own",
        "CREATE USER somebody",
        "GRANT ALL ON *.* TO CURRENT_USER",
        "SET GLOBAL max_connections = 7",
        "SELECT 1 INTO OUTFILE '/tmp/of_the_app'",
        "SHUTDOWN",
    ],
)
def test_the_account_may_not(database: Member, statement: str) -> None:
    [answer] = as_the_app(database, statement)
    assert isinstance(answer, dict), answer
    assert answer["error"] in DENIED


@pytest.mark.on("app")
def test_the_account_cannot_read_the_servers_files(database: Member) -> None:
    assert as_the_app(database, "SELECT LOAD_FILE('/etc/passwd')") == [[[None]]]


@pytest.mark.on("app")
def test_the_database_keeps_text_in_unicode_and_has_every_table(database: Member) -> None:
    character_set, tables = as_the_app(database, "SELECT @@character_set_database", "SHOW TABLES")
    assert character_set == [["utf8mb4"]]
    assert isinstance(tables, list)
    assert ["alembic_version"] in tables


@pytest.mark.on("db")
def test_it_runs_and_starts_with_its_host(database: Member) -> None:
    services = ("mariadb", "mysqld", "mysql")
    states = {name: database.root.run(f"systemctl is-active {name}").stdout.strip() for name in services}
    running = [name for name, state in states.items() if state == "active"]
    assert running, states
    assert "enabled" in database.root.run(f"systemctl is-enabled {running[0]}").stdout


@pytest.mark.on("db")
def test_only_the_app_hosts_reach_it(database: Member, fleet: Fleet) -> None:
    port = database.stack["database"]["port"]
    assert not reaches(database.address, port), "this machine is no app host"
    for other in fleet.members:
        if other.name == database.name:
            assert reaches_from(other, "127.0.0.1", port)
        else:
            allowed = "app" in other.groups
            assert reaches_from(other, database.address, port) == allowed, f"from {other.name}"


@pytest.mark.on("db")
def test_it_listens_on_loopback_alone_when_the_app_is_on_its_host(database: Member, fleet: Fleet) -> None:
    if [other.name for other in fleet.on("app")] != [database.name]:
        pytest.skip("the app is on other hosts too")
    lines = [line.split()[3] for line in database.ok("ss -Hltn").splitlines()]
    assert [where for where in lines if where.endswith(f":{database.stack['database']['port']}")] == [
        f"127.0.0.1:{database.stack['database']['port']}"
    ]


@pytest.mark.on("db")
def test_every_account_has_a_name_and_roots_is_for_this_host(database: Member, fleet: Fleet) -> None:
    listed = database.ok("mariadb --batch --skip-column-names --execute='SELECT user, host FROM mysql.user'")
    accounts = {tuple(line.split("\t")) for line in listed.splitlines()}
    assert "" not in {account[0] for account in accounts}
    # Rotations let two accounts take turns.
    user = database.stack["database"]["user"]
    names = {account[0] for account in accounts if account[0] in (user, f"{user}_b")}
    assert len(names) == 1
    ours = {where for name, where in accounts if name in names}
    assert ours == {"127.0.0.1" if app.name == database.name else app.address for app in fleet.on("app")}
    assert {where for name, where in accounts if name == "root"} <= {"localhost"}
    assert database.as_account("nobody", "mariadb --user=root --execute='SELECT 1'", group="65534").rc != 0
