"""What runs on this host or in this checkout, and whether it is well: what `stack status` shows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy import health, instances, maintenance, unix_http
from deploy.health import Health
from deploy.layout import Host
from deploy.procfs import holds_lock, proportional_memory
from deploy.tree import STACK


@dataclass(frozen=True)
class Row(Health):
    """One process, and the memory of it and its children in bytes; None when that may not be read."""

    memory: int | None = None


@dataclass(frozen=True)
class Database:
    """Whether the database answers, as the processes that use it see it."""

    engine: str
    where: str
    healthy: bool
    detail: str


@dataclass(frozen=True)
class Status:
    """All of it. `current` and `previous` are empty in a checkout.

    `lock` is who works on the stack now; `cut_off` whether the last who did so was, and a resume is due.
    `maintenance` is what its command says.
    """

    name: str
    url: str
    current: str
    previous: str
    processes: list[Row]
    database: Database
    lock: dict[str, Any] | None
    cut_off: bool
    maintenance: dict[str, Any]

    @property
    def healthy(self) -> bool:
        """Whether every process, nginx and the database are."""
        return bool(self.processes) and all(row.healthy for row in self.processes) and self.database.healthy

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "healthy": self.healthy}


def look(stack: Mapping[str, Any], host: Host | None) -> Status:
    """Ask everything once, the processes side by side.

    Args:
        stack: the values; on a host those of the current release count, where the caller may read them.
        host: where its releases lie; None in a checkout.
    """
    if host:
        stack = values_of_current(host) or stack
    table = health.supervisor_states(stack)
    with ThreadPoolExecutor(8) as pool:
        asked = pool.map(lambda process: _row(stack, host, process, table.get(process["name"])), stack["processes"])
        rows = [*asked, *_strangers(stack, table), _with_memory(health.nginx(stack))]
    # In this order: a run takes the lock before it begins a journal, and lets go of it after.
    begun = bool(host and host.journal.exists())
    lock = lock_holder(host) if host else None
    return Status(
        name=stack["stack"]["name"],
        url=stack["nginx"]["url"],
        current=host.pointed(host.current) if host else "",
        previous=host.pointed(host.previous) if host else "",
        processes=rows,
        database=_database(stack),
        lock=lock,
        cut_off=bool(begun and lock is None and host and host.journal.exists()),
        maintenance=maintenance.state(stack),
    )


def values_of_current(host: Host) -> dict[str, Any] | None:
    """The values that the current release was rendered from; None when there are none that the caller may read."""
    try:
        return dict(json.loads((host.current / "rendered" / STACK).read_text("utf-8")))
    except (OSError, ValueError):
        return None


def lock_holder(host: Host) -> dict[str, Any] | None:
    """Who holds the stack's lock: who, pid, why, since, from; empty when it has not said yet, None when nobody does."""
    path = host.root / ".lock"
    if not holds_lock(path):
        return None
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def _row(stack: Mapping[str, Any], host: Host | None, process: Mapping[str, Any], row: Mapping[str, Any] | None) -> Row:
    found = health.check_one(stack, process, row)
    if row is None:
        return Row(**{**asdict(found), "detail": _why_absent(stack)})
    if found.healthy:
        release = instances.serves(host, process) if host else stack["release"]["id"]
        problem = instances.verdict(stack, process, release)
        if problem:
            found = Health(**{**asdict(found), "healthy": False, "detail": problem})
    return _with_memory(found)


def _with_memory(found: Health) -> Row:
    return Row(**asdict(found), memory=proportional_memory(found.pid) if found.pid else None)


def _why_absent(stack: Mapping[str, Any]) -> str:
    path = Path(stack["supervisor"]["socket"])
    if not path.exists():
        return "supervisord does not run"
    if not os.access(path, os.W_OK):
        return f"supervisord may not be asked: be root or of group {stack['stack']['ops_group']}"
    return "supervisord does not run it"


def _strangers(stack: Mapping[str, Any], table: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """What supervisord runs and the stack's values do not have: left over, or somebody's by hand."""
    known = {process["name"] for process in stack["processes"]}
    return [
        Row(str(row["group"]), name, str(row["statename"]), int(row["pid"]), 0, False, "no process of this release")
        for name, row in table.items()
        if name not in known
    ]


def _database(stack: Mapping[str, Any]) -> Database:
    """Ask the instances, which hold the connections: one of ours more would prove less."""
    database = stack["database"]
    mysql = database["engine"] == "mysql"
    where = f"{database['host']}:{database['port']}" if mysql else f"{stack['paths']['data']}"
    for process in stack["processes"]:
        if process["kind"] != "api":
            continue
        status, body = unix_http.get(process["socket"], "/readyz")
        data = body.get("data") if isinstance(body, dict) else None
        said = str(data.get("database", "")) if isinstance(data, dict) else ""
        if status == 200 or said:
            good = status == 200 or said == "reachable"
            return Database(database["engine"], where, good, f"{said or 'reachable'}, says {process['name']}")
    return Database(database["engine"], where, False, "unknown: no instance answers")


def lines(status: Status) -> list[tuple[bool | None, list[str]]]:
    """The rows of a table: healthy, not, or None for what is neither; then the cells."""
    shown: list[tuple[bool | None, list[str]]] = []
    for row in status.processes:
        pid, memory = str(row.pid or "-"), "-" if row.memory is None else f"{row.memory / 2**20:.1f} MiB"
        cells = [row.name, row.state, f"pid {pid}", f"up {duration(row.uptime)}", memory]
        shown.append((row.healthy, [*cells, *([row.release or "-"] if status.current else []), row.detail]))
    return shown


def facts(status: Status) -> list[tuple[bool | None, str, str]]:
    """What is said below the table: healthy or None, what it is, its words."""
    database = status.database
    said: list[tuple[bool | None, str, str]] = [
        (database.healthy, "database", f"{database.engine} {database.where}: {database.detail}")
    ]
    if status.maintenance["on"]:
        said.append((None, "maintenance", maintenance.describe(status.maintenance)))
    if status.current:
        said.append((None, "current", status.current))
        said.append((None, "previous", status.previous or "none"))
        others = {row.release for row in status.processes if row.release} - {status.current}
        if others:
            remedy = "the lock's holder is at it" if status.lock else "`stack release` or `stack rollback` ends that"
            said.append((None, "mixed", f"processes serve {', '.join(sorted(others))} too: {remedy}"))
        said.append((None, "lock", _holder(status.lock)))
        if status.cut_off:
            said.append((False, "cut off", "a run was: `stack resume --dry-run` tells more, `stack resume` ends it"))
    return said


def _holder(lock: Mapping[str, Any] | None) -> str:
    if lock is None:
        return "free"
    if not lock:
        return "held by somebody who has not said who yet"
    return f"held by {lock['who']}{lock['from']} (pid {lock['pid']}) since {lock['since']}: {lock['why']}"


def duration(seconds: int) -> str:
    """Seconds in the two largest units that they fill: 3d 4h, 12m 5s, 7s."""
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return " ".join(parts[:2])
