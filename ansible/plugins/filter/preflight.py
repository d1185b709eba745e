"""Filters of the preflight: which distribution a host has, and what of it does not fit the stack."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

# os-release's ID -> how the files in roles/platform/vars are named.
DISTRIBUTIONS = {
    "almalinux": "AlmaLinux",
    "centos": "CentOS",
    "debian": "Debian",
    "ol": "OracleLinux",
    "rhel": "RedHat",
    "rocky": "Rocky",
}
OLDEST_PYTHON = (3, 8)  # of the modules of ansible-core 2.18 and 2.19


def platform_name(os_release: str, supported: list[str], end_of_life: Mapping[str, str]) -> str:
    """The name of the vars file for a host, such as `Rocky_9`, from the text of its /etc/os-release.

    Raises:
        AnsibleFilterError: the distribution is at its end of life or unknown; says which ones are supported.
    """
    fields = dict(pair.split("=", 1) for pair in shlex.split(os_release, comments=True) if "=" in pair)
    distribution = fields.get("ID", "unknown")
    major = fields.get("VERSION_ID", "").split(".")[0]
    name = f"{DISTRIBUTIONS.get(distribution, distribution)}_{major}"
    if name in supported:
        return name
    why = f"reached its end of life on {end_of_life[name]}" if name in end_of_life else "is not known here"
    raise AnsibleFilterError(
        f"{fields.get('PRETTY_NAME', name)} {why}. Supported: {', '.join(n.replace('_', ' ') for n in supported)}. "
        "Another one is a vars file in ansible/roles/platform/vars away."
    )


def preflight_problems(
    survey: Mapping[str, Any],
    stack: Mapping[str, Any],
    groups: list[str],
    services: Mapping[str, str],
    asked_at: float,
    has_database_password: bool,
    database_is_ours: bool,
    missing_server: str = "",
) -> list[str]:
    """What of a host does not fit, each with what to do; nothing has been changed yet.

    Args:
        survey: what the module stack_survey found.
        stack: the host's loaded stack.
        groups: the host's groups.
        services: the units that may own a port: `nginx`, `database`, `cache`.
        asked_at: the controller's clock, in seconds since the epoch, before the survey.
        has_database_password: whether a vault variable holds it.
        database_is_ours: whether the inventory has a db host.
        missing_server: the database server that was asked for, when the distribution has no package of it.
    """
    problems = [*_python(survey), *_room(survey, stack), *_clock(survey, stack, asked_at)]
    problems += [*_ports(survey, stack, groups, services), *_firewall(survey, stack)]
    if "app" in groups and stack["database"]["engine"] == "mysql" and not database_is_ours:
        problems += _foreign_database(survey, stack, has_database_password)
    if missing_server:
        problems.append(f"this distribution has no package of {missing_server}: set database_server to mariadb")
    return problems


def _python(survey: Mapping[str, Any]) -> Iterator[str]:
    version = tuple(int(part) for part in survey["python"].split(".")[:2])
    if version < OLDEST_PYTHON:
        yield f"/usr/bin/python3 is {survey['python']}: Ansible needs 3.8 or newer"


def _room(survey: Mapping[str, Any], stack: Mapping[str, Any]) -> Iterator[str]:
    for kind, what, remedy in (
        ("disk_mb", f"free disk below {stack['paths']['root']}", "free some or move paths.root"),
        ("memory_mb", "available memory", "give the host more"),
    ):
        if survey[kind] < stack["limits"][kind]:
            yield (
                f"{survey[kind]} MB of {what}, limits.{kind} asks for {stack['limits'][kind]}: "
                f"{remedy}, or lower limits.{kind}"
            )


def _clock(survey: Mapping[str, Any], stack: Mapping[str, Any], asked_at: float) -> Iterator[str]:
    allowed = stack["limits"]["clock_skew_seconds"]
    # The host read its clock at some moment between these two.
    behind, ahead = asked_at - survey["time"], survey["time"] - time.time()
    if max(behind, ahead) > allowed:
        how = f"{behind:.0f} s behind" if behind > ahead else f"{ahead:.0f} s ahead of"
        yield (
            f"its clock is {how} this machine's, limits.clock_skew_seconds allows {allowed}: set up time "
            "synchronisation on both (`timedatectl set-ntp true`, or chrony), and check with `timedatectl`"
        )


def _ports(
    survey: Mapping[str, Any], stack: Mapping[str, Any], groups: list[str], services: Mapping[str, str]
) -> Iterator[str]:
    wanted: list[tuple[str, int, str]] = []
    if {"app", "lb"} & set(groups):
        wanted.append(("nginx.http_port", stack["nginx"]["http_port"], services["nginx"]))
        if stack["nginx"]["tls"]:
            wanted.append(("nginx.https_port", stack["nginx"]["https_port"], services["nginx"]))
    if "app" in groups:
        wanted += [("api.ports", port, stack["names"]["unit"]) for port in stack["api"]["ports"]]
    if "db" in groups:
        wanted.append(("database.port", stack["database"]["port"], services["database"]))
    if "cache" in groups:
        wanted.append(("cache.port", stack["cache"]["port"], services["cache"]))
    for key, port, owner in wanted:
        takers = {
            (listener["process"] or "an unknown process", listener["unit"])
            for listener in survey["listeners"]
            if listener["port"] == port and listener["unit"] != owner
        }
        for process, unit in sorted(takers):
            where = f" ({unit})" if unit else ""
            yield f"port {port} ({key}) is taken by {process}{where}: stop that, or set {key} to another port"


def _firewall(survey: Mapping[str, Any], stack: Mapping[str, Any]) -> Iterator[str]:
    if not stack["firewall"]["enabled"]:
        return
    for path in survey["existing"]:
        if path.endswith((".wants/ufw.service", ".wants/nftables.service", ".wants/iptables.service")):
            unit = path.rsplit("/", 1)[1]
            yield (
                f"{unit} is enabled and would fight with firewalld: `systemctl disable --now {unit}`, "
                "or set firewall.enabled to false and keep your own rules"
            )
    ssh = {listener["port"] for listener in survey["listeners"] if listener["process"] == "sshd"}
    if ssh and stack["firewall"]["ssh_port"] not in ssh:
        yield (
            f"sshd listens on {', '.join(map(str, sorted(ssh)))} but firewall.ssh_port is "
            f"{stack['firewall']['ssh_port']}: set it, or the firewall locks you out"
        )


def _foreign_database(survey: Mapping[str, Any], stack: Mapping[str, Any], has_password: bool) -> Iterator[str]:
    database = stack["database"]
    if database["host"] == "127.0.0.1":
        yield "no host is in the group db: put one there, or set database.host to the server you have"
        return
    if not has_password:
        yield (
            f"the database at {database['host']} is not set up from here: put the password of its account "
            f"{database['user']} into vault_database_password (ansible-vault)"
        )
    for failed in survey["unreachable"]:
        if failed["host"] == database["host"]:
            yield (
                f"the database at {failed['host']}:{failed['port']} cannot be reached ({failed['error']}): "
                "start it, open its firewall for this host, or correct database.host"
            )


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"platform_name": platform_name, "preflight_problems": preflight_problems}
