"""The hosts of an inventory as the suite sees them: a shell on each, its groups, and the stack that it should have."""

from __future__ import annotations

import copy
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from testinfra.backend.base import CommandResult  # type: ignore[import-untyped]
from testinfra.host import Host as Shell  # type: ignore[import-untyped]
from testinfra.utils.ansible_runner import AnsibleRunner, get_ansible_host  # type: ignore[import-untyped]

from deploy.stack import Layer, Stack, load

CHECKOUT = Path(__file__).resolve().parents[3]
GROUPS = ("lb", "app", "db", "cache")


def _fleet_filters() -> ModuleType:
    """What the groups of an inventory mean for the values of a host: the playbooks' own filter decides it here too."""
    path = CHECKOUT / "ansible" / "plugins" / "filter" / "fleet.py"
    spec = importlib.util.spec_from_file_location("verify_fleet_filters", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Member:
    """One host: `root` and `user` run commands on it, as root and as the account that Ansible logs in with."""

    name: str
    address: str
    groups: frozenset[str]
    stack: Stack
    root: Shell
    user: Shell

    def ok(self, command: str, *arguments: str) -> str:
        """Run a command as root that must succeed; `%s` in it are quoted arguments. Returns its output."""
        done = self.root.run(command, *arguments)
        assert done.rc == 0, f"{self.name}: {done.command!r} ended {done.rc}:\n{done.stdout}{done.stderr}"
        return str(done.stdout)

    def python(self, source: str, *arguments: str, account: str = "", group: str = "") -> CommandResult:
        """Run a Python program on the host, as root, or as an account with no other group than the one named."""
        words = ["/usr/bin/python3", "-c", source, *arguments]
        return self.root.run(shlex.join([*self.become(account, group), *words]))

    def as_account(self, account: str, command: str, *, group: str = "") -> CommandResult:
        """Run a shell command as an account, with its own groups or with just the one named."""
        return self.root.run(shlex.join([*self.become(account, group), "sh", "-c", command]))

    @staticmethod
    def become(account: str, group: str = "") -> list[str]:
        """The words before a command that make it another account's."""
        if not account:
            return []
        groups = [f"--regid={group}", "--clear-groups"] if group else ["--init-groups", f"--regid={account}"]
        return ["setpriv", f"--reuid={account}", *groups, "--"]

    @property
    def processes(self) -> dict[int, str]:
        """Command lines of the processes below the stack's unit, by pid."""
        unit = self.stack["names"]["unit"]
        group = self.ok("systemctl show --property=ControlGroup --value %s", unit).strip()
        script = (
            "import glob,sys\n"
            "for path in glob.glob('/proc/[0-9]*/cgroup'):\n"
            "    try:\n"
            "        if any(line.split(':', 2)[2].startswith(sys.argv[1]) for line in open(path)):\n"
            "            folder = path.rpartition('/')[0]\n"
            "            print(folder[6:], open(folder + '/cmdline').read().replace('\\0', ' '))\n"
            "    except OSError: pass\n"  # it has ended meanwhile
        )
        found = self.python(script, group)
        assert found.rc == 0, found.stderr
        lines = (line.partition(" ") for line in found.stdout.splitlines())
        return {int(pid): words.strip() for pid, _, words in lines}


class Fleet:
    """All hosts of an inventory."""

    def __init__(self, inventory: str) -> None:
        # testinfra calls ansible-inventory by its bare name.
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        os.environ.setdefault("ANSIBLE_CONFIG", str(CHECKOUT / "ansible" / "ansible.cfg"))
        self._connections = tempfile.mkdtemp(prefix="verify-")
        given = os.environ.get("ANSIBLE_SSH_EXTRA_ARGS", "")
        os.environ["ANSIBLE_SSH_EXTRA_ARGS"] = f"{given} -o ControlPath={self._connections}/%C".strip()
        self._runner = AnsibleRunner.get_runner(inventory)
        self._filters = _fleet_filters()

    def close(self) -> None:
        """End the one connection to each host over which all commands went."""
        for path in Path(self._connections).iterdir():
            subprocess.run(["ssh", "-O", "exit", "-S", str(path), "gone"], capture_output=True, check=False)
        shutil.rmtree(self._connections, ignore_errors=True)

    @cached_property
    def _hostvars(self) -> Mapping[str, Mapping[str, Any]]:
        names = self._runner.get_hosts()
        return {name: self._runner.get_variables(name) for name in names}

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """Every host that is in one of the four groups, by name."""
        return tuple(
            self._member(name) for name, known in self._hostvars.items() if set(GROUPS) & set(known["group_names"])
        )

    def on(self, *groups: str) -> list[Member]:
        """The hosts that are in one of some groups; all when none is named."""
        return [member for member in self.members if not groups or member.groups & set(groups)]

    @property
    def front(self) -> list[Member]:
        """Where clients come in: the balancer, or without one the app hosts."""
        return self.on("lb") or self.on("app")

    @property
    def has_balancer(self) -> bool:
        """Whether clients come in through a host that runs no app."""
        return any("app" not in member.groups for member in self.on("lb"))

    def _member(self, name: str) -> Member:
        known = self._hostvars[name]
        groups = {group: list(known["groups"].get(group, [])) for group in GROUPS}
        overrides = self._filters.fleet_overrides(name, groups, self._hostvars)
        return Member(
            name,
            self._filters.address(self._hostvars, name),
            frozenset(known["group_names"]) & frozenset(GROUPS),
            load("host", layers=[Layer("the inventory", overrides)]),
            self._shell(name, root=True),
            self._shell(name, root=False),
        )

    def _shell(self, name: str, *, root: bool) -> Shell:
        inventory = copy.deepcopy(self._runner.inventory)
        inventory["_meta"]["hostvars"].setdefault(name, {})["ansible_become"] = root
        shell = get_ansible_host(self._runner.ansible_config, inventory, name)
        assert shell is not None, f"{name}: testinfra cannot use its ansible_connection"
        return shell
