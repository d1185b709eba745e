"""What is left of a stack whose supervisord was killed, and who else holds the ports it needs."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deploy.procfs import children, command_line, is_alive
from deploy.rules import listening_ports


class PortTaken(Exception):
    """A port that the stack needs belongs to something else; the message names both and the remedy."""


def recorded(stack: Mapping[str, Any]) -> dict[int, str]:
    """The live processes that this stack recorded in its run folder, each proven to be of this stack."""
    run = Path(stack["paths"]["run"])
    found = {}
    for file in run.glob("*.pid"):
        try:
            pid = int(file.read_text("ascii"))
        except (OSError, ValueError):
            continue
        if is_alive(pid) and _belongs(pid, stack):
            found[pid] = file.stem
    return found


def _belongs(pid: int, stack: Mapping[str, Any]) -> bool:
    """A pid may have been used again: its environment or command line must name this stack's folders."""
    try:
        surroundings = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        surroundings = ""
    run, config = stack["paths"]["run"], stack["paths"]["nginx_conf"]
    return f"APP_RUN_DIR={run}\0" in surroundings or config in command_line(pid)


def end(stack: Mapping[str, Any], say: Callable[[str], None], *, patience: float = 5.0) -> bool:
    """End what a killed supervisord left behind, TERM first; return whether there was anything."""
    left = recorded(stack)
    if not left:
        return False
    names = ", ".join(f"{name} ({pid})" for pid, name in left.items())
    say(f"ending what a supervisord that was killed left behind: {names}")
    workers = [child for pid in left for child in children(pid)]
    for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, patience)):
        alive = [pid for pid in (*left, *workers) if is_alive(pid)]
        for pid in alive:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + wait
        while any(is_alive(pid) for pid in alive) and time.monotonic() < deadline:
            time.sleep(0.05)
    return True


def refuse_taken_ports(stack: Mapping[str, Any]) -> None:
    """Refuse to start when something else listens on a port of this stack.

    Raises:
        PortTaken: for the first such port, naming its key and, where the kernel tells, its holder.
    """
    for key, port in listening_ports(stack):
        if key in ("database.port", "cache.port", "firewall.ssh_port"):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except PermissionError as error:
                raise PortTaken(
                    f"{key}: port {port} needs root; choose one above 1023, e.g. --set {key}=8080"
                ) from error
            except OSError as error:
                raise PortTaken(
                    f"{key}: port {port} is taken by {_holder(port)}. Stop it, or choose another: "
                    f"--set {key}={f'[{port + 100}]' if key.endswith('ports') else port + 100}"
                ) from error


def _holder(port: int) -> str:
    """Who listens on a port, read from /proc (proc(5)); another account's processes cannot be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(descriptor) in inodes for descriptor in (process / "fd").iterdir()):
                return f"process {process.name} ({command_line(int(process.name))[:80]})"
        except OSError:
            continue
    return "another program"
