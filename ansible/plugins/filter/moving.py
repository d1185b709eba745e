"""Filters for moving the hosts of a fleet together: in which order, who is kept out meanwhile, and what is said."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[3]
if str(CHECKOUT) not in sys.path:
    sys.path.insert(0, str(CHECKOUT))

from deploy.manifest import NAME  # noqa: E402
from deploy.render import render_template  # noqa: E402

Inventory = Mapping[str, Mapping[str, Any]]


def fleet_batches(hosts: list[str], hostvars: Inventory) -> list[Any]:
    """For `serial`: what `fleet_serial` says of the first host, else one host, half of the rest, and what is left."""
    if not hosts:
        return [1]
    said = dict(hostvars).get(hosts[0], {}).get("fleet_serial")
    if said:
        return list(said) if isinstance(said, (list, tuple)) else [said]
    rest = len(hosts) - 1
    return [1, *([(rest + 1) // 2] if rest else []), *([rest // 2] if rest > 1 else [])]


def unsettled(hosts: list[str], hostvars: Inventory, release: str) -> list[str]:
    """Those hosts that serve another release, or several; one that serves none needs no care."""
    found = []
    for host in hosts:
        releases = hostvars[host]["preflight_survey"]["releases"]
        serving = {releases["current"], *releases["processes"].values()}
        if releases["current"] and serving != {release}:
            found.append(host)
    return found


def missing_problems(
    hosts: list[str], unreachable: list[str], groups: Mapping[str, list[str]], allowed: int
) -> list[str]:
    """Why the playbook may not go on without the hosts that do not answer, and what to do; empty when it may."""
    if not unreachable:
        return []
    names = ", ".join(unreachable)
    app = [host for host in hosts if host in groups.get("app", [])]
    others = [host for host in unreachable if host not in app]
    verb = "does" if len(unreachable) == 1 else "do"
    if others or len(unreachable) > allowed or len(unreachable) == len(app):
        return [
            f"{names} {verb} not answer, so nothing has been changed anywhere",
            f"mend that, leave hosts out with --limit '!NAME', or set fleet.allow_missing (now {allowed})",
        ]
    return []


def balancer_members(
    stack: Mapping[str, Any], drained: list[str], groups: Mapping[str, list[str]], hostvars: Inventory
) -> dict[str, Any]:
    """What stack_balancer is given so that it sends nothing to some hosts; nobody is kept out when all would be.

    Args:
        stack: of an app host.
        drained: names of the hosts.
        groups: the inventory's.
        hostvars: Ansible's.
    """
    app = groups["app"]
    kept = [host for host in app if host not in drained]
    out = [_address(hostvars, host) for host in drained] if kept else []
    folder = f"{stack['paths']['root']}/lb/rendered/nginx"

    def files(addresses: list[str]) -> list[dict[str, str]]:
        values = json.loads(json.dumps(stack))
        values["fleet"]["drained"] = addresses
        return [{"path": f"{folder}/members.conf", "content": render_template(values, "nginx/members.conf.j2")}]

    return {
        "files": files(out),
        "instead": files([]),
        "others": [_address(hostvars, host) for host in kept] if out else [],
        "flag": f"{folder}/letting-go",
    }


def _address(hostvars: Inventory, host: str) -> str:
    variables = hostvars[host]
    return str(variables.get("stack_address") or variables.get("ansible_host") or host)


def engine(stack: Mapping[str, Any], *arguments: str) -> list[str]:
    """The command line of `stack` on a host, run by the environment that every release finds there."""
    # -P: the working directory must not come before PYTHONPATH
    words = [f"{stack['supervisor']['venv']}/bin/python", "-P", "-m", "deploy.cli"]
    return [*words, *map(str, arguments), "--config", f"{stack['paths']['etc']}/stack.yml"]


def release_files(archive: str) -> dict[str, str]:
    """The sha256 of each file of a release, from its archive on this machine."""
    return dict(_manifest(archive)["files"])


def release_migrations(archive: str) -> list[dict[str, str]]:
    """The migrations of a release in their order, with `revision`, `kind` and `file`, from its archive here."""
    return list(_manifest(archive)["migrations"])


def _manifest(archive: str) -> dict[str, Any]:
    with tarfile.open(archive) as opened:
        member = opened.extractfile(NAME)
        assert member is not None  # noqa: S101 - the archive was built a moment ago
        return dict(json.loads(member.read()))


def said_by(results: list[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each host answered to `stack status --json`, by its name; {} for one that could not be asked."""
    return {str(result["item"]): _last_json(result) for result in results}


def _last_json(result: Mapping[str, Any]) -> dict[str, Any]:
    for line in reversed(str(result.get("stdout", "")).splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def _before(hostvars: Inventory, host: str) -> str:
    return str(hostvars[host].get("preflight_survey", {}).get("releases", {}).get("current", ""))


def hosts_to_take_back(states: Mapping[str, Mapping[str, Any]], hostvars: Inventory) -> list[dict[str, str]]:
    """The hosts that are no longer where they were when the playbook began, the last one first, each with where to."""
    moved = []
    for host, state in states.items():
        before = _before(hostvars, host)
        serving = {state.get("current", "")} | {row["release"] for row in state.get("processes", []) if row["release"]}
        if state and before and serving != {before}:
            moved.append({"host": host, "to": before})
    return list(reversed(moved))


def failure_screen(
    action: str,
    batch: list[str],
    states: Mapping[str, Mapping[str, Any]],
    hostvars: Inventory,
    inventory: str,
    took_back: list[Mapping[str, Any]],
) -> list[str]:
    """One screen: what failed, where, why, what state the fleet is in as its hosts say, and what to do.

    Args:
        action: `release`, `rollback` or `restart`.
        batch: the hosts that were at it.
        states: what each host says now, see `said_by`.
        hostvars: Ansible's.
        inventory: for the command that is shown.
        took_back: the results of the rollbacks, each with `item`.
    """
    lost = [host for host, state in states.items() if not state]
    lines = [*_reasons(action, batch, hostvars), "the fleet, as its hosts say:"]
    lines += [f"  {host}: {_state(state, _before(hostvars, host))}" for host, state in states.items()]
    for result in took_back:
        if result.get("unreachable") or int(result.get("rc", 1)):
            why = _last_json(result).get("message") or result.get("msg") or result.get("stderr", "")
            lines.append(f"  {result['item']['host']} could not be taken back: {str(why).strip()[:300]}")
    run = f"ansible-playbook -i {inventory}"
    for host in lost:
        before = _before(hostvars, host)
        to = f" -e rollback_to={before}" if before else ""
        lines += [f"when {host} answers again:", f"  {run} rollback.yml --limit {host}{to}"]
        lines.append("until then the balancer sends it nothing; release.yml lets it in again too")
    mixed = {state["current"] for state in states.values() if state}
    if len(mixed) > 1:
        lines.append(f"the hosts serve different releases: {run} release.yml, or rollback.yml -e rollback_to=ID")
    elif not lost:
        lines.append(f"mend what is said above, then: {run} {action}.yml")
    return lines


def _reasons(action: str, batch: list[str], hostvars: Inventory) -> Iterator[str]:
    for host in batch:
        variables = hostvars[host]
        results = [variables.get(f"{name}_result") or {} for name in (action, "watch")]
        result = next(filter(_failed, results), results[0])
        if result.get("unreachable"):
            yield f"{action} failed at {host}: it stopped answering in the middle ({str(result.get('msg', ''))[-160:]})"
            continue
        said = _last_json(result)
        if said.get("failed"):
            step = f" in step {said['step']}" if said.get("step") else ""
            where = f", {said['instance']}" if said.get("instance") else ""
            yield f"{action} failed at {host}{where}{step}: {said.get('message', '')}"
            yield from (f"    {line}" for line in list(said.get("log", []))[-12:])
        elif int(result.get("rc", 0) or 0):
            words = str(result.get("stderr") or result.get("msg", "")).strip().splitlines()
            yield f"{action} failed at {host}: {' | '.join(words[-4:])}"
        elif failed := variables.get("ansible_failed_result"):
            yield f"{action} failed at {host}: {str(failed.get('msg', 'see above')).strip()}"


def _failed(result: Mapping[str, Any]) -> bool:
    return bool(result.get("unreachable") or result.get("rc"))


def _state(state: Mapping[str, Any], before: str) -> str:
    if not state:
        return f"does not answer; it served {before or 'nothing'} before"
    if not state.get("current"):
        return "has no release"
    rows = [row for row in state["processes"] if row["name"] != "nginx"]
    good = sum(1 for row in rows if row["healthy"])
    others = sorted({row["release"] for row in rows if row["release"]} - {state["current"]})
    parts = [f"{state['current']}{' (as before)' if state['current'] == before else ''}"]
    parts += [f"and {', '.join(others)}"] if others else []
    return " ".join([*parts, f"{good} of {len(rows)} processes healthy"])


def fleet_lines(hosts: list[str], hostvars: Inventory) -> list[str]:
    """One screen of a fleet: each app host, then whom the balancers leave out. What is well begins with `well`.

    Args:
        hosts: that were asked; their answers are in `status_said`.
        hostvars: Ansible's.
    """
    app = [host for host in hosts if "app" in hostvars[host]["group_names"]]
    states = {host: _last_json(hostvars[host]["status_said"]) for host in app}
    lines = [line for host, state in states.items() for line in _host_lines(host, state, hostvars[host]["status_said"])]
    current = sorted({state["current"] for state in states.values() if state})
    if len(current) > 1:
        lines.append(f"BAD   the hosts serve different releases: {', '.join(current)}")
    for host in hosts:
        if host not in app:
            lines += _balancer_lines(host, hostvars[host]["status_said"])
    return lines


def _host_lines(host: str, state: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[str]:
    verdict = "well" if state.get("healthy") else "BAD " if state else "GONE"
    if not state:
        words = str(said.get("msg") or said.get("stderr") or "it says nothing").strip().splitlines()
        yield f"{verdict}  {host}  {words[-1][:200]}"
        return
    yield f"{verdict}  {host}  {_state(state, '')}"
    for row in state["processes"]:
        if not row["healthy"]:
            yield f"      {row['name']}: {row['state'].lower()}, {row['detail']}"
    if not state["database"]["healthy"]:
        yield f"      database: {state['database']['detail']}"
    if state.get("lock"):
        yield f"      locked by {state['lock'].get('who')}: {state['lock'].get('why')}"


def _balancer_lines(host: str, said: Mapping[str, Any]) -> Iterator[str]:
    servers = [line.split() for line in str(said.get("stdout", "")).splitlines() if line.startswith("server ")]
    down = [words[1] for words in servers if words[-1].rstrip(";") == "down"]
    if not servers:
        yield f"GONE  {host}  balancer: {str(said.get('msg') or said.get('stderr')).strip()[:200]}"
    elif down:
        yield f"BAD   {host}  balancer: sends nothing to {', '.join(down)}; release.yml lets it in again"
    else:
        yield f"well  {host}  balancer: sends to all {len(servers)}"


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        functions = (
            fleet_batches,
            unsettled,
            missing_problems,
            balancer_members,
            engine,
            release_files,
            release_migrations,
            said_by,
            hosts_to_take_back,
            failure_screen,
            fleet_lines,
        )
        return {function.__name__: function for function in functions}
