"""What an expand migration may hold, and what is said of one that holds something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudeye.migrations import operations  # noqa: F401 - makes our operations known
from cloudeye.migrations.checking import problems
from cloudeye.migrations.rules import is_wider, refusal
from cloudeye.services.readiness import VERSIONS
from tests.unit.cloudeye.migrated import folder_with, written


def test_the_migrations_of_this_release_keep_to_the_rules() -> None:
    assert problems(VERSIONS.parent) == []


@pytest.mark.parametrize(
    "body",
    [
        'op.create_table("pets", sa.Column("of", sa.Integer, sa.ForeignKey("users.id"), primary_key=True))',
        'op.add_column("users", sa.Column("nick", sa.String(80)))',
        'op.add_column("users", sa.Column("nick", sa.String(80), nullable=False, server_default="it\'s, (a) default"))',
        'op.add_columns("users", sa.Column("a", sa.Text), sa.Column("b", sa.Integer), indexes={"ix_b": ["b", "id"]})',
        'op.create_index("ix_users_role", "users", ["role"])',
        'op.alter_column("users", "email", type_=sa.String(320), existing_type=sa.String(254))',
        'op.alter_column("users", "phone", nullable=True, existing_type=sa.String(20))',
        'op.alter_column("users", "role", server_default="user", existing_type=sa.String(8), existing_nullable=False)',
        'op.alter_column("users", "version", type_=sa.BigInteger, existing_type=sa.Integer, existing_nullable=False)',
        'op.execute("ALTER TABLE users ADD COLUMN `check` INT")',
    ],
)
def test_an_expand_migration_may_add(tmp_path: Path, body: str) -> None:
    assert problems(folder_with(tmp_path / "migrations", body)) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('op.drop_column("users", "phone")', "takes away"),
        ('op.drop_table("sites")', "takes away"),
        ('op.drop_index("ix_sites_owner_id", "sites")', "takes away"),
        ('op.drop_constraint("uq_users_phone", "users", type_="unique")', "takes away"),
        ('op.rename_table("sites", "pages")', "takes away"),
        ('op.alter_column("users", "phone", new_column_name="mobile", existing_type=sa.String(20))', "is renamed"),
        ('op.execute("ALTER TABLE users RENAME COLUMN phone TO mobile")', "takes away"),
        ('op.execute("ALTER TABLE users ADD COLUMN a INT, DROP COLUMN phone")', "takes away"),
        ('op.execute("ALTER TABLE users MODIFY phone VARCHAR(10)")', "existing_type"),
        ('op.execute("ALTER TABLE users ENGINE=InnoDB")', "not known to be harmless"),
        ('op.alter_column("users", "phone", type_=sa.String(10), existing_type=sa.String(20))', "does not hold all"),
        ('op.alter_column("users", "phone", type_=sa.Integer, existing_type=sa.String(20))', "another type"),
        ('op.alter_column("users", "phone", type_=sa.String(40))', "existing_type"),
        ('op.alter_column("users", "phone", nullable=False, existing_type=sa.String(20))', "becomes NOT NULL"),
        ('op.alter_column("users", "role", server_default=None, existing_type=sa.String(8))', "takes away"),
        (
            'op.alter_column("sites", "status_code", type_=sa.SmallInteger, existing_type=sa.Integer)',
            "INTEGER becomes SMALLINT",
        ),
        (
            'op.alter_column("users", "role", type_=sa.Enum("a", "b"), existing_type=sa.Enum("a", "c", "b"))',
            "ENUM('a','c','b') becomes ENUM('a','b')",
        ),
        ('op.add_column("users", sa.Column("nick", sa.String(80), nullable=False))', "server_default"),
        ('op.create_unique_constraint("uq_users_username", "users", ["username"])', "still writes"),
        ('op.create_index("ix_users_username", "users", ["username"], unique=True)', "still writes"),
        ('op.create_foreign_key("fk", "events", "users", ["owner_id"], ["id"])', "still writes"),
        ('op.create_check_constraint("ck", "users", "role <> 1")', "still writes"),
        ('op.execute("UPDATE users SET language = 1")', "in batches"),
        ('op.execute("ALTER TABLE users ADD FULLTEXT INDEX ft (email)")', "not known to be harmless"),
        ('op.get_bind().execute(sa.text("SELECT 1")).scalar()', "without a database"),
        (
            'op.add_column("users", sa.Column("a", sa.Integer))\nop.add_column("users", sa.Column("b", sa.Integer))',
            "several statements",
        ),
        (
            'op.create_table("pets", sa.Column("id", sa.Integer, primary_key=True, index=True))',
            "an index of a new table comes after it",
        ),
    ],
)
def test_an_expand_migration_that_does_more_is_refused_with_what_to_write(tmp_path: Path, body: str, said: str) -> None:
    folder = folder_with(tmp_path / "migrations", body)
    (problem,) = problems(folder)
    assert problem.startswith("9001_test.py: ")
    assert said in problem
    kind = folder / "versions" / "9001_test.py"
    kind.write_text(kind.read_text().replace('"expand"', '"contract"'))
    assert problems(folder) == []


@pytest.mark.parametrize("kind", ["", 'kind = "expnad"', "kind = None"])
def test_a_migration_without_a_kind_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    (problem,) = problems(folder_with(tmp_path / "migrations", 'op.drop_table("sites")', kind=kind))
    assert problem.startswith("9001_test.py: it has no kind")
    assert 'kind = "expand"' in problem


def test_migrations_that_fork_and_join_are_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "migrations", "pass", "pass")
    (folder / "versions" / "b.py").write_text(written("b", "9001", "pass"))
    text = written("c", "x", "pass").replace('"x"', '("9002", "b")')
    (folder / "versions" / "c.py").write_text(text)
    assert [problem for problem in problems(folder) if "one down_revision" in problem]


def test_the_first_migration_only_creates(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "migrations")
    path = folder / "versions" / "0001_schema.py"
    path.write_text(path.read_text().replace("    _logins()\n", '    _logins()\n    op.execute("DROP TABLE users")\n'))
    (problem,) = problems(folder)
    assert problem.startswith("0001_schema.py: the first migration only creates")


@pytest.mark.parametrize(
    ("old", "new", "wider"),
    [
        ("VARCHAR(80)", "VARCHAR(81)", True),
        ("VARCHAR(80)", "VARCHAR(79)", False),
        ("VARCHAR(80) COLLATE utf8mb4_bin", "VARCHAR(90)", False),
        ("VARCHAR(80)", "CHAR(80)", False),
        ("SMALLINT", "BIGINT", True),
        ("BIGINT", "BIGINT UNSIGNED", False),
        ("DOUBLE", "FLOAT", False),
        ("DATETIME", "DATETIME(6)", True),
        ("DATETIME(6)", "DATETIME(3)", False),
        ("TEXT", "LONGTEXT", True),
        ("MEDIUMBLOB", "MEDIUMTEXT", False),
        ("ENUM('a','b')", "ENUM('a','b','c,d')", True),
        ("ENUM('a','b')", "ENUM('b','a')", False),
        ("NUMERIC(10, 2)", "NUMERIC(10, 3)", False),
        ("NUMERIC(10, 2)", "NUMERIC(10, 2)", True),
    ],
)
def test_a_wider_type_holds_all_that_the_old_one_did(old: str, new: str, wider: bool) -> None:
    assert is_wider(old, new) is wider


@pytest.mark.parametrize("statement", ["", "SELECT 1", "CALL tidy()", "ALTER TABLE users", "GRANT ALL ON x TO y"])
def test_what_is_not_known_to_be_harmless_is_refused(statement: str) -> None:
    assert "is not known to be harmless" in refusal(statement)
