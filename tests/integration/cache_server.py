"""A Redis or Valkey server of the tests' own: on a loopback port, keeps nothing, gone at the end."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

import redis

BINARY = shutil.which("redis-server") or shutil.which("valkey-server") or "/usr/bin/redis-server"


class CacheServer:
    """Run one server for as long as the ``with`` block lasts.

    Args:
        folder: for its log.
        port: a loopback port to listen on.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"redis://127.0.0.1:{port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> CacheServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, wait: float = 30) -> None:
        """Start the server and wait until it answers, at most ``wait`` seconds."""
        with (self.folder / "cache.log").open("ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(self.folder)],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + wait
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
                return
            except redis.RedisError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((self.folder / "cache.log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End the server at once and wait until it is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def freeze(self) -> None:
        """Let the server take connections and answer none of them."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        """Return a client to look with."""
        return redis.Redis.from_url(self.url, decode_responses=True)
