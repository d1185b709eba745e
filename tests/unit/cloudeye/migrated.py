"""Migrations that tests write: a folder beside the application's own, with files of the tests' own at the end."""

from __future__ import annotations

import shutil
from pathlib import Path

from cloudeye.services.readiness import VERSIONS, known_revisions

HEAD = max(known_revisions(VERSIONS))


def folder_with(folder: Path, *bodies: str, kind: str = 'kind = "expand"') -> Path:
    """Copy the application's migrations and add one for each body, numbered from 9001.

    Args:
        folder: a new one.
        bodies: the statements of each `upgrade`.
        kind: the line that says it.
    """
    shutil.copytree(VERSIONS.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = HEAD
    for number, body in enumerate(bodies, 9001):
        (folder / "versions" / f"{number}_test.py").write_text(written(str(number), before, body, kind))
        before = str(number)
    return folder


def written(revision: str, before: str, body: str, kind: str = 'kind = "expand"') -> str:
    """The text of a migration."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return (
        f'import sqlalchemy as sa\nfrom alembic import op\n\nrevision = "{revision}"\ndown_revision = "{before}"\n'
        f"{kind}\nbranch_labels = None\ndepends_on = None\n\n\ndef upgrade() -> None:\n{lines}\n\n"
        "def downgrade() -> None:\n    pass\n"
    )
