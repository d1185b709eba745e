"""The steps of a release that change the database: which migrations run, the backup before them, and the running.

A release runs expand migrations only. It stops short of the first contract migration, which `--contract` runs one
release later: a release that holds a contract migration does without what that takes away, and it is run when the
release before holds it too, so that whatever goes on serving meanwhile, or is gone back to, has no use for it either.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import manifest
from deploy.backup import back_up
from deploy.commands import answer, flask
from deploy.layout import Host
from deploy.manifest import Manifest
from deploy.migrations import Migration
from deploy.rehearsal import rehearse
from deploy.steps import ReleaseError, Run, Say
from deploy.tree import Release, open_release


@dataclass(frozen=True)
class Choice:
    """What a release does about migrations: those it runs, in order, and those it leaves for `--contract`."""

    runs: tuple[Migration, ...] = ()
    waits: tuple[Migration, ...] = ()


def choose(
    migrations: Sequence[Migration], pending: Collection[str], *, empty: bool, contract: bool, before: Collection[str]
) -> Choice:
    """Decide which migrations a release runs.

    Args:
        migrations: of the release, in order.
        pending: the revisions that the database lacks.
        empty: nothing has run there: nobody is served by it, so everything may.
        contract: `--contract` was given.
        before: the revisions that the release before holds.

    Raises:
        ReleaseError: a contract migration is one release early, or an expand one lies behind one that waits.
    """
    lacking = tuple(migration for migration in migrations if migration.revision in pending)
    if empty:
        return Choice(lacking)
    for number, migration in enumerate(lacking):
        if migration.kind != "contract" or (contract and migration.revision in before):
            continue
        if contract:
            raise ReleaseError(
                f"the contract migration {migration.revision} runs one release later: the release before this one does "
                "not hold it, so it may still use what it takes away; release without --contract first"
            )
        behind = [later.revision for later in lacking[number:] if later.kind == "expand"]
        if behind:
            raise ReleaseError(
                f"{', '.join(behind)} comes after the contract migration {migration.revision}, which has not run: "
                "release with --contract, when the release before holds it; else put it first"
            )
        return Choice(lacking[:number], lacking[number:])
    return Choice(lacking)


def migrate(run: Run, host: Host, target: Release, *, contract: bool) -> None:
    """Bring the database to what a release needs: decide, back up, run.

    Raises:
        ReleaseError: no process was moved. Migrations that ran before the one that failed stay: they are whole steps.
    """
    with run.step("migrations"):
        refuse_lost(host, target)
        choice, empty = _choice(host, target, contract=contract)
        if choice.waits:
            run.say(f"{_names(choice.waits)} waits: a contract migration, for `stack release --contract` of the next")
    if choice.runs and not empty:
        with run.step("backup") as step:
            run.facts["backup"] = str(back_up(host, target))
            run.say(run.facts["backup"])
            step.changed = True
    with run.step("migrate") as step:
        step.changed = _run(host, target, choice, run.say)
        run.facts["migrations"] = [migration.revision for migration in choice.runs]


def _choice(host: Host, target: Release, *, contract: bool) -> tuple[Choice, bool]:
    if not target.manifest.migrations:
        return Choice(), True  # what its `flask db upgrade` does is the app's own affair
    state = _state(host, target)
    before = previous(host, target)
    held = {migration.revision for migration in before.migrations} if before else set()
    pending, empty = state["pending"], bool(state["empty"])
    return choose(target.manifest.migrations, pending, empty=empty, contract=contract, before=held), empty


def _state(host: Host, release: Release) -> dict[str, Any]:
    said = answer(host, release, "check-migrations", "--json").splitlines()
    try:
        state = json.loads(said[-1])
        return {"empty": state["empty"], "pending": set(state["pending"])}
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError("`flask check-migrations --json` does not answer as docs/app.md says", log=said) from error


def previous(host: Host, target: Release) -> Manifest | None:
    """What is said of the release before a release: the one that is current, or was before it."""
    pointed = (host.pointed(pointer) for pointer in (host.current, host.previous))
    name = next((name for name in pointed if name not in ("", target.name)), "")
    return manifest.read(host.releases / name) if name else None


def refuse_lost(host: Host, target: Release) -> None:
    """Refuse a release that may need what a contract migration has taken away.

    Raises:
        ReleaseError: naming the migrations.
    """
    name = host.pointed(host.current)
    if name in ("", target.name):
        return
    current = manifest.read(host.releases / name)
    held = {migration.revision for migration in target.manifest.migrations}
    unknown = [each.revision for each in current.migrations if each.kind == "contract" and each.revision not in held]
    if not unknown:
        return
    pending = _state(host, open_release(host, name))["pending"]
    ran = [revision for revision in unknown if revision not in pending]
    if ran:
        raise ReleaseError(
            f"release {target.name} does not know the contract migration {', '.join(ran)}, which has run: what it may "
            "need was taken away; go back to a release that holds it"
        )


def _run(host: Host, target: Release, choice: Choice, say: Say) -> bool:
    if target.manifest.migrations:
        changed = bool(choice.runs)
        if changed:
            flask(host, target, "db", "upgrade", choice.runs[-1].revision)
    else:
        changed = "Running upgrade" in flask(host, target, "db", "upgrade")
    password = Path(target.stack["paths"]["secrets"], "admin_password")
    if password.exists():
        email = target.stack["app"]["admin_email"]
        said = flask(host, target, "create-admin", "--email", email, "--password-file", str(password)).strip()
        say(said.splitlines()[-1] if said else f"admin {email}")
    return changed


def prove_way_back(run: Run, host: Host, before: str) -> None:
    """Rehearse the release before on the database as it is now, so that it can be gone back to.

    When this run has migrated nothing, it has taken nothing away from the release before, and may be what mends it:
    then a failure is said, and is none.

    Raises:
        ReleaseError: what this run has migrated keeps the release before from starting.
    """
    try:
        rehearse(host, open_release(host, before))
    except ReleaseError as error:
        if not run.facts.get("migrations"):
            run.say(f"{before} could not be gone back to: {error.message}")
            return
        error.message = (
            f"the migrations {', '.join(run.facts['migrations'])} have run, and the release before could no longer be "
            f"gone back to: {error.message}. Its processes go on as they are; releasing again does without the way back"
        )
        raise


def _names(migrations: Sequence[Migration]) -> str:
    return ", ".join(migration.revision for migration in migrations)
