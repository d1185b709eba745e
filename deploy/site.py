"""The stack's site in nginx: put in place, tested, and only then loaded."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from deploy.instances import Supervisor
from deploy.render import render_template, write_file
from deploy.steps import ReleaseError

TEMPLATE = "nginx/conf.d/site.conf.j2"


class Site:
    """The file that nginx reads of this stack, and how nginx is told of a new one."""

    def __init__(self, stack: Mapping[str, Any], tree: Path) -> None:
        self._stack = stack
        self._tree = tree
        self._supervised = stack["nginx"]["started_by"] == "supervisor"
        self.path = Path(stack["paths"]["nginx_conf"], "conf.d", f"{stack['stack']['name']}.conf")

    def text(self) -> str | None:
        """What is in place; None when nothing is."""
        return self.path.read_text("utf-8") if self.path.is_file() else None

    def install(self, wanted: str | None) -> bool:
        """Put a site in place (or take it away), test, load; return whether anything changed.

        Raises:
            ReleaseError: with nginx's words, the old site being back in its place.
        """
        before = self.text()
        if wanted == before:
            return False
        self._write(wanted)
        try:
            self._test()
        except ReleaseError:
            self._write(before)
            raise
        self._load()
        return True

    def without(self, port: int) -> str:
        """The release's site with one port left out, while its group is replaced."""
        ports = [other for other in self._stack["api"]["ports"] if other != port]
        stack = {**self._stack, "api": {**self._stack["api"], "ports": ports}}
        return render_template(stack, TEMPLATE, tree=self._tree)

    def _write(self, text: str | None) -> None:
        if text is None:
            self.path.unlink(missing_ok=True)
        else:
            write_file(self.path, text)

    def _test(self) -> None:
        result = subprocess.run([*self._command(), "-t"], capture_output=True, text=True, check=False)
        if result.returncode:
            raise ReleaseError("nginx refuses the new site; the old one is back", log=result.stderr.splitlines()[-20:])

    def _command(self) -> list[str]:
        folder = self._stack["paths"]["nginx_conf"]
        local = ["-e", "stderr", "-p", folder] if self._supervised else []
        return [self._stack["nginx"]["binary"], *local, "-c", f"{folder}/nginx.conf"]

    def _load(self) -> None:
        if self._supervised:
            supervisor = Supervisor(self._stack)
            if supervisor.table().get("nginx", {}).get("pid"):
                supervisor.rpc.signalProcess("nginx:nginx", "HUP")
            return
        # A stopped nginx is started by whoever manages the host; a running one keeps its connections.
        result = subprocess.run(
            ["systemctl", "reload-or-restart", "nginx"], capture_output=True, text=True, check=False
        )
        if result.returncode:
            with suppress(OSError):
                log = subprocess.run(
                    ["journalctl", "-u", "nginx", "-n", "20", "--no-pager", "-o", "cat"],
                    capture_output=True,
                    text=True,
                    check=False,
                ).stdout.splitlines()
            raise ReleaseError("nginx cannot be reloaded", log=[*result.stderr.splitlines(), *log][-20:])
