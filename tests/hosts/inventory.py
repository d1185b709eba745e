"""The Ansible inventory of a set, and the ssh files it points to."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.hosts.machine import Host
from tests.hosts.settings import USER, inventory_folder, run_folder

GROUPS = ("lb", "app", "db", "cache")


def write(set_name: str, hosts: Sequence[Host], host_keys: dict[str, str]) -> Path:
    """Write known_hosts, ssh_config and the inventory of a set; returns the inventory's folder."""
    folder = run_folder() / set_name
    key, known = folder / "id_ed25519", folder / "known_hosts"
    known.write_text("".join(f"{host.address} {host_keys[host.name]}\n" for host in hosts))
    (folder / "ssh_config").write_text("".join(_ssh_host(host, key, known) for host in hosts))
    inventory = inventory_folder(set_name)
    inventory.mkdir(parents=True, exist_ok=True)
    (inventory / "hosts.yml").write_text(
        f"# Written by `python -m tests.hosts up`; removed by `down`. Throwaway hosts, set {set_name}.\n"
        + yaml.safe_dump(_inventory(folder, hosts, key, known), sort_keys=False)
    )
    return inventory


def remove(set_name: str) -> None:
    """Remove the inventory of a set."""
    shutil.rmtree(inventory_folder(set_name), ignore_errors=True)


def _inventory(folder: Path, hosts: Sequence[Host], key: Path, known: Path) -> dict[str, Any]:
    groups = {
        group: {"hosts": {host.name: None for host in hosts if group in host.groups}}
        for group in GROUPS
        if any(group in host.groups for host in hosts)
    }
    return {
        "all": {
            "vars": {
                "ansible_user": USER,
                "ansible_ssh_private_key_file": str(key),
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes"
                " -o IdentitiesOnly=yes",
                # Connections kept open by Ansible must not outlive the set: another one may have the address then.
                "ansible_control_path_dir": str(folder / "ssh"),
            },
            "hosts": {host.name: {"ansible_host": host.address} for host in hosts},
            "children": groups,
        }
    }


def _ssh_host(host: Host, key: Path, known: Path) -> str:
    return (
        f"Host {host.name}\n  HostName {host.address}\n  User {USER}\n  IdentityFile {key}\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n"
        f"  ConnectTimeout 5\n  LogLevel ERROR\n"
    )
