"""Running playbooks against a set of hosts, as an operator does, and reading what they said."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.machines import HostSet
from tests.hosts.report import REPORT
from tests.hosts.settings import CHECKOUT
from tests.hosts.shell import run

_SUITE = re.compile(r"(\d+ failed, )?\d+ passed[^\n]* in [\d.]+s")
_RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Played:
    """One run of a playbook: exit status, all it said, seconds, and its recap by host."""

    playbook: str
    status: int
    output: str
    seconds: float
    recap: Mapping[str, Mapping[str, int]]

    @property
    def changed(self) -> int:
        """How many tasks changed something, on all hosts."""
        return sum(counts["changed"] for counts in self.recap.values())

    @property
    def changes(self) -> list[str]:
        """Each task that changed something, with its host."""
        found: list[str] = []
        task = ""
        for line in self.output.splitlines():
            if line.startswith(("TASK [", "RUNNING HANDLER [")):
                task = line.rstrip("* ")
            elif line.startswith("changed: "):
                found.append(f"{task} {line}")
        return found

    def went_well(self) -> Played:
        """The same run; an assertion fails with its last words when it did not end with 0."""
        assert self.status == 0, f"{self.playbook} ended {self.status}:\n{self.output[-6000:]}"
        return self


class Playing:
    """A playbook that is running; see `begin`."""

    def __init__(self, made: HostSet, playbook: str, arguments: tuple[str, ...], checkout: Path) -> None:
        self._made, self._playbook, self._arguments = made, playbook, arguments
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        self._said = os.memfd_create(playbook)
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            [program, "--inventory", str(made.inventory), playbook, *arguments],
            cwd=checkout / "ansible",
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )

    @property
    def output(self) -> str:
        """All it has said so far."""
        return os.pread(self._said, os.fstat(self._said).st_size, 0).decode(errors="replace")

    def wait_for(self, words: str, times: int = 1, seconds: float = 600) -> None:
        """Wait until it has said something so many times; an assertion fails when it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while self.output.count(words) < times:
            ended = self._process.poll() is not None or time.monotonic() > deadline
            assert not ended, f"{self._playbook} never said {words!r} {times} times:\n{self.output[-3000:]}"
            time.sleep(0.1)

    def kill(self) -> None:
        """End ansible-playbook with SIGKILL: it can tidy nothing up. What runs on hosts goes on there."""
        self._process.kill()
        self._process.wait()

    def finish(self, timeout: float = 1500) -> Played:
        """Wait for its end, and note how long it took."""
        try:
            self._process.wait(timeout=timeout)
        except BaseException:
            self._process.terminate()
            raise
        seconds, output = time.monotonic() - self._began, self.output
        recap = {
            host: {key: int(value) for key, value in (pair.split("=") for pair in counts.split())}
            for host, counts in _RECAP.findall(output.rpartition("PLAY RECAP")[2])
            if host != "localhost"
        }
        counted = "; ".join(f"{host} ok={counts['ok']} changed={counts['changed']}" for host, counts in recap.items())
        suite = _SUITE.search(output)
        line = " ".join([self._playbook, *(word for word in self._arguments if word in ("--check", "--tags"))])
        hosts = f"{self._made.layout} {self._made.shape}"
        REPORT.plays.append((hosts, line, suite[0] if suite else counted, seconds))
        return Played(self._playbook, self._process.returncode, output, seconds, recap)


def begin(made: HostSet, playbook: str, *arguments: str, checkout: Path = CHECKOUT) -> Playing:
    """Start a playbook of a checkout against a set of hosts, to do something while it runs.

    Args:
        made: the hosts.
        playbook: its file's name in ansible/.
        arguments: further ones of ansible-playbook.
        checkout: whose playbooks, and whose release.
    """
    return Playing(made, playbook, arguments, checkout)


def play(made: HostSet, playbook: str, *arguments: str, checkout: Path = CHECKOUT, timeout: float = 1500) -> Played:
    """Run a playbook to its end; arguments are those of `begin`, `timeout` is in seconds, after which it is ended."""
    return begin(made, playbook, *arguments, checkout=checkout).finish(timeout)


def play_and_kill(made: HostSet, playbook: str, *arguments: str, at: str) -> None:
    """Run a playbook, and kill it with SIGKILL as soon as it says something; what it has begun on a host goes on."""
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    with subprocess.Popen(
        [program, "--inventory", str(made.inventory), playbook, *arguments],
        cwd=CHECKOUT / "ansible",
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if at in line:
                break
        else:
            raise AssertionError(f"{playbook} never said {at!r}:\n{''.join(said)[-6000:]}")
        os.killpg(process.pid, signal.SIGKILL)


def copy_of_checkout(folder: Path) -> Path:
    """A checkout of its own with the working tree's files, committed: a release of another id comes from it."""
    listed = run("git", "-C", str(CHECKOUT), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.out.split("\0")):
        source, target = CHECKOUT / name, folder / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    run("git", "-C", str(folder), "init", "--quiet")
    commit(folder, "a copy")
    return folder


def commit(folder: Path, message: str) -> None:
    """Commit everything in a checkout made by `copy_of_checkout`."""
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    run("git", "-C", str(folder), "add", "--all")
    run("git", "-C", str(folder), *who, "commit", "--quiet", "--message", message)
