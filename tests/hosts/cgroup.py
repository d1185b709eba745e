"""One control group per host.

systemd-nspawn with --keep-unit puts its payload in `payload` below its own control group. Two hosts started
from one control group would so share it, and the systemd of each would kill the services of the other. It also
gives a sure way to end a host: everything in its control group, without asking for pids.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.hosts.settings import CGROUP
from tests.hosts.shell import HarnessError


def hierarchies() -> list[Path]:
    """Mount points of cgroup v2 (first) and, on a hybrid machine, of systemd's own v1 hierarchy."""
    unified, named = [], []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(maxsplit=2)
        point = Path(before.split()[4])
        if kind == "cgroup2":
            unified.append(point)
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            named.append(point)
    return unified[:1] + named[:1]


def create(host: str) -> list[Path]:
    """Make the control group of a host in each hierarchy and return its folders, cgroup v2 first."""
    folders = [point / CGROUP / host for point in hierarchies()]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def processes(host: str) -> Iterator[int]:
    """Pids, as this machine counts them, of everything that runs in a host, its keeper included."""
    for folder, _, _ in os.walk(_folder(host)):  # not rglob: it raises when a group goes away while it walks
        try:
            yield from (int(pid) for pid in Path(folder, "cgroup.procs").read_text().split())
        except OSError:
            continue  # removed since it was listed


def kill(host: str, wait: float = 20) -> None:
    """SIGKILL everything in the host's control group and remove the group.

    Source: cgroup.kill in the kernel's Documentation/admin-guide/cgroup-v2.rst (Linux 5.14).

    Raises:
        HarnessError: something still lives after `wait` seconds.
    """
    if _folder(host).is_dir():
        (_folder(host) / "cgroup.kill").write_text("1")
    end = time.monotonic() + wait
    while True:
        if all(_removed(point / CGROUP / host) for point in hierarchies()):
            break
        if time.monotonic() > end:
            raise HarnessError(f"host {host} did not die: pids {sorted(processes(host))}")
        time.sleep(0.02)
    for point in hierarchies():
        with_hosts = point / CGROUP
        if with_hosts.is_dir() and not any(entry.is_dir() for entry in with_hosts.iterdir()):
            with_hosts.rmdir()


def exists(host: str) -> bool:
    """Whether anything runs in the host's control group."""
    return any(True for _ in processes(host))


def _folder(host: str) -> Path:
    return hierarchies()[0] / CGROUP / host


def _removed(folder: Path) -> bool:
    for path, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError:
            return False  # a process in it has not gone yet
    return True
