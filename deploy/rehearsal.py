"""Start one instance of a release that takes no traffic, and ask it what a real one is asked.

It listens on a unix socket of its own only, so a release that does not start, or starts and answers errors, is found
before the first instance moves.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from deploy import instances
from deploy.layout import Host, command_environment
from deploy.steps import ReleaseError
from deploy.tree import Release

NAME = "rehearsal"


def rehearse(host: Host, release: Release) -> None:
    """Start an instance as the account, wait until it is ready, ask its smoke requests, and end it.

    Raises:
        ReleaseError: with the end of what it said.
    """
    with host.own_folder(NAME) as folder:
        own = {"APP_INSTANCE": NAME, "APP_RUN_DIR": str(folder), "GUNICORN_RUN_DIR": str(folder)}
        with (folder / "log").open("wb") as log:
            process = host.start(
                [
                    *(str(release.root / "venv" / "bin" / "python"), "-m", "gunicorn"),
                    *("-c", str(release.root / "gunicorn.conf.py"), "-b", f"unix:{folder}/socket"),
                ],
                {**command_environment(release.root), **own},
                release.root / "src",
                log,
            )
        try:
            _wait(release, process, folder)
        finally:
            process.terminate()
            try:
                process.wait(release.stack["timeouts"]["stopwait"])
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(release: Release, process: subprocess.Popen[bytes], folder: Path) -> None:
    instance = {"kind": "api", "group": NAME, "name": NAME, "socket": f"{folder}/socket"}
    deadline = time.monotonic() + release.stack["timeouts"]["health"]
    while problem := instances.verdict(release.stack, instance, release.name):
        status = process.poll()
        if status is not None or time.monotonic() > deadline:
            ended = f"it ended with status {status}" if status is not None else problem
            said = (folder / "log").read_text("utf-8", "replace").splitlines()
            raise ReleaseError(
                f"an instance started on a socket of its own is not ready on release {release.name}: {ended}",
                instance=NAME,
                log=said[-20:],
            )
        time.sleep(instances.POLL)
