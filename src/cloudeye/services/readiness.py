"""Can this process serve: is the database reachable, and does it have what this release needs."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

VERSIONS = Path(__file__).parent.parent / "migrations" / "versions"


@dataclass(frozen=True)
class Readiness:
    """What was found; ``error`` is for the log, not for the caller.

    ``missing`` are revisions that this release needs; ``waiting`` are contract ones that have not run, which it does
    without.
    """

    reachable: bool
    missing: tuple[str, ...]
    error: str | None = None
    waiting: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """The verdict."""
        return self.reachable and not self.missing


def check_readiness(engine: Engine, folder: Path = VERSIONS) -> Readiness:
    """Ask the database which revisions it has.

    Args:
        engine: of the database.
        folder: where this release's migrations lie.
    """
    needed = known_revisions(folder)
    try:
        with engine.connect() as connection:
            heads = set(connection.scalars(text("SELECT version_num FROM alembic_version")))
    except DBAPIError as error:
        try:
            with engine.connect():
                return _found(set(needed), folder, str(error.orig))  # there is no such table
        except SQLAlchemyError as again:
            return Readiness(False, (), str(again))
    except SQLAlchemyError as error:
        return Readiness(False, (), str(error))
    return _found(missing_revisions(needed, heads), folder)


def _found(missing: set[str], folder: Path, error: str | None = None) -> Readiness:
    waiting = missing & contract_revisions(folder)
    return Readiness(True, tuple(sorted(missing - waiting)), error, tuple(sorted(waiting)))


def missing_revisions(needed: dict[str, tuple[str, ...]], heads: set[str]) -> set[str]:
    """Return what a database lacks.

    A head that this release does not know was made by a newer one, on top of all that is known here: old
    instances go on serving while the new release's migration has already run.

    Args:
        needed: this release's revisions, each with those it comes after.
        heads: what the database says it is at.
    """
    if heads - needed.keys():
        return set()
    present: set[str] = set()
    waiting = list(heads)
    while waiting:
        revision = waiting.pop()
        if revision not in present:
            present.add(revision)
            waiting.extend(needed[revision])
    return needed.keys() - present


@cache
def known_revisions(folder: Path) -> dict[str, tuple[str, ...]]:
    """Read the migrations' names and order from their files, without loading Alembic into each worker."""
    found: dict[str, tuple[str, ...]] = {}
    for values in _migrations(folder):
        before = values["down_revision"] or ()
        found[values["revision"]] = (before,) if isinstance(before, str) else tuple(before)
    return found


@cache
def contract_revisions(folder: Path) -> frozenset[str]:
    """Return the migrations that only take away what this release does without (docs/releases.md)."""
    return frozenset(values["revision"] for values in _migrations(folder) if values.get("kind") == "contract")


def _migrations(folder: Path) -> Iterator[dict[str, Any]]:
    for path in folder.glob("*.py"):
        yield {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in ("revision", "down_revision", "kind")
        }


def heartbeat_age(path: Path) -> float | None:
    """Return how many seconds ago the sync process last wrote its heartbeat; None if it never did."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return None
