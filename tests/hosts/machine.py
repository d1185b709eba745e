"""One host: its disk, its start and end, and what tests do to it."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import uuid
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from tests.hosts import carry, cgroup, network
from tests.hosts.settings import BRIDGE, GATEWAY, NETWORK, USER, run_folder
from tests.hosts.shell import HarnessError, Result, run

# Keeps a host going over its own reboots: systemd-nspawn ends with 133 when the system inside asked for one.
_KEEPER = """
for group in $HOST_GROUPS; do mkdir -p "$group/keeper"; echo $$ > "$group/keeper/cgroup.procs"; done
while :; do
    sh -c 'for group in $HOST_GROUPS; do echo $$ > "$group/cgroup.procs"; done; exec "$@"' nspawn "$@"
    test $? -eq 133 || break
done
"""


_TOOLS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


def can_boot_hosts() -> str | None:
    """Why hosts cannot be made on this machine, with the cure; None when they can."""
    if os.geteuid() != 0:
        return "making test hosts needs root: `sudo make hosts`"
    missing = sorted({package for tool, package in _TOOLS.items() if shutil.which(tool) is None})
    if missing:
        return f"missing tools: `apt-get install {' '.join(missing)}`"
    groups = cgroup.hierarchies()
    if not groups:
        return "no cgroup v2 is mounted: `mount -t cgroup2 none /sys/fs/cgroup/unified`"
    if not all(os.access(point, os.W_OK) and os.statvfs(point).f_flag & os.ST_RDONLY == 0 for point in groups):
        return f"control groups are read-only here ({groups[0]}): a container without its own cannot boot hosts"
    if not (groups[0] / "cgroup.procs").exists():
        return f"{groups[0]} is no cgroup v2 hierarchy"
    return None


@dataclass(frozen=True)
class Host:
    """A throwaway host of a set. Everything else about it follows from these values."""

    name: str
    set_name: str
    shape: str
    address: str
    groups: tuple[str, ...]

    @property
    def machine(self) -> str:
        """Its name among the containers and control groups of this machine."""
        return f"{self.set_name}-{self.name}"

    @property
    def folder(self) -> Path:
        """Its disk and console on this machine."""
        return run_folder() / self.set_name / "hosts" / self.name

    @property
    def root(self) -> Path:
        """Its root file system as this machine sees it."""
        return self.folder / "root"

    @property
    def console(self) -> Path:
        """What the host wrote to its console since it was made."""
        return self.folder / "console.log"

    # -- making, starting, ending ---------------------------------------------------------------------------

    def make_disk(self, lower: Path, hosts: list["Host"], public_key: str) -> str:
        """Give the host a disk of its own over a shared root and write what makes it this host.

        Args:
            lower: the root, which stays untouched.
            hosts: all hosts of the set, who are to know each other by name.
            public_key: who may log in.

        Returns:
            The host's public ssh key, for a known_hosts file.
        """
        self.root.mkdir(parents=True)
        if not self._mount(lower):
            run("cp", "-a", "--reflink=auto", f"{lower}/.", str(self.root))
        names = "".join(f"{host.address}\t{host.name}\n" for host in hosts)
        self._write("etc/hostname", f"{self.name}\n")
        self._write("etc/hosts", f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n{names}")
        self._write("etc/machine-id", f"{uuid.uuid4().hex}\n")
        # A packaged 80-container-host0.network asks DHCP; the first name in order wins.
        self._write(
            "etc/systemd/network/10-host0.network",
            f"[Match]\nName=host0\n\n[Link]\nMTUBytes={network.uplink_mtu()}\n\n"
            f"[Network]\nAddress={self.address}/{NETWORK.prefixlen}\nGateway={GATEWAY}\n"
            "LinkLocalAddressing=no\nIPv6AcceptRA=no\n",
        )
        for path, text in (
            ("etc/pip.conf", carry.pip_configuration()),
            ("etc/environment", carry.environment()),
            ("etc/apt/apt.conf.d/90-this-machine", carry.apt_configuration()),
        ):
            if text and (self.root / path).parent.is_dir():
                self._write(path, text)
        self._authorize(public_key)
        key = self.root / "etc/ssh/ssh_host_ed25519_key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(key))
        return key.with_suffix(".pub").read_text().strip()

    def start(self) -> None:
        """Switch the host on; returns at once. `wait_until_ready` says when it can be used."""
        groups = cgroup.create(self.machine)
        command = [
            "systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}", f"--machine={self.machine}",
            f"--hostname={self.name}", "--register=no", "--keep-unit", f"--network-bridge={BRIDGE}",
            "--resolv-conf=copy-host", "--link-journal=no", "--console=pipe",
        ]  # fmt: skip
        # All shapes run on cgroup v2, as the systems they stand for do; a hybrid machine would hand down v1.
        environment = os.environ | {
            "HOST_GROUPS": " ".join(map(str, groups)),
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        }
        with self.console.open("ab") as console:
            keeper = subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, "keeper", *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        while not self.is_running() and keeper.poll() is None:
            time.sleep(0.01)  # until it has joined the control group by which it is found and ended

    def is_running(self) -> bool:
        """Whether anything of the host runs."""
        return cgroup.exists(self.machine)

    def wait_until_ready(self, seconds: float = 90, not_boot: str = "") -> None:
        """Wait until ssh lets the operator in and systemd says that it is running.

        Args:
            seconds: how long at most.
            not_boot: a boot id that does not count, the one before a restart.

        Raises:
            HarnessError: the time is over, the host went down, or units failed; with their names and the console.
        """
        end = time.monotonic() + seconds
        state = "no answer on port 22"
        while time.monotonic() < end:
            if not self.is_running():
                raise HarnessError(f"host {self.name} is not running:\n{self._console_tail()}")
            if self._answers():
                state, boot = self._state()
                if state == "running" and boot != not_boot:
                    return
                if state == "degraded" and boot != not_boot:
                    failed = self.run("systemctl --failed --plain --no-legend").out
                    raise HarnessError(f"host {self.name} is degraded, failed units:\n{failed}")
            time.sleep(0.05)
        raise HarnessError(f"host {self.name} is not ready after {seconds:.0f} s ({state}):\n{self._console_tail()}")

    def pull_power(self) -> None:
        """End everything on the host at once, as a power cut does; the disk stays."""
        cgroup.kill(self.machine)

    def remove(self) -> None:
        """End the host and remove its disk; nothing is wrong when it is gone already."""
        cgroup.kill(self.machine)
        if self.root.is_dir():
            disk = self.root.stat()
            Path(f"/run/systemd/nspawn/locks/inode-{disk.st_dev}:{disk.st_ino}").unlink(missing_ok=True)
        for point in sorted(_mounts_below(self.folder), reverse=True):
            run("umount", str(point))
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(Path("/run/systemd/nspawn/propagate") / self.machine, ignore_errors=True)

    # -- what tests use -------------------------------------------------------------------------------------

    def run(self, command: str, *, root: bool = False, check: bool = False, timeout: float = 300) -> Result:
        """Run a shell command on the host through ssh.

        Args:
            command: for the shell of the operator (of root, with `root`).
            root: through sudo.
            check: raise when its exit status is not 0.
            timeout: seconds until it is given up.

        Raises:
            HarnessError: with `check` when it failed; always when it took too long.
        """
        line = f"sudo -n sh -c {shlex.quote(command)}" if root else command
        return run("ssh", "-F", str(self.ssh_config), self.name, line, check=check, timeout=timeout)

    @property
    def ssh_config(self) -> Path:
        """An OpenSSH client configuration that knows every host of the set by its name."""
        return run_folder() / self.set_name / "ssh_config"

    def journal(self, unit: str | None = None, lines: int = 200) -> str:
        """The last lines of the host's journal, or of one unit's; read from its disk, so also when it is down."""
        which = ["--unit", unit] if unit else []
        folder = self.root / "var/log/journal"
        return run("journalctl", "--directory", str(folder), "--no-pager", "--lines", str(lines), *which).out

    def processes(self) -> dict[int, str]:
        """Command lines of the host's processes by their pid on this machine, the host's own systemd left out."""
        found: dict[int, str] = {}
        for pid in cgroup.processes(self.machine):
            try:
                group = Path(f"/proc/{pid}/cgroup").read_text()
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "/payload/" in group and "/payload/init.scope" not in group:
                found[pid] = b" ".join(words).decode(errors="replace").strip()
        return found

    def kill(self, pattern: str, signal_number: int = signal.SIGKILL) -> int:
        """Send a signal to each process whose command line matches a regular expression.

        It comes from outside the host: it needs no sshd and no program there.

        Returns:
            How many processes got it.

        Raises:
            HarnessError: none matched, so that a fault that was not made never counts as survived.
        """
        expression = re.compile(pattern)
        matching = [pid for pid, line in self.processes().items() if expression.search(line)]
        hit = 0
        for pid in matching:
            try:
                os.kill(pid, signal_number)
                hit += 1
            except ProcessLookupError:
                continue
        if not hit:
            running = "\n".join(sorted(set(self.processes().values())))
            raise HarnessError(f"nothing on {self.name} matches {pattern!r}; there is:\n{running}")
        return hit

    def boot_id(self) -> str:
        """The id of the running boot; another one after each start."""
        return self.run("cat /proc/sys/kernel/random/boot_id", check=True).out.strip()

    def reboot(self, seconds: float = 120) -> float:
        """Reboot the host as its operator would, and wait until it is ready; returns the seconds it took."""
        before, start = self.boot_id(), time.monotonic()
        self.run("systemctl reboot", root=True)
        self.wait_until_ready(seconds, not_boot=before)
        return time.monotonic() - start

    def lose_power(self, seconds: float = 120) -> float:
        """Cut the power, put it back, and wait until the host is ready; returns the seconds it took."""
        start = time.monotonic()
        self.pull_power()
        self.start()
        self.wait_until_ready(seconds)
        return time.monotonic() - start

    def cut_off(self, silently: bool = False) -> None:
        """Take registries and name servers away; see `network.cut`."""
        network.cut(IPv4Address(self.address), silently)

    def reconnect(self) -> None:
        """Undo `cut_off`."""
        network.mend(IPv4Address(self.address))

    # -- inner parts ----------------------------------------------------------------------------------------

    def _mount(self, lower: Path) -> bool:
        upper, work = self.folder / "upper", self.folder / "work"
        upper.mkdir()
        work.mkdir()
        shutil.copystat(lower, upper)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        return run("mount", "-t", "overlay", "overlay", "-o", options, str(self.root), check=False).ok

    def _write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # never through a link of the root to a file of this machine
        file.write_text(text)
        file.chmod(mode)

    def _authorize(self, public_key: str) -> None:
        self._write(f"home/{USER}/.ssh/authorized_keys", f"{public_key}\n", 0o600)
        home = (self.root / f"home/{USER}").stat()
        os.chown(self.root / f"home/{USER}/.ssh/authorized_keys", home.st_uid, home.st_gid)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, 22), timeout=0.3):
                return True
        except OSError:
            return False

    def _state(self) -> tuple[str, str]:
        asked = self.run("systemctl is-system-running --wait; cat /proc/sys/kernel/random/boot_id", timeout=60)
        words = asked.out.split()
        return (words[0], words[1]) if len(words) == 2 else (asked.err.strip() or "no login yet", "")

    def _console_tail(self) -> str:
        return self.console.read_text(errors="replace")[-3000:] if self.console.exists() else "(no console)"


def _mounts_below(folder: Path) -> list[Path]:
    points = (Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [point for point in points if point.is_relative_to(folder)]
