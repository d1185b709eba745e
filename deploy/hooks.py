"""Hooks: programs of the application's own, in `hooks/` of its tree, that run around a build and a release.

A hook is an executable file named for its moment. It runs in the tree it came with; on a host as the stack's account,
never as root. What it is told stands in its environment, under names that begin with STACK_:

    HOOK         its name                            ACTION       build, release, rollback or scale
    NAME         stack.name                          ENVIRONMENT  stack.environment
    RELEASE      the release's id                    PREVIOUS     the release before it; empty for the first
    VERSION      of its pyproject.toml               COMMIT       in full
    TREE         the tree it runs in                 HOST         this host's name
    ACTOR        who called `stack`                  URL          nginx's address on this host
    MIGRATES     1 on the host of a fleet that migrates, else 0
    ARCHIVE      after-build: the archive's path
    STEP, INSTANCE, MESSAGE   on-failure: where it failed, and why
"""

from __future__ import annotations

import difflib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

FOLDER = "hooks"
MOMENTS = (
    "before-build",
    "after-build",
    "before-release",
    "after-release",
    "before-switch",
    "after-switch",
    "on-failure",
)
KEPT_LINES = 20  # of a hook's output, in the record
INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SSL_CERT_FILE", "TMPDIR", "TZ", "USER")

Start = Callable[[list[str], Mapping[str, str], Path, IO[bytes]], "subprocess.Popen[bytes]"]


class HookError(Exception):
    """A hook that stops what it comes before; `log` is the end of its output."""

    def __init__(self, message: str, log: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.log = list(log)


@dataclass(frozen=True)
class Ran:
    """A hook that ran: its exit status (None when it took too long), seconds, and the end of its output."""

    hook: str
    status: int | None
    seconds: float
    output: list[str]

    @property
    def failed(self) -> str:
        """What was wrong with it; empty when nothing was."""
        if self.status is None:
            return f"hooks/{self.hook} was ended after {self.seconds:.0f} s (releases.hook_timeout)"
        return f"hooks/{self.hook} ended with status {self.status}" if self.status else ""


def problems(names: Iterable[str], is_executable: Callable[[str], bool]) -> list[str]:
    """What is wrong with a tree's hooks: those that would never run, by mode or by name.

    Args:
        names: the tree's files, relative to it.
        is_executable: whether one of them is.
    """
    found = []
    for name in sorted(names):
        folder, _, hook = name.partition("/")
        if folder != FOLDER or "/" in hook:
            continue
        if hook in MOMENTS and not is_executable(name):
            found.append(f"{name} is not executable: chmod +x {name}")
        elif hook not in MOMENTS and is_executable(name):
            near = difflib.get_close_matches(hook, MOMENTS, n=1)
            meant = f"; did you mean {FOLDER}/{near[0]}?" if near else f"; there are {', '.join(MOMENTS)}"
            found.append(f"{name} is no hook's name{meant}")
    return found


def run(
    tree: Path,
    hook: str,
    told: Mapping[str, str],
    *,
    timeout: float,
    start: Start,
    say: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> Ran | None:
    """Run a tree's hook, if it has it, and wait for it.

    Args:
        tree: the checkout, the unpacked archive or the release.
        hook: one of `MOMENTS`.
        told: what it is told, without STACK_ before the names.
        timeout: seconds; then it and all it has started in its session are killed.
        start: starts a process: arguments, environment, folder, output.
        say: takes one line of progress; each line of output is one.
        environment: what it has beside that; a few of our own variables when not given.

    Returns:
        What became of it; None when the tree has no such hook.
    """
    program = tree / FOLDER / hook
    if not program.is_file():
        return None
    own = {name: os.environ[name] for name in INHERITED if name in os.environ} if environment is None else environment
    values = {**own, **{f"STACK_{name}": value for name, value in {**told, "HOOK": hook, "TREE": str(tree)}.items()}}
    started = time.monotonic()
    # A file, not a pipe: what a hook leaves running in the background must not keep us waiting.
    with tempfile.TemporaryFile() as output:
        try:
            process = start([str(program)], values, tree, output)
            status = _wait(process, timeout)
        except OSError as error:
            status = 126
            output.write(f"it cannot be started: {error.strerror}\n".encode())
        seconds = round(time.monotonic() - started, 3)
        output.seek(0)
        lines = output.read().decode("utf-8", "replace").splitlines()
    for line in lines:
        say(f"{hook}: {line}")
    ran = Ran(hook, status, seconds, lines[-KEPT_LINES:])
    say(f"{FOLDER}/{hook} {seconds:.2f} s" + (f"  failed: {ran.failed}" if ran.failed else ""))
    return ran


def _wait(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    try:
        return process.wait(timeout)
    except BaseException as error:
        # Its own session, so its children go with it; also when we are asked to end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return None
        raise


def start_here(
    arguments: list[str], environment: Mapping[str, str], folder: Path, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a process as whoever calls, in a session of its own."""
    return subprocess.Popen(
        arguments,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
