"""Run a command of this machine and say what went wrong when it fails."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class HarnessError(RuntimeError):
    """Something the test hosts need did not work; the message says what and, where known, the cure."""


@dataclass(frozen=True)
class Result:
    """What a finished command left: exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """True when the exit status is 0."""
        return self.status == 0


def run(
    *command: str,
    check: bool = True,
    stdin: str | None = None,
    timeout: float = 600,
    env: Mapping[str, str] | None = None,
) -> Result:
    """Run a command and wait for it.

    Args:
        command: program and arguments; no shell reads them.
        check: raise when the exit status is not 0.
        stdin: text for standard input; empty when None.
        timeout: seconds after which the command is killed.
        env: the whole environment; this process's when None.

    Raises:
        HarnessError: the command is missing, failed (with `check`) or took too long.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=env,
            check=False,
        )
    except FileNotFoundError as error:
        raise HarnessError(f"{command[0]} is not installed on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"no end after {timeout:.0f} s: {quote(command)}") from error
    if check and done.returncode != 0:
        raise HarnessError(
            f"{quote(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return Result(done.returncode, done.stdout, done.stderr)


def quote(command: Sequence[str]) -> str:
    """A command shortened to what fits in a message."""
    line = " ".join(command)
    return line if len(line) < 200 else f"{line[:200]}..."
