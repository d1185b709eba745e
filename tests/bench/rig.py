"""Everything the benchmark starts: database, sites, name server and sync, each ended by its pid whatever happens."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Engine, create_engine, func, insert, select
from sqlalchemy.orm import Session

from cloudeye.models import CheckResult, Site, User
from deploy import stack as stacks
from deploy.derive import settings
from tests.bench import certificates
from tests.bench.mix import NETWORK, Mix
from tests.bench.server import VISIT
from tests.integration.mariadb import MariaDB
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
OWNERS = 50
# As a server is that Ansible sets up: see ansible/roles/database; the first is MariaDB's own default.
SERVER = ("--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=128M")
READY_WITHIN = 60.0  # seconds
ENDS_WITHIN = 30.0  # seconds


@dataclass(frozen=True)
class Plan:
    """What is measured: how many sites, how often each is probed, of what kind, and the stack's other settings."""

    sites: int
    interval: int = 60  # seconds
    engine: str = "mariadb"
    mix: Mix = field(default_factory=Mix)
    changes: Sequence[str] = ()  # of deploy/stack.yml, as `stack up --set` takes them
    profile: bool = False


@dataclass(frozen=True)
class Cores:
    """Where sync runs, and where all that it talks to does."""

    sync: int
    others: tuple[int, ...]

    @classmethod
    def choose(cls) -> Cores:
        """The last core that we may use for sync; the others for the rest, or the same if there is but one."""
        *others, last = sorted(os.sched_getaffinity(0))
        return cls(last, tuple(others) or (last,))


class Rig:
    """One run's processes and files, for as long as the ``with`` block lasts."""

    def __init__(self, plan: Plan, cores: Cores) -> None:
        self.plan = plan
        self.cores = cores
        self.by_name = can_have_names()
        self.syncs: dict[str, subprocess.Popen[bytes]] = {}
        self._ends = ExitStack()

    def __enter__(self) -> Rig:
        try:
            self._start()
        except BaseException:
            self._ends.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def _start(self) -> None:
        # A socket's path must be short (unix(7)); what is started here inherits where it may run.
        self.folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="ce-")))
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.cores.others)
        self._ends.callback(os.sched_setaffinity, 0, before)
        self.database: MariaDB | None = None
        port = 0
        if self.plan.engine == "mariadb":
            (self.folder / "db").mkdir()
            port = free_port()
            self.database = self._ends.enter_context(MariaDB(self.folder / "db", port, options=SERVER))
        self._configure(port)
        command = [sys.executable, "-m", "flask", "--app", "cloudeye.wsgi", "db", "upgrade"]
        subprocess.run(command, env=self.environment, cwd=ROOT, check=True, capture_output=True, timeout=300)
        self.engine: Engine = create_engine(self.environment["APP_DATABASE_URL"])
        self._ends.callback(self.engine.dispose)
        certificates.make(self.folder)
        self._serve()

    def _configure(self, port: int) -> None:
        """The settings of a host's processes, by the stack's own code, with the paths and the database of this run."""
        secret = self.folder / "secrets"
        secret.mkdir()
        (secret / "secret_key").write_text(secrets.token_hex(32))
        (secret / "database_password").write_text("")
        database = (
            ["database.host=127.0.0.1", f"database.port={port}", "database.user=root", "database.name=cloudeye"]
            if port
            else ["database.engine=sqlite"]
        )
        paths = [f"paths.{name}={self.folder}" for name in ("root", "etc", "log", "data", "run")]
        layers = [
            stacks.set_layer(
                [*paths, f"paths.secrets={secret}", *database, "sync.allow_private=true", *self.plan.changes]
            )
        ]
        self.stack = stacks.load("host", layers=layers)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "PYTHONUNBUFFERED": "1",
            "SSL_CERT_FILE": str(self.folder / "trusted.pem"),
            **settings(self.stack),
        }

    def _serve(self) -> None:
        names = f"{NETWORK}.{1 + secrets.randbelow(250)}.53" if self.by_name else ""
        mix = vars(self.plan.mix) if self.by_name else {**vars(self.plan.mix), "named": 0.0}
        self.mix = Mix.read(mix)
        (self.folder / "resolv.conf").write_text(f"nameserver {names}\n")
        facts = self.folder / "server.json"
        facts.write_text(json.dumps({"folder": str(self.folder), "mix": mix, "names": names}))
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.server", str(facts)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._ends.callback(_end, self.server)
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        if not line:
            raise RuntimeError("the sites' server did not start")
        self.ports: dict[str, int] = json.loads(line)

    # -- sync -------------------------------------------------------------------------------------------------

    def start_sync(self, name: str = "sync") -> subprocess.Popen[bytes]:
        """Start one sync process on its core, as supervisor would, but for where it finds its name server."""
        module = "tests.bench.profiled" if self.plan.profile else "cloudeye.sync"
        command = ["taskset", "--cpu-list", str(self.cores.sync), sys.executable, "-m", module]
        if self.by_name:
            # In a mount namespace of its own, so that nobody else's names change. It keeps its pid.
            mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", mount, str(self.folder / "resolv.conf"), *command]
        environment = {
            **self.environment,
            "APP_HEARTBEAT_FILE": str(self.folder / f"{name}.heartbeat"),
            "BENCH_PROFILE": str(self.folder / f"{name}.profile"),
        }
        with open(self.folder / f"{name}.log", "ab") as output:
            process = subprocess.Popen(command, env=environment, cwd="/", stdout=output, stderr=output)
        self.syncs[name] = process
        self._ends.callback(_end, process)
        end = time.monotonic() + READY_WITHIN
        while not (self.folder / f"{name}.heartbeat").exists():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"sync did not start: {self.log(name)[-2000:]}")
            time.sleep(0.05)
        return process

    def stop_sync(self, name: str = "sync") -> int:
        """Tell it to end, as supervisor does, and wait; its exit status."""
        process = self.syncs[name]
        process.terminate()
        return process.wait(ENDS_WITHIN)

    def heartbeat(self, name: str = "sync") -> dict[str, Any]:
        """What its heartbeat says."""
        beat: dict[str, Any] = json.loads((self.folder / f"{name}.heartbeat").read_text("utf-8"))
        return beat

    def log(self, name: str = "sync") -> str:
        """All that it said."""
        return (self.folder / f"{name}.log").read_text("utf-8")

    def complaints(self, name: str = "sync") -> list[str]:
        """Its log's lines that are no news of the ordinary kind."""
        lines = self.log(name).splitlines()
        return [line for line in lines if '"level":"info"' not in line.replace(" ", "")]

    # -- database -----------------------------------------------------------------------------------------------

    def insert_sites(self) -> datetime:
        """Insert the plan's sites, each due at the first time of its grid from now on; when the first may be due."""
        from tests.bench.figures import first_slot

        begin = datetime.now(UTC) + timedelta(seconds=1 + self.plan.sites / 2500)  # inserting takes a while
        interval = self.plan.interval
        with Session(self.engine) as session:
            session.add_all(
                User(id=n, username=f"owner{n}", email=f"owner{n}@example.com") for n in range(1, OWNERS + 1)
            )
            session.commit()
        with self.engine.begin() as connection:
            for start in range(1, self.plan.sites + 1, 500):
                rows = [
                    {
                        "id": number,
                        "owner_id": 1 + number % OWNERS,
                        "name": f"Site {number}",
                        "url": self.mix.url(number, self.ports),
                        "interval": interval,
                        "next_check_at": first_slot(number, interval, begin),
                    }
                    for number in range(start, min(start + 500, self.plan.sites + 1))
                ]
                connection.execute(insert(Site), rows)
        return begin

    def unseen(self) -> int:
        """How many sites were never looked at."""
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).where(Site.last_checked_at.is_(None))) or 0

    def latencies(self, start: float, end: float) -> list[float]:
        """Milliseconds until the first byte, as sync measured them, of sites that answer at once."""
        quick = {n for n in range(1, self.plan.sites + 1) if self.mix.behaviour(n) in ("same", "moving", "edited")}
        when = CheckResult.checked_at.between(*(datetime.fromtimestamp(at, UTC) for at in (start, end)))
        with self.engine.connect() as connection:
            rows = connection.execute(select(CheckResult.site_id, CheckResult.latency_ms).where(when))
            return [latency for number, latency in rows if number in quick and latency is not None]

    def results(self) -> list[tuple[int, float]]:
        """Every result: the site, and when its probe began (seconds since 1970)."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(CheckResult.site_id, CheckResult.checked_at))
            return [(number, checked_at.timestamp()) for number, checked_at in rows]

    def visits(self) -> list[tuple[int, float]]:
        """Every request that a site saw: which site, and when. A site that refuses connections sees none."""
        data = (self.folder / "visits").read_bytes()
        return list(VISIT.iter_unpack(data[: len(data) // VISIT.size * VISIT.size]))


def can_have_names() -> bool:
    """Whether a process can be given a name server of its own: that needs root, port 53 and a mount namespace."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "--bind", "/etc/hosts", "/etc/resolv.conf"], capture_output=True, check=False
    )
    return tried.returncode == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
