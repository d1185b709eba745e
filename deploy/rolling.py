"""Move the processes of a stack to a release, one at a time, each through its own gate."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from deploy import durable, instances, sections
from deploy.drain import Drain
from deploy.instances import Process, Supervisor
from deploy.layout import Host
from deploy.sections import Sections
from deploy.site import Site, SiteRefused
from deploy.steps import ReleaseError, Run, Say
from deploy.tree import Release


class Roll:
    """The way of a host's processes to one release."""

    def __init__(self, run: Run, host: Host, release: Release) -> None:
        self._run = run
        self._host = host
        self._release = release
        self._stack = release.stack
        self._supervisor = Supervisor(release.stack)
        self._sections = Sections(release.stack, release.rendered)
        self._site = Site(release.stack)
        self._added: list[str] = []
        self._changed: list[str] = []
        self._removed: list[str] = []

    def is_settled(self) -> bool:
        """Whether `current` and every process are on the release already, and ready."""
        return self._host.pointed(self._host.current) == self._release.name and all(
            self._is_settled(process) for process in instances.with_pointer(self._stack)
        )

    def _is_settled(self, process: Process) -> bool:
        name = self._release.name
        return instances.serves(self._host, process) == name and not instances.verdict(self._stack, process, name)

    def prepare(self) -> bool:
        """Write supervisor's files and start supervisord where it does not run; return whether that was needed.

        A supervisord that does not run is started with every process on this release, as on a bare host.
        """
        plugin = sections.install_plugin(self._stack, self._release.root)
        answers = self._supervisor.answers()
        if not answers:
            self._run.will_change("supervisord", "supervisor's groups")
        written = self._sections.install(self._run)
        if not answers:
            for process in instances.with_pointer(self._stack):
                self._point(process)
            self._run.say("starting supervisord")
            sections.start_supervisord(self._stack, self._supervisor)
            for process in instances.with_pointer(self._stack):
                instances.gate(self._stack, process, self._release.name)
            return True
        self._added, self._changed, self._removed = self._supervisor.changes()
        return plugin or written

    def roll(self, kind: str, *, force: bool = False) -> bool:
        """Move the processes of one kind, `api` or `sync`; return whether any had to.

        Args:
            kind: which processes.
            force: restart those too that are settled, for instance because their files were mended.
        """
        members = [process for process in instances.with_pointer(self._stack) if process["kind"] == kind]
        moved = [self._add(group, members) for group in _groups(members) if group in self._added]
        for process in members:
            group = process["group"]
            if group in self._added or group in self._changed or (not force and self._is_settled(process)):
                continue
            self.move(process)
            moved.append(True)
        return bool(moved)

    def _add(self, group: str, members: Iterable[Process]) -> bool:
        mine = [process for process in members if process["group"] == group]
        for process in mine:
            self._point(process)
        self._run.say(f"{group}: new")
        self._run.will_change("new group", f"the new group {group}", group=group)
        self._supervisor.add(group)
        for process in mine:
            instances.gate(self._stack, process, self._release.name)
        return True

    def move(self, process: Process) -> None:
        """Point one process at the release, restart it, and wait until it is ready."""
        before = instances.serves(self._host, process)
        self._run.say(f"{process['name']}: {before or 'nothing'} -> {self._release.name}")
        if before and before != self._release.name:
            self._run.will_change("process", f"{process['name']} to {before}", process=dict(process), release=before)
            instances.point(self._host, process, self._release.name)
        else:
            self._point(process)
        self._supervisor.restart(process)
        instances.gate(self._stack, process, self._release.name)

    def _point(self, process: Process) -> None:
        before = instances.serves(self._host, process)
        if before != self._release.name:
            self._run.will_change("pointer", f"the pointer of {process['name']}", process=dict(process), release=before)
            instances.point(self._host, process, self._release.name)

    def confirm(self) -> None:
        """Wait until every process is ready at the same time: one that was moved first may have died since.

        Raises:
            ReleaseError: naming the one that is not.
        """
        for process in instances.with_pointer(self._stack):
            instances.gate(self._stack, process, self._release.name, patient=True)

    def site(self) -> bool:
        """Put the release's site into nginx; return whether it was another one."""
        wanted = (self._release.rendered / "nginx" / f"{self._stack['stack']['name']}.conf").read_text("utf-8")
        if self._site.text() == wanted:
            return False
        self._run.will_change("site", "nginx's site", text=self._site.text())
        try:
            self._site.install(wanted)
        except SiteRefused:
            self._run.not_made()
            raise
        return True

    def groups(self) -> bool:
        """Load the sections that changed and drop those that went; return whether there were any.

        A group stops only when nginx has let go of its port: those that went are in the site no longer.
        """
        drain = Drain(self._run, self._stack)
        for group in self._changed:
            self._run.say(f"{group}: its section changed")
            for port in self._ports(group):
                drain.take_out(port)
            self._run.will_change("group", f"the old section of {group}", group=group, files=self._sections.before)
            members = [process for process in instances.with_pointer(self._stack) if process["group"] == group]
            for process in members:
                self._point(process)
            self._supervisor.replace(group)
            for process in members:
                instances.gate(self._stack, process, self._release.name)
        drain.put_back()
        for group in self._removed:
            self._run.say(f"{group}: gone")
            for port in self._ports(group):
                drain.take_out(port)
            self._run.will_change("group", f"the group {group}", group=group, files=self._sections.before)
            self._supervisor.remove(group)
        return bool(self._changed or self._removed)

    def _ports(self, group: str) -> list[int]:
        """The port of a group; none of sync's."""
        return [int(group.removeprefix("api-"))] if re.fullmatch(r"api-\d+", group) else []


def complete(run: Run, host: Host, target: Release, watch: Callable[[Say], object] | None = None) -> None:
    """The last steps of every way to a release, once each process is on it.

    A run that is cut off here is finished by a resume, which calls this again: each step does only what is missing.

    Args:
        run: the run.
        host: where.
        target: the release.
        watch: looks at what is served before it counts as done, and fails when that is not good enough.
    """
    with run.step("current") as step:
        before, previous = host.pointed(host.current), host.pointed(host.previous)
        if before != target.name:
            run.will_change("current", f"current to {before or 'nothing'}", current=before, previous=previous)
            run.passed()
            if before:
                durable.link(host.previous, host.target(host.previous, before))
            durable.link(host.current, host.target(host.current, target.name))
            step.changed = True
    if watch:
        with run.step("watch"):
            watch(run.say)
    with run.step("settle") as step:
        run.settle()
        step.changed = _drop_pointers(host, target.stack)


def _drop_pointers(host: Host, stack: Mapping[str, Any]) -> bool:
    """Take away the pointers of processes that the stack no longer has; return whether there were any."""
    wanted = {str(process["name"]) for process in instances.with_pointer(stack)}
    extra = [path for path in host.instances.iterdir() if path.is_symlink() and path.name not in wanted]
    for path in extra:
        path.unlink()
    return bool(extra)


def restart_all(run: Run, stack: Mapping[str, Any], host: Host, names: Iterable[str] = ()) -> None:
    """Restart the processes on the releases they serve, one at a time, each through its gate."""
    supervisor = Supervisor(stack)
    wanted = set(names)
    known = {str(process[key]) for process in instances.with_pointer(stack) for key in ("name", "group")}
    if wanted - known:
        raise ReleaseError(f"no {', '.join(sorted(wanted - known))} here; there are: {', '.join(sorted(known))}")
    for process in instances.with_pointer(stack):
        if wanted and not wanted & {process["name"], process["group"]}:
            continue
        with run.step(str(process["name"])) as step:
            supervisor.restart(process)
            instances.gate(stack, process, instances.serves(host, process))
            step.changed = True


def _groups(members: Iterable[Process]) -> list[str]:
    return list(dict.fromkeys(str(process["group"]) for process in members))
