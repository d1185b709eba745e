"""Sets of throwaway hosts: making, finding again and removing them without a trace."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.hosts import cgroup, inventory, network, rootfs
from tests.hosts.machine import Host, can_boot_hosts
from tests.hosts.settings import (
    CGROUP,
    CHECKOUT,
    DEBIAN_ADDRESSES,
    DEFAULT_SET,
    EL_ADDRESSES,
    inventory_folder,
    run_folder,
)
from tests.hosts.shell import HarnessError, run

LAYOUTS: dict[str, dict[str, tuple[str, ...]]] = {
    "one": {"one": ("lb", "app", "db")},
    "four": {"lb": ("lb",), "app1": ("app",), "app2": ("app",), "db": ("db",)},
}
_SET_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
_HOST_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")


@dataclass(frozen=True)
class HostSet:
    """Hosts that were made together, know each other and end together."""

    name: str
    layout: str
    shape: str
    owner: int  # a pid whose end is the set's end; 0 for a set that stays until `down`
    hosts: tuple[Host, ...]

    def __getitem__(self, name: str) -> Host:
        for host in self.hosts:
            if host.name == name:
                return host
        raise HarnessError(f"no host {name} in set {self.name}: there are {', '.join(h.name for h in self.hosts)}")

    @property
    def inventory(self) -> Path:
        """The folder for `ansible-playbook -i`."""
        return inventory_folder(self.name)


def up(
    set_name: str = DEFAULT_SET,
    layout: str = "one",
    shape: str = "debian12",
    name: str | None = None,
    cache: bool = False,
    reuse: bool = False,
    owner: int = 0,
) -> HostSet:
    """Make and start the hosts of a layout, write their inventory, and wait until all are ready.

    Args:
        set_name: several sets can be up at once under names of their own.
        layout: `one` (a single host in all groups) or `four` (lb, app1, app2, db).
        shape: which distribution, one of `rootfs.SHAPES`.
        name: of the host, in layout `one`.
        cache: put the database host into group `cache` as well.
        reuse: be content with a set that is up already when it has this layout and shape.
        owner: pid whose end, however it comes, takes the set down.

    Raises:
        HarnessError: with the cure where one is known; nothing is left running.
    """
    if reason := can_boot_hosts():
        raise HarnessError(reason)
    plan = _plan(set_name, layout, name, cache)
    lower = rootfs.root(shape)
    with _lock():
        existing = load(set_name)
        if existing is not None and _usable(existing):
            if reuse and (existing.layout, existing.shape) == (layout, shape):
                return existing
            raise HarnessError(
                f"set {set_name} is up ({existing.layout}, {existing.shape}): take it down with "
                f"`python -m tests.hosts down --set {set_name}`, choose another --set, or --reuse it"
            )
        _remove(set_name)
        network.up()
        made = HostSet(set_name, layout, shape, owner, _with_addresses(set_name, shape, plan))
        _save(made)
    try:
        _start(made, lower)
    except BaseException:
        down(set_name)
        raise
    return made


def load(set_name: str = DEFAULT_SET) -> HostSet | None:
    """The set that was made under this name; None when there is none."""
    file = run_folder() / set_name / "state.json"
    try:
        state = json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    hosts = tuple(Host(**(host | {"groups": tuple(host["groups"])})) for host in state.pop("hosts"))
    return HostSet(hosts=hosts, **state)


def names() -> list[str]:
    """Names of the sets that left anything on this machine."""
    folder = run_folder()
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def down(set_name: str = DEFAULT_SET) -> bool:
    """Remove every trace of a set, and of the network with the last one; False when there was nothing."""
    if os.geteuid() != 0:
        raise HarnessError("removing test hosts needs root: `sudo make hosts-down`")
    with _lock():
        return _remove(set_name)


def _plan(set_name: str, layout: str, name: str | None, cache: bool) -> dict[str, tuple[str, ...]]:
    if not _SET_NAME.fullmatch(set_name):
        raise HarnessError(f"{set_name!r} is no name for a set: a letter, then at most 11 of a-z 0-9")
    if layout not in LAYOUTS:
        raise HarnessError(f"no layout {layout}: there are {', '.join(LAYOUTS)}")
    plan = dict(LAYOUTS[layout])
    if name is not None:
        if layout != "one" or not _HOST_NAME.fullmatch(name):
            raise HarnessError("--name names the host of layout one: a letter, then at most 15 of a-z 0-9")
        plan = {name: plan["one"]}
    if cache:
        plan = {host: (*groups, "cache") if "db" in groups else groups for host, groups in plan.items()}
    return plan


def _with_addresses(set_name: str, shape: str, plan: dict[str, tuple[str, ...]]) -> tuple[Host, ...]:
    others = [known for name in names() if (known := load(name)) is not None]
    taken = {host.address for known in others for host in known.hosts}
    free = (str(a) for a in (DEBIAN_ADDRESSES if shape.startswith("debian") else EL_ADDRESSES) if str(a) not in taken)
    try:
        return tuple(Host(name, set_name, shape, next(free), groups) for name, groups in plan.items())
    except RuntimeError as error:
        raise HarnessError("no address is left: `python -m tests.hosts status` shows who has them") from error


def _save(made: HostSet) -> None:
    folder = run_folder() / made.name
    folder.mkdir(parents=True, mode=0o700)
    state = asdict(made)
    partial = folder / "state.json.partial"
    partial.write_text(json.dumps(state, indent=1))
    partial.rename(folder / "state.json")


def _start(made: HostSet, lower: Path) -> None:
    folder = run_folder() / made.name
    (folder / "ssh").mkdir(mode=0o700)
    if made.owner:
        _watch(made)
    key = folder / "id_ed25519"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"test hosts {made.name}", "-f", str(key))
    public = key.with_suffix(".pub").read_text().strip()
    keys = {host.name: host.make_disk(lower, list(made.hosts), public) for host in made.hosts}
    inventory.write(made.name, made.hosts, keys)
    for host in made.hosts:
        host.start()
    for host in made.hosts:
        host.wait_until_ready()


def _watch(made: HostSet) -> None:
    watcher = subprocess.Popen(
        [sys.executable, "-m", "tests.hosts.watch", made.name, str(made.owner)],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(run_folder() / made.name / "watch.log").open("w"),
        start_new_session=True,
    )
    (run_folder() / made.name / "watch.pid").write_text(str(watcher.pid))


def _usable(known: HostSet) -> bool:
    """A set counts as up while one of its hosts runs or it is being made, and its owner lives."""
    if known.owner and not Path(f"/proc/{known.owner}").exists():
        return False
    young = time.time() - (run_folder() / known.name / "state.json").stat().st_mtime < 120
    return young or any(host.is_running() for host in known.hosts)


def _remove(set_name: str) -> bool:
    folder = run_folder() / set_name
    found = folder.exists() or inventory_folder(set_name).exists()
    _end_watcher(folder / "watch.pid")
    # By what lies there, not by the state alone: a start that died early may not have written it.
    hosts = {path.name for path in (folder / "hosts").iterdir()} if (folder / "hosts").is_dir() else set()
    for point in cgroup.hierarchies()[:1]:
        groups = (point / CGROUP).glob(f"{set_name}-*")
        hosts |= {group.name.removeprefix(f"{set_name}-") for group in groups}
    known = load(set_name)
    hosts |= {host.name for host in known.hosts} if known else set()
    for name in sorted(hosts):
        Host(name, set_name, "", "", ()).remove()
    for host in known.hosts if known else ():
        if network.is_up():
            host.reconnect()
    for connection in (folder / "ssh").glob("*"):
        run("ssh", "-O", "exit", "-S", str(connection), "gone", check=False, timeout=10)
    inventory.remove(set_name)
    shutil.rmtree(folder, ignore_errors=True)
    if not names():
        network.down()
        with suppress(OSError):
            (cgroup.hierarchies()[0] / CGROUP).rmdir()
    return found


def _end_watcher(file: Path) -> None:
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        pid = int(file.read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if pid != os.getpid() and b"tests.hosts.watch" in words:
            os.kill(pid, signal.SIGTERM)


@contextmanager
def _lock() -> Iterator[None]:
    """Only one process at a time makes, removes or gives addresses; the file is gone when nothing is up."""
    file = run_folder() / "lock"
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), file.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # The one before us may have removed the file while we waited for it.
            if file.exists() and os.fstat(lock.fileno()).st_ino == file.stat().st_ino:
                try:
                    yield
                finally:
                    if not names():
                        file.unlink(missing_ok=True)
                        with suppress(OSError):
                            file.parent.rmdir()
                return
