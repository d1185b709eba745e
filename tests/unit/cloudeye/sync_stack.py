"""Sync processes started as they are in production, on a database of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gevent
from gevent import socket
from sqlalchemy import Engine, create_engine, insert, select
from sqlalchemy.orm import Session

from cloudeye.models import Base, CheckResult, Site, User
from cloudeye.sync.schedule import next_slot
from tests.integration.world import environment
from tests.unit.cloudeye.hostile import ROOT
from tests.unit.cloudeye.playback import read_request, tcp_server


class Stack:
    """A database, by default SQLite in the folder, and sync processes that work on it."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.url = url or f"sqlite:///{folder}/site.sqlite3"
        # How a test looks at the database; the processes make their own engine.
        options: dict[str, Any] = {"isolation_level": "READ COMMITTED"} if url else {"connect_args": {"timeout": 10}}
        self.engine: Engine = create_engine(self.url, **options)
        self.processes: list[subprocess.Popen[bytes]] = []
        (folder / "secret").write_text("x" * 40)

    def migrate(self) -> None:
        Base.metadata.create_all(self.engine)
        with Session(self.engine) as session:
            session.add(User(id=1, username="owner", email="owner@example.com"))
            session.commit()

    def start(self, name: str = "sync", module: str = "cloudeye.sync", **settings: object) -> subprocess.Popen[bytes]:
        """Start a process; settings in capitals are variables, the others those of the section sync."""
        values = {
            "allow_private": 1,
            "concurrency": 50,
            "batch": 50,
            "poll_seconds": 0.1,
            "connect_timeout": 1,
            "read_timeout": 1,
            "total_timeout": 2,
            "max_bytes": 100_000,
            "max_redirects": 3,
            "minimum_interval": 1,
            "default_interval": 2,
            "heartbeat_seconds": 0.2,
        }
        variables = {
            **environment(self.folder, self.url),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "APP_RELEASE": "release-1",
            "APP_HEARTBEAT_FILE": str(self.folder / f"{name}.heartbeat"),
            **{key: str(value) for key, value in settings.items() if key.isupper()},
            **{f"APP_SYNC_{k.upper()}": str(settings.get(k, v)) for k, v in values.items()},
        }
        with open(self.folder / f"{name}.log", "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module], env=variables, cwd="/", stdout=output, stderr=output
            )
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.engine.dispose()

    def add(self, *urls: str, interval: int = 2, **values: object) -> None:
        with self.engine.begin() as connection:
            rows = [{"owner_id": 1, "name": url[-20:], "url": url, "interval": interval, **values} for url in urls]
            connection.execute(insert(Site), rows)

    def sites(self) -> list[Site]:
        with Session(self.engine) as session:
            return list(session.scalars(select(Site).order_by(Site.id)))

    def results(self) -> list[CheckResult]:
        with Session(self.engine) as session:
            return list(session.scalars(select(CheckResult).order_by(CheckResult.checked_at)))

    def heartbeat(self, name: str = "sync") -> dict[str, object]:
        beat: dict[str, object] = json.loads((self.folder / f"{name}.heartbeat").read_text())
        return beat

    def log(self, name: str = "sync") -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / f"{name}.log").read_text().splitlines()]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait in the hub, where the test's servers run, until the condition holds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (FileNotFoundError, json.JSONDecodeError):
            pass
        assert time.monotonic() < deadline, "it never happened"
        gevent.sleep(0.05)


@contextmanager
def counting_site() -> Iterator[tuple[int, dict[str, list[float]]]]:
    """A site that notes when each of its paths was asked for."""
    hits: dict[str, list[float]] = defaultdict(list)

    def handler(sock: socket.socket) -> None:
        path = read_request(sock).split(b" ")[1].decode()
        hits[path].append(time.monotonic())
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with tcp_server(handler) as port:
        yield port, hits


def slots(results: list[CheckResult], interval: int) -> list[tuple[int, int]]:
    """The place of each result on its site's grid of times."""
    origin = datetime(2020, 1, 1, tzinfo=UTC)
    shift = {result.site_id: (next_slot(result.site_id, interval, origin) - origin) for result in results}
    return [
        (result.site_id, (result.checked_at - origin - shift[result.site_id]) // timedelta(seconds=interval))
        for result in results
    ]


def lateness(results: list[CheckResult], interval: int) -> list[float]:
    """The seconds by which each probe began after its place on its site's grid; the first of a site has none."""
    origin = datetime(2020, 1, 1, tzinfo=UTC)
    seen: set[int] = set()
    late: list[float] = []
    for result in results:
        if result.site_id in seen:
            after = result.checked_at - next_slot(result.site_id, interval, origin)
            late.append((after % timedelta(seconds=interval)).total_seconds())
        seen.add(result.site_id)
    return late
