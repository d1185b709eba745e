"""The supervisord plugin that keeps the listening sockets open while processes restart.

supervisord opens the socket of an `[fcgi-program]` group with the group's first process and closes it with the
last one, so `restart GROUP:*` resets every connection that waits in the backlog. This plugin holds one more
reference to each group's socket. It lets go when no process of the group has been RUNNING for
`release_seconds` or the whole group is FATAL, so that connections are refused and nginx goes on to the next port.

It also restarts a process or a group in one call. With supervisord's own two, stop and start, whoever called may die in
between, and the process stays stopped.

In supervisord.conf:

    [rpcinterface:sockets]
    supervisor.rpcinterface_factory=deploy.sockets:make_sockets_rpcinterface
    release_seconds=10
"""

from __future__ import annotations

import time
from typing import Any

import supervisor.events as events
from supervisor.process import FastCGIProcessGroup
from supervisor.states import RUNNING_STATES, ProcessStates
from supervisor.xmlrpc import Faults, RPCError


class SocketKeeper:
    """Holds a reference to the socket of each group that has one; its public methods are RPCs of `sockets`."""

    def __init__(self, supervisord: Any, release_seconds: float) -> None:
        self._supervisord = supervisord
        self._release_seconds = release_seconds
        self._held: dict[str, Any] = {}
        self._dead_since: dict[str, float] = {}
        self._restarting: set[str] = set()
        self._renewing: set[str] = set()
        for group in list(supervisord.process_groups.values()):
            self._hold(group)
        events.subscribe(events.ProcessGroupAddedEvent, self._added)
        events.subscribe(events.ProcessGroupRemovedEvent, self._removed)
        events.subscribe(events.ProcessStateRunningEvent, self._running)
        events.subscribe(events.ProcessStateStoppedEvent, self._stopped)
        events.subscribe(events.ProcessStateFatalEvent, self._stopped)
        events.subscribe(events.ProcessStateFatalEvent, self._judge_all)
        events.subscribe(events.Tick5Event, self._judge_all)
        events.subscribe(events.SupervisorStoppingEvent, self._stopping)

    def held(self) -> list[str]:
        """The names of the groups whose sockets are held open."""
        return sorted(self._held)

    def restart(self, name: str) -> bool:
        """Stop a process, `group:process`, and start it as soon as it has stopped; do not wait for either.

        Raises:
            RPCError: when there is no such process, or it does not run.
        """
        group, _, process = name.partition(":")
        groups = self._supervisord.process_groups
        if group not in groups or process not in groups[group].processes:
            raise RPCError(Faults.BAD_NAME, name)
        found = groups[group].processes[process]
        if found.get_state() not in RUNNING_STATES:
            raise RPCError(Faults.NOT_RUNNING, name)
        self._restarting.add(name)
        found.stop()
        return True

    def renew(self, name: str) -> bool:
        """Stop a group, and `replace` it as soon as it has stopped; do not wait for either.

        Raises:
            RPCError: when there is no such group.
        """
        if name not in self._supervisord.process_groups:
            raise RPCError(Faults.BAD_NAME, name)
        self._renewing.add(name)
        self._supervisord.process_groups[name].stop_all()
        self._renew_if_stopped(name)
        return True

    def replace(self, name: str) -> bool:
        """Load a stopped group's section anew, as `reloadConfig` has read it, and give it the socket it had.

        `removeProcessGroup` and `addProcessGroup` close the socket between them and reset what waits in its backlog;
        here that waits for the new processes. A section with another address gets another socket.

        Raises:
            RPCError: when there is no such group, or it has not stopped.
        """
        configs = {config.name: config for config in self._supervisord.options.process_group_configs}
        if name not in configs or name not in self._supervisord.process_groups:
            raise RPCError(Faults.BAD_NAME, name)
        config = configs[name]
        manager = getattr(self._supervisord.process_groups[name], "socket_manager", None)
        kept = self._held.pop(name, None)  # this reference keeps the socket open until the new group holds it
        if not self._supervisord.remove_process_group(name):
            if kept is not None:
                self._held[name] = kept
            raise RPCError(Faults.STILL_RUNNING, name)
        if manager is not None and kept is not None and config.socket_config.url == manager.config().url:
            config.after_setuid()
            group = FastCGIProcessGroup(config, socketManager=lambda *_, **__: manager)
            self._supervisord.process_groups[name] = group
            events.notify(events.ProcessGroupAddedEvent(name))
            return True
        kept = manager = None  # closes it, which the new group may need
        return bool(self._supervisord.add_process_group(config))

    def _stopped(self, event: Any) -> None:
        group = event.process.group.config.name
        name = f"{group}:{event.process.config.name}"
        if name in self._restarting:
            self._restarting.discard(name)
            event.process.laststart = 0  # supervisord starts what is stopped and was never started
        self._renew_if_stopped(group)

    def _renew_if_stopped(self, name: str) -> None:
        group = self._supervisord.process_groups.get(name)
        if name in self._renewing and group is not None and not group.get_unstopped_processes():
            self._renewing.discard(name)
            self.replace(name)

    def _hold(self, group: Any) -> None:
        manager = getattr(group, "socket_manager", None)
        if manager is not None and group.config.name not in self._held:
            self._held[group.config.name] = manager.get_socket()

    def _let_go(self, name: str) -> None:
        self._held.pop(name, None)
        self._dead_since.pop(name, None)

    def _added(self, event: Any) -> None:
        self._hold(self._supervisord.process_groups[event.group])

    def _removed(self, event: Any) -> None:
        self._let_go(event.group)

    def _running(self, event: Any) -> None:
        self._dead_since.pop(event.process.group.config.name, None)
        self._hold(event.process.group)

    def _stopping(self, event: Any) -> None:
        for name in list(self._held):
            self._let_go(name)

    def _judge_all(self, event: Any) -> None:
        if self._something_is_stopping():
            # `restart all` starts a group only when the slowest of all groups has stopped
            self._dead_since.clear()
            return
        for name in list(self._held):
            group = self._supervisord.process_groups.get(name)
            if group is None or self._is_abandoned(name, list(group.processes.values())):
                self._let_go(name)

    def _something_is_stopping(self) -> bool:
        groups = self._supervisord.process_groups.values()
        states = (process.get_state() for group in groups for process in group.processes.values())
        return any(state == ProcessStates.STOPPING for state in states)

    def _is_abandoned(self, name: str, processes: list[Any]) -> bool:
        # STARTING is no life yet: what dies at each start never reads from its socket.
        states = {process.get_state() for process in processes}
        if ProcessStates.RUNNING in states:
            self._dead_since.pop(name, None)
            return False
        if states == {ProcessStates.FATAL}:
            return True
        return time.monotonic() - self._dead_since.setdefault(name, time.monotonic()) >= self._release_seconds


def make_sockets_rpcinterface(supervisord: Any, release_seconds: str = "10") -> SocketKeeper:
    """What `supervisor.rpcinterface_factory` names; arguments come from the section as strings."""
    return SocketKeeper(supervisord, float(release_seconds))
