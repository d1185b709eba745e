"""What an expand migration may hold: nothing that takes away what the release before still needs.

Every migration says its kind. While an `expand` migration runs, and after it, the release before goes on serving: so
it adds, and never drops, renames, narrows, or holds requests up. A `contract` migration takes away what no release that
may still serve has a use for; the release engine runs it one release later (docs/releases.md). What is not listed here
as harmless is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from alembic.util import CommandError
from sqlalchemy.dialects import mysql
from sqlalchemy.types import to_instance

KINDS = ("expand", "contract")
NAME = r"(?:(?:`(?:[^`]|``)+`|[\w$]+)\.?)+"
QUOTED = re.compile(r"'(?:[^'\\]|''|\\.)*'")
CONTRACT = 'that is a contract migration\'s: kind = "contract", in a file of its own, in the release that does without'
BESIDE = (
    "add a column or a table beside it, write both in this release, and drop the old one in a contract migration of "
    "the next"
)
ADD_OTHER = r"ADD (\w+ (INDEX|KEY)|PARTITION|PERIOD|SYSTEM)\b"
SIZES = (
    ("BOOL", "TINYINT", "SMALLINT", "MEDIUMINT", "INTEGER", "BIGINT"),
    ("TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT"),
    ("TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"),
    ("FLOAT", "DOUBLE"),
)
MEASURED = ("VARCHAR", "CHAR", "VARBINARY", "BINARY", "DATETIME", "TIMESTAMP", "TIME")


class Refused(CommandError):
    """A migration breaks the rules, or the server cannot run it beside requests; says what to write instead."""


@dataclass(frozen=True)
class Altered:
    """What Alembic was told of a column that changes, which its statement does not show."""

    renamed: bool
    nullable: bool | None
    was_nullable: bool | None
    type: Any
    old_type: Any


def refusal(statement: str, altered: Altered | None = None) -> str:
    """Say why an expand migration may not hold a statement, and what to write instead; empty when it may.

    Args:
        statement: as MySQL and MariaDB are sent it.
        altered: what it was made from, when that was `op.alter_column`.
    """
    text = " ".join(statement.strip().rstrip(";").split())
    if re.match(rf"CREATE TABLE (IF NOT EXISTS )?{NAME} ?\(", text, re.I):
        return ""
    if re.match(r"CREATE INDEX ", text, re.I):
        return ""
    if re.match(r"CREATE UNIQUE INDEX ", text, re.I):
        return _constraint("a UNIQUE index")
    alter = re.match(rf"ALTER TABLE {NAME} (.+)", text, re.I | re.S)
    if alter:
        return next((why for clause in clauses(alter[1]) if (why := _clause(clause, altered))), "")
    verb = text.partition(" ")[0].upper()
    if verb in ("DROP", "RENAME", "TRUNCATE"):
        return f"{verb} takes away what the release before still uses; {CONTRACT}"
    if verb in ("INSERT", "UPDATE", "DELETE", "REPLACE"):
        return f"{verb} holds locks on the rows it changes; change them in batches, by a step of sync"
    return f"{' '.join(text.split()[:2])!r} is not known to be harmless; {CONTRACT}"


def _clause(clause: str, altered: Altered | None) -> str:
    """The same for one clause of an ALTER TABLE."""
    text = re.sub(r"`[^`]*`", "x", QUOTED.sub("''", clause)).upper()
    if re.match(r"ADD (INDEX|KEY) ", text):
        return ""
    if re.match(r"ADD (CONSTRAINT|UNIQUE|PRIMARY|FOREIGN|CHECK)\b", text):
        return _constraint(f"{text.split()[1]} on a table that is there")
    if re.match(rf"ADD (COLUMN )?(IF NOT EXISTS )?{NAME} ", text) and not re.match(ADD_OTHER, text):
        return _added(text)
    if re.match(rf"ALTER (COLUMN )?{NAME} SET DEFAULT ", text):
        return ""
    if re.match(r"(MODIFY|CHANGE)\b", text):
        return _changed(altered)
    if re.match(r"(DROP|RENAME)\b|ALTER (COLUMN )?\S+ DROP", text):
        return f"{' '.join(text.split()[:2])} takes away what the release before still uses; {CONTRACT}"
    return f"{' '.join(text.split()[:2])!r} is not known to be harmless; {CONTRACT}"


def _added(text: str) -> str:
    if "NOT NULL" in text and " DEFAULT " not in text:
        return (
            "a NOT NULL column without a default: the release before inserts rows without it; "
            "give it a server_default, or leave it nullable"
        )
    forbidden = re.search(r"\b(UNIQUE|PRIMARY KEY|REFERENCES|CHECK|AUTO_INCREMENT)\b", text)
    return _constraint(f"{forbidden[1]} on a table that is there") if forbidden else ""


def _constraint(what: str) -> str:
    return (
        f"{what} refuses rows that the release before still writes; put it into the CREATE TABLE of a new table, "
        "or let this release keep to it and make it a contract migration of the next"
    )


def _changed(altered: Altered | None) -> str:
    if altered is None:
        return "a column is changed by SQL of its own; write op.alter_column with existing_type and existing_nullable"
    if altered.renamed:
        return f"a column is renamed; {BESIDE}"
    if altered.nullable is False and altered.was_nullable is not False:
        return (
            "a column becomes NOT NULL, which the release before does not know; let this release always write it, "
            "and make that a contract migration of the next"
        )
    if altered.type is None:
        return ""
    if altered.old_type is None:
        return "a column's type is changed without existing_type: say what it was"
    old, new = (to_instance(type_).compile(dialect=mysql.dialect()) for type_ in (altered.old_type, altered.type))
    if is_wider(old, new):
        return ""
    return f"{old} becomes {new}, which does not hold all that it held, or is another type; {BESIDE}"


def is_wider(old: str, new: str) -> bool:
    """Whether a column of type `new` holds everything that one of type `old` does, in the same manner.

    Args:
        old: as MySQL writes it, such as VARCHAR(80).
        new: likewise.
    """
    if old == new:
        return True
    (old_name, old_rest), (new_name, new_rest) = (_parts(text) for text in (old, new))
    for names in SIZES:
        if old_name in names and new_name in names:
            return old_rest == new_rest and names.index(old_name) <= names.index(new_name)
    if old_name != new_name:
        return False
    if old_name in MEASURED:
        return _length(old_rest) <= _length(new_rest) and _after(old_rest) == _after(new_rest)
    if old_name in ("ENUM", "SET"):
        before, after = list(clauses(old_rest[1:-1])), list(clauses(new_rest[1:-1]))
        return after[: len(before)] == before  # the server keeps the number of a word, not the word
    return False


def _parts(text: str) -> tuple[str, str]:
    found = re.match(r"(\w+) ?(.*)", text, re.S)
    return (found[1].upper(), found[2]) if found else (text, "")


def _length(rest: str) -> int:
    found = re.match(r"\((\d+)\)", rest)
    return int(found[1]) if found else 0


def _after(rest: str) -> str:
    return re.sub(r"^\(\d+\)", "", rest).strip()


def clauses(text: str) -> Iterator[str]:
    """Split at the commas that stand neither in brackets nor in quotes."""
    depth, start, quote, skip = 0, 0, "", False
    for place, character in enumerate(text):
        if skip:
            skip = False
        elif quote:
            skip = character == "\\" and quote != "`"
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "," and depth == 0:
            yield text[start:place].strip()
            start = place + 1
    yield text[start:].strip()
