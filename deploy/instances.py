"""One process of the stack at a time: its pointer, its restart, and the gate it must pass."""

from __future__ import annotations

import subprocess
import time
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy import durable, health, unix_http
from deploy.layout import Host
from deploy.steps import ReleaseError

UNKNOWN_METHOD, ALREADY_STARTED, NOT_RUNNING = 1, 60, 70  # supervisor.xmlrpc.Faults
ENDED = ("BACKOFF", "EXITED", "FATAL")
POLL = 0.1  # seconds between two looks

Process = Mapping[str, Any]


class Supervisor:
    """supervisord of one stack, through its unix socket."""

    def __init__(self, stack: Mapping[str, Any]) -> None:
        self._stack = stack
        # A stop may last until supervisor kills.
        self._proxy: Any = unix_http.supervisor_rpc(
            stack["supervisor"]["socket"], timeout=stack["timeouts"]["stopwait"] + 60.0
        )
        self.rpc: Any = self._proxy.supervisor

    def table(self) -> dict[str, dict[str, Any]]:
        """supervisord's processes by name; empty when it does not answer."""
        return health.supervisor_states(self._stack)

    def answers(self) -> bool:
        """Whether supervisord runs."""
        try:
            self.rpc.getSupervisorVersion()
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def changes(self) -> tuple[list[str], list[str], list[str]]:
        """Read supervisor's files again; return the groups added, changed and removed since it loaded them.

        Raises:
            ReleaseError: when the files do not make sense to it.
        """
        try:
            added, changed, removed = self.rpc.reloadConfig()[0]
        except xmlrpc.client.Fault as error:
            raise ReleaseError(f"supervisor refuses its files: {error.faultString}") from error
        return added, changed, removed

    def add(self, group: str) -> None:
        """Start a group whose section has been read."""
        self.rpc.addProcessGroup(group)

    def remove(self, group: str) -> None:
        """Stop a group, each process within its stopwait, and forget it."""
        self.rpc.stopProcessGroup(group)
        self.rpc.removeProcessGroup(group)

    def replace(self, group: str) -> None:
        """Stop a group and load its changed section; its socket stays open where the plugin can do that.

        The plugin does both by itself, so that the group is not left stopped when this process is killed. It is waited
        until the new processes are there.
        """
        try:
            self._proxy.sockets.renew(group)
            while any(row["statename"] == "STOPPING" for row in self.table().values() if row["group"] == group):
                time.sleep(POLL)
            return
        except xmlrpc.client.Fault as error:
            if error.faultCode != UNKNOWN_METHOD:
                raise ReleaseError(f"supervisor cannot replace {group}: {error.faultString}") from error
        # supervisord was started with a plugin older than this release
        self.rpc.stopProcessGroup(group)
        try:
            self._proxy.sockets.replace(group)
        except xmlrpc.client.Fault as error:
            if error.faultCode != UNKNOWN_METHOD:
                raise ReleaseError(f"supervisor cannot replace {group}: {error.faultString}") from error
            self.rpc.removeProcessGroup(group)
            self.rpc.addProcessGroup(group)

    def restart(self, process: Process) -> None:
        """Stop a process and wait for it; start it without waiting: its gate does that.

        The plugin does both by itself, so that the process is not left stopped when this one is killed.

        Raises:
            ReleaseError: when supervisor cannot start it at all.
        """
        name = full_name(process)
        # gunicorn loses a TERM that reaches its worker while that boots, and kills it later with requests in hand.
        self.wait_while(process, "STARTING")
        try:
            self._proxy.sockets.restart(name)
            self.wait_while(process, "STOPPING")
            return
        except xmlrpc.client.Fault as error:
            if error.faultCode not in (UNKNOWN_METHOD, NOT_RUNNING):
                raise ReleaseError(f"supervisor cannot restart {name}: {error.faultString}") from error
        # It does not run, or supervisord was started with a plugin older than this release.
        try:
            self.rpc.stopProcess(name)
        except xmlrpc.client.Fault as error:
            if error.faultCode != NOT_RUNNING:
                raise ReleaseError(f"supervisor cannot stop {name}: {error.faultString}") from error
        # An interrupted run may have left it stopping; supervisor would take a start now for done.
        self.wait_while(process, "STOPPING")
        try:
            self.rpc.startProcess(name, False)
        except xmlrpc.client.Fault as error:
            if error.faultCode != ALREADY_STARTED:
                raise ReleaseError(f"supervisor cannot start {name}: {error.faultString}") from error

    def wait_while(self, process: Process, state: str) -> None:
        """Wait until a process is no longer in a state that ends by itself."""
        while self.table().get(process["name"], {}).get("statename") == state:
            time.sleep(POLL)


def full_name(process: Process) -> str:
    """What supervisor calls a process."""
    return f"{process['group']}:{process['name']}"


def with_pointer(stack: Mapping[str, Any]) -> list[Process]:
    """The processes that run a release's code, in the order in which they are rolled."""
    return [process for process in stack["processes"] if process["kind"] in ("api", "sync")]


def with_old_secrets(stack: Mapping[str, Any]) -> list[Process]:
    """The processes that started before a secret was last changed, so they know the one before.

    The launcher writes a process's pid file before the process reads any secret. A login that is to come is not
    read by any; the first admin's password is read when that one is made.
    """
    secrets = Path(stack["paths"]["secrets"])
    files = [path for path in secrets.iterdir() if path.name not in ("database_password_next", "admin_password")]
    changed = max((path.stat().st_mtime_ns for path in files if path.is_file()), default=0)
    return [process for process in with_pointer(stack) if _started(stack, process) <= changed]


def _started(stack: Mapping[str, Any], process: Process) -> int:
    """When a process started, in nanoseconds since the epoch; 0 when it has not."""
    try:
        return Path(stack["paths"]["run"], f"{process['name']}.pid").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def pointer(host: Host, process: Process) -> Path:
    """The link that says which release a process serves."""
    return host.instances / str(process["name"])


def serves(host: Host, process: Process) -> str:
    """The release that a process is pointed at; empty when it has none."""
    return host.pointed(pointer(host, process))


def point(host: Host, process: Process, release: str) -> None:
    """Point a process at a release by rename(2); at none when the name is empty."""
    host.instances.mkdir(mode=0o755, exist_ok=True)
    path = pointer(host, process)
    if release:
        durable.link(path, host.target(path, release))
    else:
        durable.remove(path)


def verdict(stack: Mapping[str, Any], process: Process, release: str) -> str:
    """Ask a process whether it is ready and serves a release; return why not, empty when it does."""
    if process["kind"] != "api":
        found = health.check({**stack, "processes": [process]})[0]
        if not found.healthy:
            return found.detail or found.state
        return "" if found.release == release else f"it serves {found.release or 'an unnamed release'}"
    status, body = unix_http.get(process["socket"], "/readyz", timeout=5)
    data = body.get("data") if isinstance(body, dict) else None
    serving = data.get("release") if isinstance(data, dict) else None
    if status != 200:
        return f"/readyz answers {status}: {str(body)[:300]}" if status else f"/readyz does not answer: {body}"
    if serving != release:
        return f"/readyz answers for release {serving!r}"
    for path in stack["releases"]["smoke"]:
        status, body = unix_http.get(process["socket"], path, timeout=5)
        if not 200 <= status < 400:
            return f"{path} answers {status}: {str(body)[:300]}"
    return ""


def gate(stack: Mapping[str, Any], process: Process, release: str, *, patient: bool = False) -> None:
    """Wait until a process is ready and serves a release, within timeouts.health.

    Args:
        stack: where it listens, and for how long to wait.
        process: which one.
        release: what it must serve.
        patient: wait the whole time even when it has ended by itself; supervisor starts it again.

    Raises:
        ReleaseError: naming the process, with the end of its log.
    """
    deadline = time.monotonic() + stack["timeouts"]["health"]
    while True:
        problem = verdict(stack, process, release)
        row = health.supervisor_states(stack).get(process["name"], {})
        state = str(row.get("statename", "ABSENT"))
        if not problem and state == "RUNNING":
            return
        if state in ENDED and not patient:
            problem = f"it ended while starting ({row.get('spawnerr') or state})"
        if time.monotonic() > deadline or (state in ENDED and not patient):
            raise ReleaseError(
                f"{process['name']} is not ready on release {release}: {problem}",
                instance=process["name"],
                log=log_tail(stack, process),
            )
        time.sleep(POLL)


def settle(stack: Mapping[str, Any], supervisor: Supervisor, process: Process, release: str) -> bool:
    """Make a process serve the release that it is pointed at; return whether it had to be restarted.

    Raises:
        ReleaseError: as `gate` does.
    """
    for state in ("STOPPING", "STARTING"):
        supervisor.wait_while(process, state)
    if not verdict(stack, process, release):
        return False
    supervisor.restart(process)
    gate(stack, process, release, patient=True)
    return True


def log_tail(stack: Mapping[str, Any], process: Process, lines: int = 20) -> list[str]:
    """The end of a process's log."""
    if stack["log"]["rotated_by"] == "journal":
        command = ["journalctl", f"--identifier={process['name']}", f"--lines={lines}", "--output=cat", "--quiet"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    try:
        with Path(stack["paths"]["log"], f"{process['name']}.log").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 64 * 1024))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError as error:
        return [f"(no log: {error.strerror})"]
