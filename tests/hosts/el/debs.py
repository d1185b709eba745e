"""Debian packages as raw material: what a set of them needs, fetched and unpacked."""

import fnmatch
import os
from pathlib import Path

from tests.hosts.shell import HarnessError, run


class Kitchen:
    """Debian's packages of the suite a root was made from, fetched beside it without changing what is installed."""

    def __init__(self, base: Path, archives: Path, unpacked: Path) -> None:
        """
        Args:
            base: a Debian root with apt's configuration and dpkg's status.
            archives: where downloaded packages are kept.
            unpacked: where they are unpacked; the caller's to remove.
        """
        self.base = base
        self.archives = archives
        self.unpacked = unpacked
        self.archives.mkdir(parents=True, exist_ok=True)
        self.unpacked.mkdir(parents=True, exist_ok=True)
        self._apt("apt-get", "update")
        status = run("dpkg-query", f"--admindir={base}/var/lib/dpkg", "-W", "-f", "${Package}\n").out
        self.installed = set(status.split())

    def needs(self, names: list[str], leave_out: list[str]) -> list[str]:
        """Packages that installing these into the base would bring, themselves included, recommendations not."""
        lines = self._apt("apt-get", "install", "--print-uris", "-qq", "-y", "--no-install-recommends", *names)
        # 'http://.../name_version_arch.deb' name_version_arch.deb size hash
        found = [line.split()[1].split("_")[0] for line in lines.splitlines() if line.startswith("'")]
        return [name for name in found if not any(fnmatch.fnmatch(name, pattern) for pattern in leave_out)]

    def fetch(self, names: set[str]) -> dict[str, Path]:
        """Download packages (apt checks their signatures' chain) and unpack each; name -> folder."""
        lines = self._apt("apt-get", "download", "--print-uris", "-qq", *sorted(names)).splitlines()
        files = {line.split()[1].split("_")[0]: line.split()[1] for line in lines if line.startswith("'")}
        if absent := names - set(files):
            raise HarnessError(f"no such Debian packages: {', '.join(sorted(absent))}")
        wanted = sorted(name for name, file in files.items() if not (self.archives / file).exists())
        if wanted:
            self._apt("apt-get", "download", "-qq", *wanted, folder=self.archives)
        folders: dict[str, Path] = {}
        for name, file in files.items():
            folders[name] = self.unpacked / file
            run("dpkg-deb", "--extract", str(self.archives / file), str(folders[name]))
        return folders

    def version(self, folder: Path) -> str:
        """The upstream version of an unpacked package, without Debian's epoch and revision."""
        full = run("dpkg-deb", "--field", str(self.archives / folder.name), "Version").out.strip()
        return full.partition(":")[2].rpartition("-")[0] or full.rpartition("-")[0] or full.partition(":")[2] or full

    def _apt(self, *command: str, folder: Path | None = None) -> str:
        program, *rest = command
        options = [
            "-o", f"Dir={self.base}",
            "-o", f"Dir::State::status={self.base}/var/lib/dpkg/status",
            "-o", "APT::Sandbox::User=root",
        ]  # fmt: skip
        before = Path.cwd()
        try:
            os.chdir(folder or before)  # `apt-get download` writes to where it stands
            return run(program, *options, *rest, timeout=1200).out
        finally:
            os.chdir(before)
