"""Releases on a host: the order of the steps.

The engine of the incoming release runs the release. Everything before the roll leaves the running stack untouched; a
failure in the roll or the watch puts back every process, file and pointer that was moved. Each step does only what is
missing, so that releasing what is current already changes nothing, and mends what somebody has changed by hand.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy import ledger, manifest, migrating, preflight, tree, venvs
from deploy.around import Around
from deploy.attempt import attempt
from deploy.commands import flask, python
from deploy.layout import Host
from deploy.rehearsal import rehearse
from deploy.render import TREE
from deploy.rolling import Roll, complete, restart_all
from deploy.steps import Outcome, ReleaseError, Run, Say
from deploy.tree import Load, Release
from deploy.undo import Place
from deploy.watch import Traffic


@dataclass(frozen=True)
class Options:
    """How a release is made.

    Wheels for what needs a compiler; whether to migrate the database, contract migrations too; how many seconds to wait
    for the lock; whether to watch it, which is for later where no requests come yet.
    """

    wheels: Path | None = None
    migrate: bool = True
    contract: bool = False
    wait: float = 0.0
    watch: bool = True


def release(host: Host, source: Path, load: Load, options: Options, say: Say) -> Outcome:
    """Bring a host to the release in an unpacked archive.

    Args:
        host: where.
        source: the unpacked archive.
        load: loads the host's stack for a release.
        options: how.
        say: takes one line of progress.

    Returns:
        What was done; `changed` is False when everything was as it should be already.

    Raises:
        ReleaseError: after everything that was moved has been put back.
    """
    with attempt(host, "release", source.name, options.wait, say) as run:
        around = Around(run, host, "release", load(None), migrates=options.migrate)
        with run.step("verify"):
            try:
                archive = manifest.verify(source)
            except manifest.ManifestError as error:
                raise ReleaseError(str(error)) from error
        with run.step("preflight"):
            stack = load({"id": archive.id, "root": str(host.current)})
            recipe = venvs.recipe(stack, source)
            preflight.check(host, stack, source, new_venv=not venvs.is_complete(host, recipe.name))
            planned = tree.plan(host, archive, load, recipe.name)
        around.aim(planned.name, source, archive)
        around.before("release")
        with run.step("unpack") as step:
            step.changed = tree.unpack(host, source, planned, recipe.python)
            mended = planned.exists and step.changed
        with run.step("venv") as step:
            step.changed = venvs.build(host, recipe, stack, options.wheels)
        # Values that are in no rendered file, such as timeouts.health, are taken as they are now.
        incoming = replace(tree.open_release(host, planned.name), stack=planned.stack)
        before = host.pointed(host.current)
        around.aim(incoming.name, incoming.root, archive)
        contract = options.migrate and options.contract
        flags = {"migrate": options.migrate, "force": mended, "contract": contract, "watch": options.watch}
        bring(run, around, host, incoming, **flags, proves=True)
        with run.step("prune") as step:
            step.changed = prune(host, stack["releases"]["keep"], source)
    return run.outcome(incoming.name, before)


def rollback(host: Host, stack: Mapping[str, Any], name: str, options: Options, say: Say) -> Outcome:
    """Bring a host back to a release that lies on it; migrations are never undone.

    Args:
        host: where.
        stack: the host's values.
        name: its id; the release before the current one when empty.
        options: how; `migrate` and `wheels` do not count.
        say: takes one line of progress.

    Raises:
        ReleaseError: when there is no such release, or as `release` does.
    """
    with attempt(host, "rollback", name or "the previous release", options.wait, say) as run:
        around = Around(run, host, "rollback", stack)
        with run.step("verify"):
            wanted = name or host.pointed(host.previous)
            if not wanted:
                raise ReleaseError(f"there is no previous release; {host.releases} holds {', '.join(tree.names(host))}")
            target = tree.open_release(host, wanted)
            if not venvs.is_complete(host, tree.venv_of(target.root)):
                raise ReleaseError(f"the venv of release {wanted} is gone; release that commit again")
            migrating.refuse_lost(host, target)
        before = host.pointed(host.current)
        around.aim(target.name, target.root, target.manifest)
        around.before("release")
        bring(run, around, host, target, migrate=False, force=False)
    return run.outcome(target.name, before)


def restart(host: Host, stack: Mapping[str, Any], names: list[str], options: Options, say: Say) -> Outcome:
    """Restart the processes one at a time, each through its gate, on the releases they serve.

    Raises:
        ReleaseError: naming the process that did not come back; those after it are left alone.
    """
    with attempt(host, "restart", " ".join(names) or "all", options.wait, say) as run:
        run.count(Traffic(stack).count)
        restart_all(run, stack, host, names)
    current = host.pointed(host.current)
    return run.outcome(current, current)


def watch(host: Host, stack: Mapping[str, Any], options: Options, say: Say) -> Outcome:
    """Watch the current release, held against the minutes before it was made: requests reach this host only now.

    Args:
        host: where.
        stack: the host's values.
        options: how; only `wait` counts.
        say: takes one line of progress.

    Raises:
        ReleaseError: with the figures, when it got worse; nothing is taken back.
    """
    with attempt(host, "watch", host.pointed(host.current), options.wait, say, always=True) as run:
        current = host.pointed(host.current)
        began = _began(host, current)
        if began is None or not stack["releases"]["watch_seconds"]:
            why = "releases.watch_seconds is 0" if began else "no release made it current, or the first one did"
            say(f"{current or 'nothing'} is not watched: {why}")
        else:
            traffic = Traffic(stack, began)
            run.count(traffic.count)
            with run.step("watch"):
                traffic.watch(run.say)
    return run.outcome(current, current)


def _began(host: Host, name: str) -> float | None:
    """When the release began that made something current, in seconds since 1970; None when there was none before."""
    for entry in reversed(ledger.read(host.ledger).entries):
        if entry.get("outcome") == "done" and entry.get("current") == name != entry.get("previous"):
            made = entry["action"] == "release" and entry["previous"]
            return datetime.fromisoformat(entry["time"]).timestamp() if made else None
    return None


def bring(
    run: Run,
    around: Around,
    host: Host,
    target: Release,
    *,
    migrate: bool,
    force: bool,
    contract: bool = False,
    proves: bool = False,
    watch: bool = True,
) -> None:
    """The steps that every way to a release has in common.

    With `proves` the release before is shown to start, and with `watch` too this one is watched. What somebody goes
    back to needs neither, and what goes first has nothing before it.
    """
    before = host.pointed(host.current)
    proves = proves and before not in ("", target.name)
    run.aim(target.name, Place(host, target.stack).perform)
    roll = Roll(run, host, target)
    if force or contract or not roll.is_settled():
        with run.step("check"):
            python(host, target, "gunicorn", "--check-config", "-c", str(target.root / "gunicorn.conf.py"))
        if migrate:
            migrating.migrate(run, host, target, contract=contract)
        with run.step("database"):
            flask(host, target, "check")
        with run.step("rehearse"):
            rehearse(host, target)
        if proves:
            with run.step("way back"):
                migrating.prove_way_back(run, host, before)
    around.before("switch")
    traffic = Traffic(target.stack)
    run.count(traffic.count)
    with run.step("supervisor") as step:
        step.changed = roll.prepare()
    with run.step("roll") as step:
        step.changed = roll.roll("api", force=force)
    with run.step("sync") as step:
        step.changed = roll.roll("sync", force=force)
    with run.step("nginx") as step:
        step.changed = roll.site()
    with run.step("groups") as step:
        step.changed = roll.groups()
    with run.step("confirm"):
        roll.confirm()
    watched = proves and watch and target.stack["releases"]["watch_seconds"] > 0
    complete(run, host, target, traffic.watch if watched else None)
    around.after("switch")


def prune(host: Host, keep: int, source: Path) -> bool:
    """Remove what is no longer needed; return whether anything was.

    Kept are the `keep` newest releases, the current and the previous one, each that a process is pointed at, that in
    which this engine lies, the venvs of all of these, and the archive just released.
    """
    needed = {host.pointed(host.current), host.pointed(host.previous)}
    needed |= {host.pointed(path) for path in host.instances.iterdir() if path.is_symlink()}
    if TREE.parent == host.releases.resolve():
        needed.add(TREE.name)
    by_age = sorted(tree.names(host), key=lambda name: (host.releases / name).stat().st_mtime, reverse=True)
    kept = [name for number, name in enumerate(by_age) if number < keep or name in needed]
    venvs_in_use = {tree.venv_of(host.releases / name) for name in kept}
    extra = [path for path in host.releases.iterdir() if path.name not in kept]
    extra += [path for path in host.venvs.iterdir() if path.name not in venvs_in_use]
    if host.incoming.is_dir() and source.parent == host.incoming:
        # An engine may be waiting for the lock in one that came later.
        arrived = source.stat().st_ctime
        extra += [path for path in host.incoming.iterdir() if path != source and path.stat().st_ctime <= arrived]
    for path in extra:
        # A folder half removed must not look like a whole one.
        doomed = path if path.name.startswith(".") else path.with_name(f".{path.name}.old")
        if doomed != path:
            os.rename(path, doomed)
        shutil.rmtree(doomed) if doomed.is_dir() else doomed.unlink()
    return bool(extra)


def listed(host: Host) -> list[dict[str, Any]]:
    """The releases on a host, the oldest first, with which is current and which processes each serves.

    `requests` are those that were answered while it was brought, as the ledger has them.
    """
    rows = []
    counted = {
        entry["current"]: entry.get("requests", {})
        for entry in ledger.read(host.ledger).entries
        if (entry.get("action"), entry.get("outcome")) == ("release", "done")
    }
    for name in tree.names(host):
        found = manifest.read(host.releases / name)
        pointers = host.instances.iterdir() if host.instances.is_dir() else iter(())
        rows.append(
            {
                "id": name,
                "version": found.version,
                "commit": found.commit,
                "built_from": found.built_from,
                "current": host.pointed(host.current) == name,
                "previous": host.pointed(host.previous) == name,
                "processes": sorted(path.name for path in pointers if host.pointed(path) == name),
                "requests": counted.get(name, {}),
            }
        )
    return rows
