"""Hold the migrations of a release against the rules, without a database: their files are run into a list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import Script, ScriptDirectory

from cloudeye.migrations.rules import KINDS, Altered, refusal


@dataclass
class Statements:
    """What Alembic writes instead of running it: each statement, with what is known of a column it alters."""

    found: list[tuple[str, Altered | None]] = field(default_factory=list)
    altered: Altered | None = None

    def write(self, text: str) -> None:
        """Take one statement."""
        self.found.append((text.strip(), self.altered))

    def flush(self) -> None:
        """Nothing is kept back."""


def problems(folder: Path) -> list[str]:
    """Return one sentence for each migration that breaks a rule, the oldest first.

    Args:
        folder: the one that holds `versions/`.
    """
    scripts = list(ScriptDirectory(str(folder)).walk_revisions())[::-1]
    return [f"{Path(script.path).name}: {problem}" for script in scripts for problem in problems_of(script)]


def problems_of(script: Script) -> Iterator[str]:
    """Return one sentence for each rule that a migration breaks."""
    kind = getattr(script.module, "kind", None)
    if kind not in KINDS:
        yield 'it has no kind; write kind = "expand" below its revision, or "contract" when it takes something away'
    if isinstance(script.down_revision, tuple):
        yield "it follows several others; migrations stand in one line: give it one down_revision"
    if kind != "expand":
        return
    try:
        found = statements(script)
    except Exception as error:
        yield f"it cannot be read without a database ({error}); an expand migration does the same everywhere"
        return
    for statement, altered in found:
        if script.down_revision is None:
            # Before the first there is neither a release that it could disturb nor a row that could be lost.
            if not statement.upper().startswith("CREATE "):
                yield f"the first migration only creates; move this into one of its own: {shown(statement)}"
        elif why := refusal(statement, altered):
            yield f"{why}: {shown(statement)}"
    if script.down_revision is not None and len(found) > 1:
        yield (
            "it holds several statements, and the server could stop for good between them; write a migration each "
            "(op.add_columns takes several columns and their indexes; an index of a new table comes after it, a UNIQUE "
            f"constraint within it): {'; '.join(shown(statement) for statement, _ in found)}"
        )


def shown(statement: str) -> str:
    """The beginning of a statement, on one line."""
    text = " ".join(statement.split())
    return text if len(text) <= 90 else f"{text[:90]}..."


def statements(script: Script) -> list[tuple[str, Altered | None]]:
    """Run a migration's `upgrade` into a list of what MySQL and MariaDB would be sent."""
    sink = Statements()
    context = MigrationContext.configure(
        dialect_name="mysql", opts={"as_sql": True, "output_buffer": sink, "literal_binds": True}
    )
    _note_altered(context, sink)
    with Operations.context(context):
        script.module.upgrade()
    return sink.found


def _note_altered(context: MigrationContext, sink: Statements) -> None:
    """Let the sink know what a column was while `op.alter_column` writes its statement."""
    alter = context.impl.alter_column

    def noted(table: str, column: str, **given: Any) -> None:
        sink.altered = Altered(
            renamed=given.get("name") is not None,
            nullable=given.get("nullable"),
            was_nullable=given.get("existing_nullable"),
            type=given.get("type_"),
            old_type=given.get("existing_type"),
        )
        try:
            alter(table, column, **given)
        finally:
            sink.altered = None

    vars(context.impl)["alter_column"] = noted
