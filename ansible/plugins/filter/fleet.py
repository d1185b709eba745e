"""Filters over the inventory: what its groups mean for the values of each host."""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[3]
if str(CHECKOUT) not in sys.path:
    sys.path.insert(0, str(CHECKOUT))

from deploy.stack import Layer, StackError, load, load_with_origin  # noqa: E402

GROUPS = ("lb", "app", "db", "cache")
# RFC 5737 and RFC 3849 keep these for documentation; the example inventories use them.
EXAMPLE_NETWORKS = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
LOOPBACK = "127.0.0.1"

Inventory = Mapping[str, Mapping[str, Any]]


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on it, section by section; what is no mapping is replaced."""
    for key, value in over.items():
        inner = base.get(key)
        base[key] = merge(dict(inner), value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return base


def members(groups: Mapping[str, list[str]], group: str) -> list[str]:
    """The hosts of one of the four groups; none when the inventory has no such group."""
    return list(groups.get(group, []))


def address(hostvars: Inventory, host: str) -> str:
    """The address by which the other hosts reach one."""
    variables = hostvars[host]
    return str(variables.get("stack_address") or variables.get("ansible_host") or host)


def fleet_overrides(
    host: str, groups: Mapping[str, list[str]], hostvars: Inventory, platform: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a host's stack.yml says: facts of its distribution, what the groups mean, and the inventory's overrides.

    Later ones win: the distribution, the groups, `stack_overrides` (the fleet), `stack_host_overrides` (the host).
    """
    variables = hostvars[host]
    values: dict[str, Any] = dict(platform or {})
    stated = merge({}, variables.get("stack_overrides") or {})
    stated = merge(stated, variables.get("stack_host_overrides") or {})
    merge(values, _of_groups(host, groups, hostvars, stated))
    result: dict[str, Any] = json.loads(json.dumps(merge(values, stated)))
    return result


def _of_groups(
    host: str, groups: Mapping[str, list[str]], hostvars: Inventory, stated: Mapping[str, Any]
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "fleet": {group: [address(hostvars, name) for name in members(groups, group)] for group in ("app", "lb", "db")}
    }
    database, cache, balancers = (members(groups, group) for group in ("db", "cache", "lb"))
    if database and host not in database:
        values["database"] = {"host": address(hostvars, database[0])}
    if cache:
        where = LOOPBACK if host in cache else address(hostvars, cache[0])
        values["cache"] = {"url": f"redis://{where}:{_stated(stated, 'cache', 'port')}/0"}
    if balancers and host not in balancers:
        values["nginx"] = {"trusted_proxies": [address(hostvars, name) for name in balancers]}
    if hostvars[host].get("certificate_file"):
        folder = f"/etc/{_stated(stated, 'stack', 'name')}/tls"
        paths = {"certificate": f"{folder}/fullchain.pem", "certificate_key": f"{folder}/privkey.pem"}
        merge(values, {"nginx": paths})
    return values


def _stated(stated: Mapping[str, Any], section: str, key: str) -> Any:
    """One value before the stack is loaded: the inventory's, else the one in deploy/stack.yml."""
    merged, _ = load_with_origin("host", layers=[])
    return (stated.get(section) or {}).get(key, merged[section][key])


def fleet_problems(groups: Mapping[str, list[str]], hostvars: Inventory) -> list[str]:
    """Everything about the inventory and the values that cannot work, before any host is asked."""
    hosts = sorted({host for group in GROUPS for host in members(groups, group)})
    problems = _group_problems(groups)
    for host in hosts:
        problems += _address_problems(host, hostvars, alone=len(hosts) == 1)
    for host in hosts:
        try:
            stack = load("host", layers=[Layer("the inventory", fleet_overrides(host, groups, hostvars))])
        except StackError as error:
            problems += error.problems
            continue
        if host in members(groups, "app"):
            problems += _secret_problems(hostvars[host], stack)
    return list(dict.fromkeys(problems))


def _secret_problems(variables: Mapping[str, Any], stack: Mapping[str, Any]) -> list[str]:
    """The secrets that nobody can make up must be in the vault."""
    return [
        f"{key} asks for the secret {name}: put it into vault_{name} in group_vars/all/vault.yml of the inventory "
        f"(ansible-vault); on the app hosts it becomes {stack['paths']['secrets']}/{name}"
        for name, key in stack["secrets"].items()
        if not variables.get(f"vault_{name}")
    ]


def _group_problems(groups: Mapping[str, list[str]]) -> list[str]:
    problems = []
    app, balancers = members(groups, "app"), members(groups, "lb")
    if not app:
        problems.append(
            "the group app has no host: name the inventory with -i, and put hosts into lb, app and db there"
        )
    for group in ("db", "cache"):
        if len(members(groups, group)) > 1:
            problems.append(f"the group {group} has more than one host: one is what this bundle sets up")
    both = sorted(set(app) & set(balancers))
    if both and (len(app) > 1 or len(balancers) > 1):
        problems.append(
            f"{', '.join(both)}: a host that is in app and in lb must be the only one in both; "
            "give the balancer a host of its own, or leave lb out"
        )
    return problems


def _address_problems(host: str, hostvars: Inventory, *, alone: bool) -> list[str]:
    where = address(hostvars, host)
    try:
        number = ipaddress.ip_address(where)
    except ValueError:
        if alone:
            return []
        return [
            f"{host}: firewalls need its address, not {where!r}: set ansible_host or stack_address to an IP address"
        ]
    if any(number in ipaddress.ip_network(network) for network in EXAMPLE_NETWORKS):
        return [f"{host}: {where} is an address for examples: put the real one into the inventory"]
    return []


def open_ports(
    host: str, groups: Mapping[str, list[str]], hostvars: Inventory, stack: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """What a host's firewall lets in: `public` ports, and `private` ones with the addresses they are for."""
    app, balancers = members(groups, "app"), members(groups, "lb")
    nginx = stack["nginx"]
    public: list[int] = []
    private: list[dict[str, Any]] = []

    def only(port: int, names: list[str]) -> None:
        others = [address(hostvars, name) for name in names if name != host]
        if others:
            private.append({"port": port, "addresses": others})

    if host in balancers or (host in app and not balancers):
        public += [nginx["http_port"], *([nginx["https_port"]] if nginx["tls"] else [])]
    elif host in app:
        only(nginx["http_port"], balancers)
    if host in members(groups, "db"):
        only(stack["database"]["port"], app)
    if host in members(groups, "cache"):
        only(stack["cache"]["port"], app)
    return {"public": public, "private": private}


def listening_types(host: str, groups: Mapping[str, list[str]], stack: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The ports that services listen on, each with the SELinux type that its service may bind."""
    found: list[dict[str, Any]] = []
    if host in [*members(groups, "app"), *members(groups, "lb")]:
        ports = [stack["nginx"]["http_port"], *([stack["nginx"]["https_port"]] if stack["nginx"]["tls"] else [])]
        found += [{"port": port, "type": "http_port_t"} for port in ports]
    if host in members(groups, "db"):
        found.append({"port": stack["database"]["port"], "type": "mysqld_port_t"})
    if host in members(groups, "cache"):
        found.append({"port": stack["cache"]["port"], "type": "redis_port_t"})
    return found


def app_addresses(host: str, groups: Mapping[str, list[str]], hostvars: Inventory) -> list[str]:
    """The addresses from which the app reaches a service on a host: loopback for itself."""
    return [LOOPBACK if name == host else address(hostvars, name) for name in members(groups, "app")]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        functions = (fleet_overrides, fleet_problems, open_ports, listening_types, app_addresses)
        return {function.__name__: function for function in functions}
