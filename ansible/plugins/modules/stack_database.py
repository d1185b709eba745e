#!/usr/bin/python
"""Ansible module: a schema and the account that uses it, on a MariaDB or MySQL server of this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_database
short_description: A schema and the account that uses it
description:
  - Looks at all of it over one connection, as the server's root through its socket, and changes only what differs.
  - The account has every privilege on the schema and none elsewhere.
  - The server gets the password's digest, never the password.
options:
  socket:
    description: The server's unix socket.
    type: path
    required: true
  schema:
    description: The schema's name. It is made with O(charset) and O(collation), and left as it is when it is there.
    type: str
    required: true
  charset:
    description: The character set of a schema that is made.
    type: str
    default: utf8mb4
  collation:
    description: The collation of a schema that is made.
    type: str
    default: utf8mb4_unicode_ci
  account:
    description: The account's name.
    type: str
    required: true
  password:
    description: The account's password.
    type: str
    required: true
  clients:
    description: The addresses from which the account may connect, an account of the server for each.
    type: list
    elements: str
    required: true
  unwanted_schemas:
    description: Schemas that must not be there.
    type: list
    elements: str
    default: []
  unwanted_accounts:
    description: Names of accounts that must not be there, from wherever they connect.
    type: list
    elements: str
    default: []
author: the maintainers of this repository
"""

RETURN = r"""
done:
  description: What was changed, or would be; one phrase for each.
  type: list
  elements: str
  returned: always
"""

import hashlib
import re

from ansible.module_utils.basic import AnsibleModule

try:
    import pymysql as driver
except ImportError:
    try:
        import MySQLdb as driver
    except ImportError:
        driver = None

NATIVE = "mysql_native_password"
# https://mariadb.com/kb/en/show-grants/: GRANT privileges ON object TO account, and what else is said of the account
GRANT = re.compile(
    r"GRANT (?P<rights>.+?)(?: ON (?P<object>.+?))?"
    r" TO (?P<quote>['`\"]).*?(?P=quote)@(?P=quote).*?(?P=quote)(?P<rest>.*)"
)


class Server:
    """A connection to the server, and what has been changed over it."""

    def __init__(self, module):
        self.module = module
        self.done = []
        self.connection = driver.connect(
            unix_socket=module.params["socket"], user="root", charset="utf8mb4", connect_timeout=10
        )
        self.is_mariadb = "mariadb" in self.ask("SELECT VERSION()")[0][0].lower()

    def ask(self, statement, *values):
        """The rows of a statement that changes nothing."""
        cursor = self.connection.cursor()
        cursor.execute(statement, values or None)
        return cursor.fetchall()

    def change(self, phrase, statement, *values):
        """Run a statement that changes something, unless in check mode."""
        self.done.append(phrase)
        if not self.module.check_mode:
            self.connection.cursor().execute(statement, values)


def quoted(name):
    """An identifier as SQL has it; a percent sign is the driver's."""
    return "`{}`".format(name.replace("`", "``").replace("%", "%%"))


def digest(password):
    """What the server keeps of a password: https://mariadb.com/kb/en/authentication-plugin-mysql_native_password/."""
    once = hashlib.sha1(password.encode("utf-8")).digest()
    return "*" + hashlib.sha1(once).hexdigest().upper()


def schemas(server, wanted):
    """Make the schema, drop those that must not be there."""
    present = {row[0] for row in server.ask("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")}
    name = wanted["schema"]
    if name not in present:
        made = f"CREATE DATABASE {quoted(name)} CHARACTER SET %s COLLATE %s"
        server.change(f"schema {name} made", made, wanted["charset"], wanted["collation"])
    for other in sorted(present.intersection(wanted["unwanted_schemas"]) - {name}):
        server.change(f"schema {other} dropped", f"DROP DATABASE {quoted(other)}")


def accounts(server, wanted):
    """Make the account for each client, with its password, and drop those that must not be there."""
    rows = server.ask("SELECT User, Host, plugin, authentication_string FROM mysql.user")
    present = {(text(user), text(host)): (text(plugin), text(kept)) for user, host, plugin, kept in rows}
    name, kept = wanted["account"], digest(wanted["password"])
    how = "IDENTIFIED BY PASSWORD %s" if server.is_mariadb else f"IDENTIFIED WITH {NATIVE} AS %s"
    for client in wanted["clients"]:
        found = present.get((name, client))
        if found is None:
            server.change(f"account {name}@{client} made", f"CREATE USER %s@%s {how}", name, client, kept)
        elif (found[0] or NATIVE, found[1].upper()) != (NATIVE, kept):
            server.change(f"account {name}@{client}: its password", f"ALTER USER %s@%s {how}", name, client, kept)
        rights(server, wanted["schema"], name, client, is_new=found is None)
    for user, host in sorted(present):
        if user in wanted["unwanted_accounts"] and user != name:
            server.change(f"account {user!r}@{host} dropped", "DROP USER %s@%s", user, host)


def rights(server, schema, name, client, *, is_new):
    """Every privilege on the schema, and none elsewhere."""
    ours, has_all = f"{quoted(schema)}.*", False
    for line in [] if is_new else [row[0] for row in server.ask("SHOW GRANTS FOR %s@%s", name, client)]:
        grant = GRANT.match(line)
        if grant is None:
            server.module.fail_json(msg=f"the server says of {name}@{client} what is not understood here: {line}")
        what, where = grant["rights"], (grant["object"] or "").replace("%", "%%")
        on = f" ON {where}" if where else ""
        if where == ours:
            has_all = has_all or what == "ALL PRIVILEGES"
        elif what != "USAGE":
            phrase = f"account {name}@{client}: {what}{on} revoked"
            server.change(phrase, f"REVOKE {what}{on} FROM %s@%s", name, client)
        if "WITH GRANT OPTION" in grant["rest"]:
            phrase = f"account {name}@{client}: the right to grant{on} revoked"
            server.change(phrase, f"REVOKE GRANT OPTION{on} FROM %s@%s", name, client)
    if not has_all:
        granted = f"GRANT ALL PRIVILEGES ON {ours} TO %s@%s"
        server.change(f"account {name}@{client}: everything on {schema}", granted, name, client)


def text(value):
    """A column that some drivers give as bytes."""
    return value.decode("utf-8") if isinstance(value, bytes) else value or ""


def main():
    names = {"type": "list", "elements": "str"}
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "required": True},
            "schema": {"type": "str", "required": True},
            "charset": {"type": "str", "default": "utf8mb4"},
            "collation": {"type": "str", "default": "utf8mb4_unicode_ci"},
            "account": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "clients": {**names, "required": True},
            "unwanted_schemas": {**names, "default": []},
            "unwanted_accounts": {**names, "default": []},
        },
        supports_check_mode=True,
    )
    if driver is None:
        module.fail_json(msg="neither PyMySQL nor mysqlclient is installed for the Python that modules run under")
    try:
        server = Server(module)
        schemas(server, module.params)
        accounts(server, module.params)
    except driver.Error as error:
        module.fail_json(msg=f"{module.params['socket']}: {error}")
    module.exit_json(changed=bool(server.done), done=server.done)


if __name__ == "__main__":
    main()
