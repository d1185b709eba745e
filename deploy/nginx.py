"""nginx as a process: tested, started, told of new files, stopped; by systemd on a host, by us in a checkout."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from deploy.procfs import children, command_line, read_pid


class NginxError(Exception):
    """nginx refused; `log` holds its own words."""

    def __init__(self, message: str, log: list[str]) -> None:
        super().__init__("\n".join([message, *log]))
        self.message = message
        self.log = log


class Nginx:
    """The nginx that serves a stack."""

    def __init__(self, stack: Mapping[str, Any]) -> None:
        self._by_systemd = stack["nginx"]["started_by"] == "systemd"
        self._config = f"{stack['paths']['nginx_conf']}/nginx.conf"
        self._folder = stack["paths"]["nginx_conf"]
        self._binary = stack["nginx"]["binary"]
        # The values may be those of an older release, which knew neither.
        self._closing = Path(stack["nginx"].get("closing", ""))
        self._closing_seconds = stack["timeouts"].get("let_go", 0)
        self._pidfile = Path("/run/nginx.pid" if self._by_systemd else f"{stack['paths']['run']}/nginx.pid")

    def pid(self) -> int | None:
        """The pid of the running master, if it runs."""
        return read_pid(self._pidfile, named="nginx")

    def test(self) -> None:
        """Have nginx read its configuration.

        Raises:
            NginxError: when it refuses.
        """
        self._run("nginx refuses its configuration", [*self._command(), "-t"])

    def load(self) -> None:
        """Test, then reload the running nginx, or start it.

        Raises:
            NginxError: when it refuses; a running nginx goes on with what it had.
        """
        self.test()
        pid = self.pid()
        before = children(pid) if pid else []
        with self._connections_closing() if pid else nullcontext():
            self._load(pid)
            _wait_until_retired(before)

    @contextmanager
    def _connections_closing(self) -> Iterator[None]:
        """Have clients let go of their connections: nginx closes idle ones at a reload without a word.

        Each answer says that its connection closes, as long as this lasts and for some time before it. Whoever asks
        less often than that may still meet a closed connection.
        """
        try:
            # Not through a link: on a host the folder is the account's, and this is root.
            os.close(os.open(self._closing, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))
        except OSError:  # such as on a balancer, which has no such folder
            yield
            return
        try:
            time.sleep(self._closing_seconds)
            yield
        finally:
            self._closing.unlink(missing_ok=True)

    def _load(self, pid: int | None) -> None:
        if self._by_systemd:
            # reload-or-restart also starts one that is stopped
            self._run("nginx cannot be reloaded", ["systemctl", "reload-or-restart", "nginx"])
        elif pid is None:
            self._run("nginx cannot be started", self._command())
        else:
            os.kill(pid, signal.SIGHUP)

    def stop(self, *, patience: float = 10.0) -> bool:
        """Let the nginx of a checkout finish its requests and end; return whether it was running."""
        pid = self.pid()
        if pid is None:
            return False
        os.kill(pid, signal.SIGQUIT)
        deadline = time.monotonic() + patience
        while self.pid() is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGTERM)
                break
            time.sleep(0.05)
        return True

    def _command(self) -> list[str]:
        local = [] if self._by_systemd else ["-e", "stderr", "-p", self._folder]
        return [self._binary, *local, "-c", self._config]

    def _run(self, complaint: str, command: list[str]) -> None:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode:
            raise NginxError(complaint, (result.stderr or result.stdout).splitlines()[-20:])


def _wait_until_retired(workers: list[int], *, patience: float = 5.0) -> None:
    """A reload returns before it works: wait until the old workers have stopped taking connections."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(_takes_connections(pid) for pid in workers):
        time.sleep(0.02)


def _takes_connections(pid: int) -> bool:
    title = command_line(pid)
    return bool(title) and "shutting down" not in title
