"""What happens around a release on a host: the hooks of its tree, and the notification of its end.

Hooks run when `current` is to name another release, so never when there is nothing to do, or only something to mend.
One that comes before stops the release; one that comes after is said and recorded, and changes nothing.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy import hooks, ledger, notify
from deploy.hooks import Ran
from deploy.layout import Host, actor, command_environment, now
from deploy.manifest import Manifest
from deploy.steps import ReleaseError, Run

NOTIFIED = ("name", "environment", "url", "action", "what", "outcome", "current", "previous", "host", "actor", "time")
OF_FAILURES = ("step", "instance", "message")


class Around:
    """The hooks and the notification of one run.

    Args:
        run: whose steps they stand between, and whose record they go into.
        host: where.
        action: release, rollback or scale.
        stack: the values of the host, which may be newer than those of a release that it goes back to.
        migrates: whether this host migrates the database.
    """

    def __init__(self, run: Run, host: Host, action: str, stack: Mapping[str, Any], *, migrates: bool = False) -> None:
        self._run = run
        self._host = host
        self._stack = stack
        self._before = host.pointed(host.current)
        self._ran: list[Ran] = []
        self._tree: Path | None = None
        self._switches = False
        self._told = {
            "ACTION": action,
            "PREVIOUS": self._before,
            "HOST": socket.gethostname(),
            "ACTOR": actor(),
            "MIGRATES": str(int(migrates)),
            "NAME": stack["stack"]["name"],
            "ENVIRONMENT": stack["stack"]["environment"],
            "URL": stack["nginx"]["url"],
        }
        run.companions.append(self)

    def aim(self, name: str, tree: Path, found: Manifest) -> None:
        """Say where the run goes: the release's name, the tree that holds its hooks, and its manifest."""
        self._tree, self._switches = tree, name != self._before
        self._told.update(RELEASE=name, VERSION=found.version, COMMIT=found.commit)

    def before(self, moment: str) -> None:
        """Run the hook `before-...` of a moment as a step.

        Raises:
            ReleaseError: it failed or took too long.
        """
        hook = f"before-{moment}"
        if not self._has(hook):
            return
        with self._run.step(hook):
            ran = self._start(hook)
            if ran and ran.failed:
                raise ReleaseError(ran.failed, log=ran.output)

    def after(self, moment: str) -> None:
        """Run the hook `after-...` of a moment; its failure is only said."""
        if self._has(f"after-{moment}"):
            self._start(f"after-{moment}")

    def ending(self, entry: dict[str, Any]) -> None:
        """Run the last hook and put what became of all of them into the record."""
        if entry["outcome"] == "failed":
            self._told.update({name.upper(): str(entry.get(name, "")) for name in OF_FAILURES})
            self._tree = self._tree or self._host.current  # an archive that was refused runs nothing
            if (self._tree / hooks.FOLDER / "on-failure").is_file():
                self._start("on-failure")
        else:
            self.after("release")
        if self._ran:
            entry["hooks"] = [asdict(ran) for ran in self._ran]

    def recorded(self, entry: Mapping[str, Any]) -> None:
        """Notify of the end; a notification that did not arrive is a line of the ledger."""
        if not self._stack["releases"]["notify_url"]:
            return
        own = {"name": self._stack["stack"]["name"], "environment": self._stack["stack"]["environment"]}
        known = {**entry, **own, "url": self._stack["nginx"]["url"]}
        data = {key: known[key] for key in (*NOTIFIED, *OF_FAILURES) if key in known}
        data["seconds"] = round(sum(step["seconds"] for step in entry["steps"]), 3)
        kind = f"{entry['action']}.{entry['outcome']}"
        message = f"{own['name']}-{entry['host']}-{entry['run']}"
        sent = notify.send(self._stack, message, {"type": kind, "timestamp": now(), "data": data})
        if not sent.problem:
            self._run.say(f"notified of {kind}")
            return
        words = f"notification of {kind} not delivered in {sent.tries} tries: {sent.problem}"
        self._run.say(words)
        line = {"time": now(), "action": "notify", "what": message, "outcome": "failed", "message": words}
        line |= {key: entry[key] for key in ("actor", "host", "run", "current", "previous")}
        ledger.append(self._host.ledger, {**line, "steps": []})

    def _has(self, hook: str) -> bool:
        return self._switches and self._tree is not None and (self._tree / hooks.FOLDER / hook).is_file()

    def _start(self, hook: str) -> Ran | None:
        assert self._tree is not None  # noqa: S101 - its callers have looked
        ran = hooks.run(
            self._tree,
            hook,
            self._told,
            timeout=self._stack["releases"]["hook_timeout"],
            start=self._host.start,
            say=self._run.say,
            environment=self._environment(self._tree),
        )
        self._ran += [ran] if ran else []
        return ran

    def _environment(self, tree: Path) -> dict[str, str]:
        """What `stack exec` gives once there is a release; of an unpacked archive only what we hand on."""
        if (tree / "rendered").is_dir():
            values = command_environment(tree)
        else:
            values = {name: os.environ[name] for name in hooks.INHERITED if name in os.environ}
        if self._host.account:
            entry = pwd.getpwnam(self._host.account)
            values.update(HOME=entry.pw_dir, USER=self._host.account, LOGNAME=self._host.account)
        return values
