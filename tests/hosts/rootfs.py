"""Root file systems of bare hosts: made once with mmdebstrap, kept in the cache, laid under each host's disk."""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.hosts import carry
from tests.hosts.settings import USER, cache_folder
from tests.hosts.shell import HarnessError, run

# What a small cloud image of Debian has, less than any real one: an installation that leans on more fails here.
_DEBIAN_PACKAGES = (
    "systemd systemd-sysv libpam-systemd dbus netbase iproute2 iputils-ping procps "
    "openssh-server sudo ca-certificates python3 python3-apt less"
)

# Run in the new root by its own shell. Host keys and machine-id are made for each host, never shared.
_FINISH = f"""
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


@dataclass(frozen=True)
class Recipe:
    """How a root is made: everything that changes the outcome, so that its hash can be its name in the cache."""

    shape: str
    suite: str
    packages: str
    finish: str

    def key(self) -> str:
        """A short hash over the recipe and what is carried in from this machine."""
        parts = [self.shape, self.suite, self.packages, self.finish]
        parts += [name + text for name, text in carry.certificate_authorities().items()]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    def folder(self) -> Path:
        """Where the finished root lies, or will lie."""
        return cache_folder() / f"root-{self.shape}-{self.key()}"


RECIPES = {"debian12": Recipe("debian12", "bookworm", _DEBIAN_PACKAGES, _FINISH)}


def root(shape: str) -> Path:
    """The root of a shape, made first when the cache has none of this recipe.

    The folder is shared by all hosts and must never be written to: a host gets it as the lower layer of its disk.

    Raises:
        HarnessError: an unknown shape, or mmdebstrap failed.
    """
    recipe = RECIPES.get(shape)
    if recipe is None:
        raise HarnessError(f"no shape {shape}: there are {', '.join(RECIPES)}")
    folder = recipe.folder()
    if folder.is_dir():
        return folder
    with _only_one_makes(folder):
        if not folder.is_dir():
            print(f"making the root of {shape} in {folder} (once; about half a minute)", file=sys.stderr)
            _make(recipe, folder)
    return folder


def _make(recipe: Recipe, folder: Path) -> None:
    unfinished = folder.with_name(folder.name + ".unfinished")
    _remove(unfinished)
    unfinished.mkdir(mode=0o755)
    run(
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(recipe.packages.split())}",
        recipe.suite,
        str(unfinished),
        timeout=1200,
    )
    authorities = unfinished / "usr/local/share/ca-certificates"
    for name, text in carry.certificate_authorities().items():
        (authorities / name).write_text(text)
    # No /proc, /sys or /dev is mounted: a root that is booted while they are mounted loses this machine's.
    run("chroot", str(unfinished), "/bin/sh", "-c", recipe.finish)
    unfinished.rename(folder)


def prune() -> list[Path]:
    """Remove roots in the cache that no recipe names any more; returns what was removed.

    Call it only while no host is up: an older root may still lie under a host's disk.
    """
    wanted = {recipe.folder().name for recipe in RECIPES.values()}
    stale = [path for path in cache_folder().glob("root-*") if path.name.removesuffix(".lock") not in wanted]
    for path in stale:
        _remove(path)
    return stale


def _remove(path: Path) -> None:
    if os.path.ismount(path / "proc"):
        raise HarnessError(f"{path}/proc is mounted: `umount {path}/proc` first")
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _only_one_makes(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
