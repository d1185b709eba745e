#!/usr/bin/python
"""Ansible module: what the preflight wants to know of a host, in one round trip; changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_survey
short_description: What the preflight wants to know of a host
description:
  - Reads clock, memory, disk, listeners, SELinux, packages, units, accounts, releases, files, and whether other hosts
    can be reached. Changes nothing.
options:
  unit:
    description: The stack's unit. The memory it uses counts as free.
    type: str
    required: true
  disk:
    description: The folder, existing or not, whose file system is measured.
    type: path
    required: true
  interpreter:
    description: The Python that the app runs under, installed or not.
    type: str
    default: ''
  venv:
    description: A virtual environment, made or not.
    type: str
    default: ''
  packages:
    description: Packages to look for.
    type: list
    elements: str
    default: []
  units:
    description: Units to look at.
    type: list
    elements: str
    default: []
  accounts:
    description: Accounts and groups to look up.
    type: list
    elements: str
    default: []
  exists:
    description: Paths or shell patterns to look for.
    type: list
    elements: str
    default: []
  files:
    description: Files, folders and links to look at, so that stack_files need not ask the host once more.
    type: list
    elements: str
    default: []
  connect:
    description: Addresses with C(host) and C(port) that must take a connection.
    type: list
    elements: dict
    default: []
  connect_timeout:
    description: Seconds to wait for each connection.
    type: int
    default: 5
author: the maintainers of this repository
"""

RETURN = r"""
survey:
  description: >-
    C(time) (seconds since the epoch), C(python), C(interpreter_tag) (such as cp312; empty when it is not there),
    C(interpreter_version), C(venv) (the C(version) of the Python of O(venv) and what it has C(held), by name; empty
    when there is none), C(architecture), C(memory_mb) (available, with what the stack itself uses), C(disk_mb)
    (free), C(selinux) (enforcing, permissive, disabled), C(installed) (those of O(packages) that are), C(steady)
    (those of O(units) that run and start at boot), C(groups) and C(users) (those of O(accounts) that are there, a
    user with group, groups, home and shell), C(releases) (C(current), C(previous) and, of each process, the release
    that it is pointed at), C(held) (the names in the folders C(incoming), C(releases) and C(wheels)), C(files) (of
    each of O(files) C(kind), owner, group, mode, and SHA-256 or target; C(kind) alone, absent, for one that is not
    there), C(listeners) (port, address, process, unit), C(existing) (those of O(exists) that match something),
    C(unreachable) (host, port, error).
  type: dict
  returned: always
"""

import glob
import grp
import json
import os
import platform
import pwd
import shutil
import socket
import struct
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_state import state_of

# Run by an interpreter that may be of another version.
ASK = """
import importlib.metadata, json, re, sys
name = lambda dist: re.sub("[-_.]+", "-", dist.metadata["Name"]).lower()
print(json.dumps({"version": sys.version, "tag": "cp%d%d" % sys.version_info[:2],
                  "held": {name(dist): dist.version for dist in importlib.metadata.distributions()}
                          if sys.prefix != sys.base_prefix else {}}))
"""
LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp (proc(5))
CGROUP = "/sys/fs/cgroup/system.slice/%s/memory.current"


def first_line(path):
    """The first line of a small file; empty when it cannot be read."""
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return ""


def memory_mb(unit):
    """MiB that are free, the stack's own use counted in."""
    with open("/proc/meminfo") as file:
        values = dict(line.split(":", 1) for line in file)
    own = first_line(CGROUP % unit)
    return int(values["MemAvailable"].split()[0]) // 1024 + (int(own) >> 20 if own else 0)


def disk_mb(path):
    """MiB free where a folder lies or would lie."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    space = os.statvfs(path)
    return space.f_bavail * space.f_frsize >> 20


def selinux():
    """enforcing, permissive or disabled."""
    state = first_line("/sys/fs/selinux/enforce")
    return {"1": "enforcing", "0": "permissive"}.get(state, "disabled")


def address_of(text):
    """The readable form of an address in /proc/net/tcp: words in the machine's byte order."""
    raw = b"".join(struct.pack("=I", int(text[i : i + 8], 16)) for i in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def listening_inodes():
    """{inode: (address, port)} of every listening TCP socket."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                rows = file.readlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == LISTEN:
                address, port = fields[1].split(":")
                found[fields[9]] = (address_of(address), int(port, 16))
    return found


def owners(inodes):
    """{inode: pid} for the sockets that some process holds."""
    held = {}
    for descriptor in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            held.setdefault(target[8:-1], descriptor.split("/")[2])
    return held


def unit_of(pid):
    """The systemd unit that a process belongs to; empty when it belongs to none."""
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            parts = file.read().replace("\n", "/").split("/")
    except OSError:
        return ""
    return next((part for part in reversed(parts) if part.endswith((".service", ".socket"))), "")


def listeners():
    """Every listening TCP port with its process and unit."""
    inodes = listening_inodes()
    held = owners(inodes)
    return [
        {
            "port": port,
            "address": address,
            "process": first_line(f"/proc/{held[inode]}/comm") if inode in held else "",
            "unit": unit_of(held[inode]) if inode in held else "",
        }
        for inode, (address, port) in sorted(inodes.items(), key=lambda item: item[1][1])
    ]


def unreachable(targets, timeout):
    """Those targets that take no connection, each with the reason."""
    failed = []
    for target in targets:
        try:
            socket.create_connection((target["host"], int(target["port"])), timeout).close()
        except OSError as error:
            failed.append({"host": target["host"], "port": target["port"], "error": str(error)})
    return failed


def installed(module, names):
    """Those packages that the host has."""
    if not names:
        return []
    if shutil.which("dpkg-query"):
        shown = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names]
        lines = module.run_command(shown)[1].splitlines()
        found = {line.split()[0] for line in lines if line.endswith(" installed")}
    else:
        found = set(module.run_command(["rpm", "--query", "--queryformat", "%{NAME}\n", *names])[1].splitlines())
    return [name for name in names if name in found]


def steady(module, names):
    """Those units that run and start at boot."""
    if not names:
        return []
    shown = module.run_command(["systemctl", "show", "--property=Id,ActiveState,UnitFileState", *names])[1]
    found = [dict(line.split("=", 1) for line in part.splitlines()) for part in shown.strip().split("\n\n") if part]
    good = {unit["Id"] for unit in found if (unit["ActiveState"], unit["UnitFileState"]) == ("active", "enabled")}
    return [name for name in names if name in good]


def accounts(names):
    """({user: what it is}, [group]) of those names that are there."""
    users, groups = {}, []
    for name in names:
        try:
            grp.getgrnam(name)
            groups.append(name)
        except KeyError:
            pass
        try:
            entry = pwd.getpwnam(name)
            group = grp.getgrgid(entry.pw_gid).gr_name
        except KeyError:
            continue
        also = sorted(other.gr_name for other in grp.getgrall() if name in other.gr_mem)
        users[name] = {"group": group, "groups": also, "home": entry.pw_dir, "shell": entry.pw_shell}
    return users, groups


def releases(root):
    """What `current`, `previous` and each process's pointer name; empty where there is none."""

    def pointed(path):
        return os.path.basename(os.readlink(path)) if os.path.islink(path) and os.path.isdir(path) else ""

    processes = {
        os.path.basename(path): pointed(path) for path in sorted(glob.glob(os.path.join(root, "instances", "*")))
    }
    return {
        "current": pointed(os.path.join(root, "current")),
        "previous": pointed(os.path.join(root, "previous")),
        "processes": processes,
    }


def held(root):
    """The names of what has been brought to a host: archives, releases, wheels."""
    found = {}
    for name in ("incoming", "releases", "wheels"):
        folder = os.path.join(root, name)
        listed = os.listdir(folder) if os.path.isdir(folder) else []
        found[name] = sorted(entry for entry in listed if not entry.startswith("."))
    return found


def ask(module, python):
    """What an interpreter says of itself; empty when it is not there or does not run."""
    if not os.path.exists(python):
        return {}
    status, out, _err = module.run_command([python, "-c", ASK])
    return json.loads(out) if status == 0 else {}


def main():
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "disk": {"type": "path", "required": True},
            "interpreter": {"type": "str", "default": ""},
            "venv": {"type": "str", "default": ""},
            "packages": {"type": "list", "elements": "str", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "accounts": {"type": "list", "elements": "str", "default": []},
            "exists": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "list", "elements": "str", "default": []},
            "connect": {"type": "list", "elements": "dict", "default": []},
            "connect_timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    users, groups = accounts(wanted["accounts"])
    interpreter = ask(module, wanted["interpreter"])
    environment = ask(module, os.path.join(wanted["venv"], "bin", "python")) if wanted["venv"] else {}
    module.exit_json(
        changed=False,
        survey={
            "time": time.time(),
            "python": platform.python_version(),
            "interpreter_tag": interpreter.get("tag", ""),
            "interpreter_version": interpreter.get("version", ""),
            "venv": {name: environment[name] for name in ("version", "held") if environment},
            "architecture": platform.machine(),
            "memory_mb": memory_mb(wanted["unit"]),
            "disk_mb": disk_mb(wanted["disk"]),
            "selinux": selinux(),
            "installed": installed(module, wanted["packages"]),
            "steady": steady(module, wanted["units"]),
            "users": users,
            "groups": groups,
            "releases": releases(wanted["disk"]),
            "held": held(wanted["disk"]),
            "files": {path: state_of(path) for path in wanted["files"]},
            "listeners": listeners(),
            "existing": [pattern for pattern in wanted["exists"] if glob.glob(pattern)],
            "unreachable": unreachable(wanted["connect"], wanted["connect_timeout"]),
        },
    )


if __name__ == "__main__":
    main()
