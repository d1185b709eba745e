"""wrk, a closed loop: each client asks again as soon as it was answered (https://github.com/wg/wrk)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.requests.workloads import Workload

TIMEOUT = 2  # seconds until wrk counts a request as timed out: its own default, said aloud
MISSING = "wrk is not installed. Run: sudo apt-get install wrk"


class WrkError(Exception):
    """wrk could not be run, or said what nobody understands."""


@dataclass(frozen=True)
class Rate:
    """What wrk counted in some seconds. `answered` leaves out statuses of 400 and more; `errors` are by their kind."""

    answered: int
    seconds: float
    errors: dict[str, int]

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0


def parse(output: str) -> Rate:
    """Read the line of JSON that the script of a workload prints at the end.

    Raises:
        WrkError: there is none.
    """
    lines = [line for line in output.splitlines() if line.startswith('{"requests"')]
    if not lines:
        raise WrkError(f"wrk did not say what it counted:\n{output[-2000:]}")
    counted = json.loads(lines[-1])
    errors = {kind: counted[kind] for kind in ("connect", "read", "write", "status", "timeout") if counted[kind]}
    return Rate(max(0, counted["requests"] - counted["status"]), counted["microseconds"] / 1e6, errors)


def run(
    workload: Workload, url: str, token: str, folder: Path, seconds: int, *, halfway: Callable[[], None] | None = None
) -> Rate:
    """Have a workload's clients ask for so many seconds.

    Args:
        workload: what is asked.
        url: where, up to the path.
        token: of the workload's account, or empty.
        folder: for wrk's script.
        seconds: a whole number, as wrk takes it.
        halfway: called while the load is on.

    Raises:
        WrkError: wrk is not there, failed, or did not end.
    """
    binary = shutil.which("wrk")
    if binary is None:
        raise WrkError(MISSING)
    script = folder / f"{workload.name}.lua"
    script.write_text(workload.script(token), "utf-8")
    script.chmod(0o600)  # it holds a token
    threads = min(workload.clients, os.cpu_count() or 1)
    command = [binary, f"-t{threads}", f"-c{workload.clients}", f"-d{seconds}s", f"--timeout={TIMEOUT}s"]
    process = subprocess.Popen(
        [*command, "-s", str(script), url + workload.path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        if halfway is not None:
            try:
                process.wait(seconds / 2)
            except subprocess.TimeoutExpired:
                halfway()
        output, _ = process.communicate(timeout=seconds + 30)
    except subprocess.TimeoutExpired:
        raise WrkError(f"wrk did not end: {' '.join(command)}") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        raise WrkError(f"{' '.join(command)} ended {process.returncode}:\n{output[-2000:]}")
    return parse(output)
