"""Root file systems of bare hosts: made once with mmdebstrap, kept in the cache, laid under each host's disk."""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.hosts import carry
from tests.hosts.el import doubles, repository, shape
from tests.hosts.settings import USER, cache_folder
from tests.hosts.shell import HarnessError, run

# What a small cloud image of Debian has, less than any real one: an installation that leans on more fails here.
_DEBIAN_PACKAGES = (
    "systemd systemd-sysv libpam-systemd dbus netbase iproute2 iputils-ping procps "
    "openssh-server sudo ca-certificates python3 python3-apt less"
)

# Run in the new root by its own shell. Host keys and machine-id are made for each host, never shared.
_DEBIAN_FINISH = f"""
set -eu
useradd --create-home --shell /bin/bash --comment 'operator' {USER}
install -d -m 700 -o {USER} -g {USER} /home/{USER}/.ssh
printf '%s ALL=(ALL) NOPASSWD:ALL\\n' {USER} > /etc/sudoers.d/90-{USER}
chmod 440 /etc/sudoers.d/90-{USER}
printf 'PermitRootLogin no\\nPasswordAuthentication no\\n' > /etc/ssh/sshd_config.d/50-test-host.conf
rm -f /etc/ssh/ssh_host_*
update-ca-certificates >/dev/null 2>&1
systemctl enable systemd-networkd ssh >/dev/null 2>&1
systemctl disable systemd-networkd-wait-online >/dev/null 2>&1 || true
: > /etc/machine-id
"""

SHAPES = ("debian12", *shape.DISTRIBUTIONS)
_EL_TOOLS = {
    "rpmbuild": "rpm",
    "createrepo_c": "createrepo-c",
    "dpkg-deb": "dpkg",
    "dpkg-query": "dpkg",
    "apt-get": "apt",
}


@dataclass(frozen=True)
class Kept:
    """A folder in the cache. Its name holds a hash over all that decides its contents."""

    name: str
    recipe: tuple[str, ...]
    make: Callable[[Path], None]

    @property
    def folder(self) -> Path:
        """Where it lies, or will lie."""
        return cache_folder() / f"{self.name}-{hashlib.sha256(chr(0).join(self.recipe).encode()).hexdigest()[:12]}"

    def get(self) -> Path:
        """The folder, made first when it is not there; two processes never make it at once."""
        folder = self.folder
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{folder}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                start = time.monotonic()
                unfinished = folder.with_name(f"{folder.name}.unfinished")
                _remove(unfinished)
                self.make(unfinished)
                unfinished.rename(folder)
                print(f"made {folder} in {time.monotonic() - start:.0f} s; it is kept", file=sys.stderr)
        return folder


def root(name: str) -> Path:
    """The root of a shape, made first when the cache has none of this recipe.

    The folder is shared by all hosts and must never be written to: a host gets it as the lower layer of its disk.

    Raises:
        HarnessError: an unknown shape, a tool that is missing, or a step that failed.
    """
    if name not in SHAPES:
        raise HarnessError(f"no shape {name}: there are {', '.join(SHAPES)}")
    kept = _root(name)
    if name != "debian12" and not kept.folder.is_dir():
        missing = sorted({package for tool, package in _EL_TOOLS.items() if shutil.which(tool) is None})
        if missing:
            raise HarnessError(f"to make shape {name}: `apt-get install {' '.join(missing)}`")
    return kept.get()


def prune() -> list[Path]:
    """Remove what the cache holds of older recipes, unless it lies under a host's disk; returns what was removed."""
    wanted = {kept.folder.name for name in SHAPES for kept in (_root(name), *_below(name))}
    mounts = Path("/proc/self/mountinfo").read_text()
    kinds = ("root-*", "base-*", "rpms-*")
    found = [path for kind in kinds for path in cache_folder().glob(kind)]
    stale = [path for path in found if path.name.removesuffix(".lock") not in wanted and str(path) not in mounts]
    for path in stale:
        _remove(path)
    return stale


def _root(name: str) -> Kept:
    if name == "debian12":
        recipe = ("bookworm", _DEBIAN_PACKAGES, _DEBIAN_FINISH, *_authorities())
        return Kept(f"root-{name}", recipe, _make_debian)
    base, rpms = _below(name)
    recipe = (Path(shape.__file__).read_text(), base.folder.name, rpms.folder.name)
    return Kept(f"root-{name}", recipe, lambda target: shape.make(name, base.get(), rpms.get(), target))


def _below(name: str) -> tuple[Kept, ...]:
    """What an EL-shaped root is made from: a Debian root and a repository of RPMs."""
    distribution = shape.DISTRIBUTIONS.get(name)
    if distribution is None:
        return ()
    suite, major = distribution.suite, distribution.major
    base = Kept(
        f"base-{suite}",
        (suite, shape.PACKAGES, *_authorities()),
        lambda target: _bootstrap(suite, shape.PACKAGES, target),
    )
    rpms = Kept(
        f"rpms-el{major}",
        (doubles.fingerprint(), base.folder.name),
        lambda target: repository.build(major, base.get(), cache_folder(), target),
    )
    return base, rpms


def _make_debian(target: Path) -> None:
    _bootstrap("bookworm", _DEBIAN_PACKAGES, target)
    # No /proc, /sys or /dev is mounted: a root that is booted while they are mounted loses this machine's.
    run("chroot", str(target), "/bin/sh", "-c", _DEBIAN_FINISH)


def _bootstrap(suite: str, packages: str, target: Path) -> None:
    target.mkdir(mode=0o755)
    include = f"--include={','.join(packages.split())}"
    run("mmdebstrap", "--variant=minbase", include, suite, str(target), timeout=1200)
    for name, text in carry.certificate_authorities().items():
        (target / "usr/local/share/ca-certificates" / name).write_text(text)


def _authorities() -> list[str]:
    return [name + text for name, text in carry.certificate_authorities().items()]


def _remove(path: Path) -> None:
    if os.path.ismount(path / "proc"):
        raise HarnessError(f"{path}/proc is mounted: `umount {path}/proc` first")
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
