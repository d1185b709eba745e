"""Where a host keeps its releases, and as whom the application's commands run there."""

from __future__ import annotations

import getpass
import grp
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from deploy.launch import process_environment
from deploy.steps import ReleaseError


@dataclass(frozen=True)
class Host:
    """The folders of one stack on one host, and the account of its processes.

    `account` is None when the processes run as whoever calls the engine.
    """

    root: Path
    account: str | None

    @classmethod
    def of(cls, stack: Mapping[str, Any], account: str | None = None) -> Host:
        """The host of a loaded stack; root's commands run as the stack's own account unless told otherwise."""
        wanted = account or str(stack["names"]["user"])
        return cls(Path(stack["paths"]["root"]), wanted if os.geteuid() == 0 and wanted != "root" else None)

    @property
    def releases(self) -> Path:
        """Immutable, one folder for each release."""
        return self.root / "releases"

    @property
    def incoming(self) -> Path:
        """Where archives are unpacked before they are releases."""
        return self.root / "incoming"

    @property
    def venvs(self) -> Path:
        """One folder for each set of requirements, Python and OS."""
        return self.root / "venvs"

    @property
    def instances(self) -> Path:
        """One pointer for each process to the release that it serves."""
        return self.root / "instances"

    @property
    def current(self) -> Path:
        """A pointer for people and one-off commands."""
        return self.root / "current"

    @property
    def previous(self) -> Path:
        """A pointer to what `current` was before: where `stack rollback` goes."""
        return self.root / "previous"

    @property
    def ledger(self) -> Path:
        """One JSON line for each run. Not in paths.data, where the application's account could change it."""
        return self.root / "ledger.jsonl"

    @property
    def journal(self) -> Path:
        """What the run that holds the lock is about to do; there is none when nothing runs or is to be resumed."""
        return self.root / "journal.jsonl"

    def pointed(self, pointer: Path) -> str:
        """The id of the release that a pointer names; empty when it names none that exists."""
        return Path(os.readlink(pointer)).name if pointer.is_symlink() and pointer.is_dir() else ""

    def target(self, pointer: Path, release: str) -> Path:
        """What a pointer to a release holds: a path relative to the pointer's folder."""
        return Path(os.path.relpath(self.releases / release, pointer.parent))

    @contextmanager
    def own_folder(self, name: str) -> Iterator[Path]:
        """A folder that only the account may enter, gone at the end.

        It lies where a resume clears what a run that was killed left behind (`tidy` in `deploy/resume.py`).
        """
        folder = self.releases / f".{name}.new"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        try:
            if self.account:
                entry = pwd.getpwnam(self.account)
                os.chown(folder, entry.pw_uid, entry.pw_gid)
            yield folder
        finally:
            shutil.rmtree(folder)

    def run(self, arguments: Sequence[str], release: Path) -> subprocess.CompletedProcess[str]:
        """Run a command as the account, in a release's environment, and capture what it says."""
        return subprocess.run(
            [*tied("KILL"), *arguments],
            env=command_environment(release),
            cwd=release / "src",  # as the launcher does: Python puts the folder on sys.path
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **self.identity(),
        )

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start a process as the account, in a folder, writing all it says to a file."""
        return subprocess.Popen(
            [*tied("TERM"), *arguments],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # an interrupt of the engine is not also one of it
            **self.identity(),
        )

    def execute(self, arguments: Sequence[str], release: Path) -> None:
        """Become a command in a release's environment, as the account; the venv's programs come first."""
        environment = command_environment(release)
        if self.account:
            entry = pwd.getpwnam(self.account)
            environment.update(HOME=entry.pw_dir, USER=self.account, LOGNAME=self.account)
            os.initgroups(self.account, entry.pw_gid)
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
        try:
            os.execvpe(arguments[0], list(arguments), environment)  # noqa: S606 - no shell is wanted
        except OSError as error:
            raise ReleaseError(f"{arguments[0]}: {error.strerror}") from error

    def identity(self) -> dict[str, Any]:
        """The arguments by which subprocess runs something as the account; none when that is whoever calls."""
        if self.account is None:
            return {}
        entry = pwd.getpwnam(self.account)
        groups = [group.gr_gid for group in grp.getgrall() if self.account in group.gr_mem]
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}


def tied(signal: str) -> list[str]:
    """What comes before a command so that the kernel ends it with whoever started it (setpriv(1), prctl(2)).

    Nothing that a killed engine has started may go on beside the next one.
    """
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", signal] if program else []


def command_environment(release: Path) -> dict[str, str]:
    """The environment of a one-off command of a release."""
    environment = process_environment(release, "command", os.environ)
    environment["PATH"] = f"{release}/venv/bin:{os.environ.get('PATH', os.defpath)}"
    return environment


def actor() -> str:
    """Who calls: the account behind sudo when there is one."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def now() -> str:
    """The time in UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
