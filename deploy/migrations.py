"""The migrations of a tree, read from their files without running them: their order, and the kind of each.

An `expand` migration adds, while the release before goes on serving; a `contract` one takes away what neither needs any
longer (docs/releases.md). The archive's RELEASE file lists them, so that a host knows them without loading the app.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

PATTERN = "src/*/migrations/versions/*.py"  # where Flask-Migrate puts them
KINDS = ("expand", "contract")


class MigrationError(Exception):
    """The migrations of a tree make no line, or one has no kind; the message names the file."""


@dataclass(frozen=True)
class Migration:
    """One migration: its revision, its kind, and its file's name in the tree."""

    revision: str
    kind: str
    file: str


def read(tree: Path, names: Iterable[str]) -> tuple[Migration, ...]:
    """Read the migrations among a tree's files, the first one first.

    Args:
        tree: the checkout.
        names: of the release's files.

    Raises:
        MigrationError: naming the files that are wrong.
    """
    after: dict[str | None, Migration] = {}
    files = [name for name in names if PurePosixPath(name).match(PATTERN) and not name.endswith("__init__.py")]
    for name in files:
        found = _assigned(tree / name)
        revision, before, kind = (found.get(key) for key in ("revision", "down_revision", "kind"))
        if not isinstance(revision, str) or not (before is None or isinstance(before, str)):
            raise MigrationError(f"{name}: a migration has one revision and follows one other; write both as they are")
        if kind not in KINDS:
            raise MigrationError(f'{name} has no kind: write kind = "expand" or kind = "contract" below its revision')
        if before in after:
            raise MigrationError(f"{name} follows the same migration as {after[before].file}: put one after the other")
        after[before] = Migration(revision, kind, name)
    line: list[Migration] = []
    while following := after.pop(line[-1].revision if line else None, None):
        line.append(following)
    if after:
        astray = ", ".join(sorted(migration.file for migration in after.values()))
        raise MigrationError(f"these follow no migration of this tree: {astray}; correct their down_revision")
    return tuple(line)


def _assigned(path: Path) -> dict[str, Any]:
    """The plain values that a module gives to names of its own."""
    try:
        body = ast.parse(path.read_text("utf-8")).body
    except (OSError, SyntaxError) as error:
        raise MigrationError(f"{path} cannot be read: {error}") from error
    found: dict[str, Any] = {}
    for node in body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                found[target.id] = node.value.value if isinstance(node.value, ast.Constant) else node.value
    return found
