"""Ansible's module for the schema and its account, against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import MySQLdb
import pytest
from ansible.module_utils.testing import patch_module_args

from tests.integration.mariadb import MariaDB
from tests.unit.ansible.support import plugin

NAME, PASSWORD = "provision_me", "a password 'with' 100%s"
GRANTED = f"GRANT ALL PRIVILEGES ON `{NAME}`.* TO `{NAME}`@`127.0.0.1`"

Provision = Callable[..., dict[str, Any]]


@pytest.fixture
def provision(mariadb_server: MariaDB, capsys: pytest.CaptureFixture[str]) -> Provision:
    """Run the module as Ansible does; what it made goes before and is looked at afterwards."""
    mariadb_server.run(f"DROP DATABASE IF EXISTS {NAME}")
    for client in ("127.0.0.1", "198.18.0.9"):
        mariadb_server.run(f"DROP USER IF EXISTS {NAME}@'{client}'")

    def run(check: bool = False, **arguments: Any) -> dict[str, Any]:
        wanted = {"socket": mariadb_server.socket, "schema": NAME, "account": NAME, "password": PASSWORD}
        wanted |= {"clients": ["127.0.0.1", "198.18.0.9"], "unwanted_schemas": ["test"], "unwanted_accounts": [""]}
        module = plugin("modules/stack_database.py")
        with (
            patch_module_args({**wanted, **arguments, "_ansible_check_mode": check}),
            pytest.raises(SystemExit),
        ):
            module.main()
        said = capsys.readouterr().out
        assert PASSWORD not in said
        answer: dict[str, Any] = json.loads(said)
        return answer

    return run


def log_in(server: MariaDB, password: str = PASSWORD) -> None:
    """Use the schema as the application does."""
    connection = MySQLdb.connect(host="127.0.0.1", port=server.port, user=NAME, passwd=password, db=NAME)
    try:
        connection.cursor().execute("CREATE TEMPORARY TABLE it_may (n INT)")
    finally:
        connection.close()


def test_it_makes_what_is_missing_and_then_nothing_more(provision: Provision, mariadb_server: MariaDB) -> None:
    made = provision()
    assert made["changed"] is True
    assert made["done"][0] == f"schema {NAME} made"
    assert len(made["done"]) == 5
    log_in(mariadb_server)
    kind = "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"
    assert mariadb_server.run(kind, NAME) == (("utf8mb4_unicode_ci",),)
    again = provision()
    assert (again["changed"], again["done"]) == (False, [])


@pytest.mark.parametrize(
    "by_hand",
    [
        f"DROP DATABASE {NAME}",
        "CREATE DATABASE test",
        f"DROP USER {NAME}@'127.0.0.1'",
        f"SET PASSWORD FOR {NAME}@'127.0.0.1' = PASSWORD('another')",
        f"ALTER USER {NAME}@'127.0.0.1' IDENTIFIED VIA unix_socket",
        f"REVOKE ALL PRIVILEGES ON {NAME}.* FROM {NAME}@'127.0.0.1'",
        f"REVOKE DROP ON {NAME}.* FROM {NAME}@'127.0.0.1'",
        f"GRANT SELECT, PROCESS ON *.* TO {NAME}@'127.0.0.1'",
        f"GRANT SELECT ON mysql.* TO {NAME}@'127.0.0.1' WITH GRANT OPTION",
        f"GRANT INSERT ON {NAME}.* TO {NAME}@'127.0.0.1' WITH GRANT OPTION",
        "CREATE USER ''@'localhost'",
    ],
)
def test_it_mends_what_was_changed_by_hand(provision: Provision, mariadb_server: MariaDB, by_hand: str) -> None:
    provision()
    mariadb_server.run(by_hand)
    told = provision(check=True)
    assert told["changed"] is True
    mended = provision()
    assert mended["done"] == told["done"] != []
    assert provision()["done"] == []
    log_in(mariadb_server)
    grants = [row[0] for row in mariadb_server.run(f"SHOW GRANTS FOR {NAME}@'127.0.0.1'")]
    assert grants[1:] == [GRANTED]
    assert "WITH GRANT OPTION" not in grants[0]


def test_in_check_mode_it_says_what_it_would_do_and_does_nothing(provision: Provision, mariadb_server: MariaDB) -> None:
    told = provision(check=True)
    assert f"schema {NAME} made" in told["done"]
    assert mariadb_server.run("SHOW DATABASES LIKE %s", NAME) == ()
    assert mariadb_server.run("SELECT 1 FROM mysql.user WHERE User = %s", NAME) == ()


def test_another_password_is_the_only_thing_that_changes(provision: Provision, mariadb_server: MariaDB) -> None:
    provision()
    changed = provision(password="the next one")
    assert changed["done"] == [f"account {NAME}@{client}: its password" for client in ("127.0.0.1", "198.18.0.9")]
    log_in(mariadb_server, "the next one")


def test_it_leaves_other_accounts_and_schemas_alone(provision: Provision, mariadb_server: MariaDB) -> None:
    provision()
    mariadb_server.run("CREATE OR REPLACE USER provision_not_me@'%'")
    provision()
    assert mariadb_server.run("SELECT Host FROM mysql.user WHERE User = 'provision_not_me'") == (("%",),)
    mariadb_server.run("DROP USER provision_not_me@'%'")


def test_a_server_that_does_not_answer_is_named(provision: Provision) -> None:
    answer = provision(socket="/nowhere/at/all.sock")
    assert answer["failed"] is True
    assert "/nowhere/at/all.sock" in answer["msg"]
