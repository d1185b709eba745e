"""Whether each process of a stack is healthy: asked of the process itself, never inferred from its state."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import maintenance, unix_http
from deploy.nginx import Nginx


@dataclass(frozen=True)
class Health:
    """One process: what supervisor calls it, whether it is healthy, and a few words why (not)."""

    group: str
    name: str
    state: str
    pid: int
    uptime: int
    healthy: bool
    detail: str
    release: str = ""


def supervisor_states(stack: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """supervisord's own table by process name; empty when supervisord does not answer."""
    try:
        table = unix_http.supervisor_rpc(stack["supervisor"]["socket"], timeout=10).supervisor.getAllProcessInfo()
    except (OSError, xmlrpc.client.Error):
        return {}
    assert isinstance(table, list)  # noqa: S101 - narrows the type; the RPC returns an array
    return {str(row["name"]): row for row in table if isinstance(row, dict)}


def check(stack: Mapping[str, Any]) -> list[Health]:
    """Ask every process of the stack once."""
    states = supervisor_states(stack)
    processes = [check_one(stack, process, states.get(process["name"])) for process in stack["processes"]]
    return [*processes, *([nginx(stack)] if stack["nginx"]["started_by"] == "stack" else [])]


def check_one(stack: Mapping[str, Any], process: Mapping[str, Any], row: Mapping[str, Any] | None) -> Health:
    """Ask one process, of which supervisord's table has this row; None when it has none."""
    group, name = process["group"], process["name"]
    if row is None:
        return Health(group, name, "ABSENT", 0, 0, False, "supervisord does not run it")
    uptime = max(0, int(row["now"]) - int(row["start"])) if row["pid"] else 0
    healthy, detail, release = False, str(row["spawnerr"] or row["statename"].lower()), ""
    if row["statename"] == "RUNNING":
        healthy, detail, release = {"api": _instance, "sync": _sync}[process["kind"]](stack, process, row)
    return Health(group, name, str(row["statename"]), int(row["pid"]), uptime, healthy, detail, release)


def _instance(stack: Mapping[str, Any], process: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[bool, str, str]:
    status, body = unix_http.get(process["socket"], "/readyz")
    data = body.get("data") or {} if isinstance(body, dict) else {}
    release = str(data.get("release", ""))
    if status == 200:
        return True, "ready", release
    return False, f"/readyz answers {status}: {body if not data else body.get('message')}", release


def _sync(stack: Mapping[str, Any], process: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[bool, str, str]:
    try:
        beat = json.loads(Path(stack["paths"]["run"], "sync.heartbeat").read_text("utf-8"))
        age, pid, release = time.time() - float(beat["time"]), int(beat["pid"]), str(beat.get("release", ""))
    except (OSError, ValueError, KeyError) as error:
        return False, f"no heartbeat yet ({type(error).__name__})", ""
    if pid != int(row["pid"]):
        return False, f"the heartbeat is of process {pid}", release
    limit = 3 * stack["sync"]["heartbeat_seconds"] + stack["sync"]["total_timeout"]
    return age < limit, f"heartbeat {age:.0f} s old", release


def nginx(stack: Mapping[str, Any]) -> Health:
    """Ask nginx for the first of the smoke requests."""
    pid = Nginx(stack).pid()
    if pid is None:
        remedy = "`stack up`" if stack["nginx"]["started_by"] == "stack" else "`systemctl start nginx`"
        return Health("nginx", "nginx", "STOPPED", 0, 0, False, f"{remedy} starts it")
    uptime = int(time.time() - Path(f"/proc/{pid}").stat().st_mtime)
    path = stack["releases"]["smoke"][0]
    status = http_status(f"{stack['nginx']['url']}{path}")
    # 403 and 429 are nginx's to give, by nginx.allow, nginx.deny and nginx.rate
    serves = 200 <= status < 500
    detail = f"{path} answers {status}"
    if maintenance.is_on(stack):
        serves, detail = serves or status == 503, f"{detail}, maintenance is on"
    return Health("nginx", "nginx", "RUNNING", pid, uptime, serves, detail)


def http_status(url: str, *, timeout: float = 5.0) -> int:
    """The status that a GET of our own URL answers; 0 when nothing does.

    The certificate is not verified: it is made out to the site's name, and this asks the loopback address.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=timeout, context=context) as answer:  # noqa: S310 - our own address
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
