"""The stack's sections in supervisor: the same in each ordinary release, replaced one group at a time.

What a section says (number of instances, times) is taken up only by a group that is stopped and loaded again. The
plugin keeps its listening socket meanwhile, so that requests wait rather than fail.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy import durable, instances
from deploy.instances import Supervisor
from deploy.render import write_file
from deploy.steps import ReleaseError, Run


class Sections:
    """The files in supervisor's folder that belong to a release."""

    def __init__(self, stack: Mapping[str, Any], rendered: Path) -> None:
        self._stack = stack
        self.before: dict[str, str] = {}
        self.wanted = {path.name: path.read_text("utf-8") for path in sorted((rendered / "supervisor").glob("*.conf"))}

    def present(self) -> dict[str, str]:
        """What lies in supervisor's folder."""
        return {path.name: path.read_text("utf-8") for path in _present(self._stack)}

    def install(self, run: Run) -> bool:
        """Write the release's files and take others away; nothing is loaded yet. Return whether that changed any."""
        self.before = self.present()
        if self.before == self.wanted:
            return False
        run.will_change("sections", "supervisor's sections", files=self.before)
        replace(self._stack, self.wanted)
        return True


def replace(stack: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Write the files in supervisor's folder and take others away; supervisor reads them when told to."""
    folder = Path(stack["supervisor"]["programs"])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_file(folder / name, text)
    for path in _present(stack):
        if path.name not in files:
            durable.remove(path)


def _present(stack: Mapping[str, Any]) -> list[Path]:
    return sorted(Path(stack["supervisor"]["programs"]).glob("*.conf"))


def install_plugin(stack: Mapping[str, Any], tree: Path) -> bool:
    """Put the plugin where supervisord looks for it when none is there; one that is there is provisioning's.

    A plugin is taken up by a supervisord that starts, so that it changes together with that, never with a release.
    """
    folder = Path(stack["supervisor"]["plugin"], "deploy")
    if (folder / "sockets.py").is_file():
        return False
    written = [
        write_file(folder / name, (tree / "deploy" / name).read_text("utf-8")) for name in ("__init__.py", "sockets.py")
    ]
    return any(written)


def start_supervisord(stack: Mapping[str, Any], supervisor: Supervisor) -> None:
    """Start the unit of a stack whose supervisord does not run, and wait until it answers.

    Raises:
        ReleaseError: when there is no systemd to ask, or supervisord does not come up.
    """
    unit = stack["names"]["unit"]
    if not Path("/run/systemd/system").is_dir() or not shutil.which("systemctl"):
        raise ReleaseError(
            "supervisord does not run, and there is no systemd to start it; start it with: "
            f"{stack['supervisor']['venv']}/bin/supervisord -c {stack['supervisor']['config']}"
        )
    result = subprocess.run(["systemctl", "start", unit], capture_output=True, text=True, check=False)
    deadline = time.monotonic() + stack["timeouts"]["health"]
    while result.returncode == 0 and not supervisor.answers():
        if time.monotonic() > deadline:
            break
        time.sleep(instances.POLL)
    else:
        if result.returncode == 0:
            return
    raise ReleaseError(f"{unit} does not start; see `journalctl -u {unit}`", log=result.stderr.splitlines()[-20:])
