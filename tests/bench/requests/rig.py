"""Everything that the request benchmark starts, on loopback alone, each ended by its pid whatever happens."""

from __future__ import annotations

import gzip
import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from deploy import durable, local
from deploy import stack as stacks
from deploy.launch import process_environment
from deploy.nginx import Nginx
from deploy.procfs import is_alive
from deploy.render import TREE, write_file
from tests.bench.requests import workloads
from tests.bench.requests.contestants import CONNECTIONS, STACK, WSGI, Contestant
from tests.bench.requests.usage import pss, tree
from tests.bench.rig import SERVER
from tests.integration.mariadb import MariaDB

MAX_CONNECTIONS = 2 * CONNECTIONS  # of the server: the pools, sync's, what the driver keeps for itself, ours
READY_WITHIN = 90  # seconds; for machines that have other things to do
ENDS_WITHIN = 5.0  # seconds after TERM; then it is killed: what it still had to do nobody waits for
SITES = 200  # of the reader: four pages of the list
FOLDERS = {
    "etc": "etc",
    "log": "log",
    "run": "run",
    "nginx_log": "log",
    "nginx_cache": "cache",
    "nginx_conf": "etc/nginx",
}


class RigError(Exception):
    """Something that is measured did not come up, or answered otherwise than it must."""


def ask(url: str, path: str, *, body: Any = None, token: str = "", timeout: float = 30.0) -> tuple[int, bytes]:
    """One request to an address of ours: status and body; 0 when nothing answers."""
    request = urllib.request.Request(url + path, data=None if body is None else json.dumps(body).encode())
    if body is not None:
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            data = answer.read()
            return answer.status, gzip.decompress(data) if answer.headers["Content-Encoding"] == "gzip" else data
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


class Rig:
    """The database, the accounts, and one contestant at a time, for as long as the ``with`` block lasts.

    Args:
        venv: the environment with the packages of every contestant.
        base_port: the first of twenty loopback ports that nobody else uses.
        say: takes one line of progress.
    """

    def __init__(self, venv: Path, base_port: int, say: Callable[[str], None]) -> None:
        self.venv, self.base_port, self.say = venv, base_port, say
        self.tokens: dict[str, str] = {"": ""}
        self.has_status_pages = False
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
        # A socket's path must be short (unix(7)).
        self.folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="ce-")))
        self.folder.chmod(0o711)  # nginx's workers go through it to the static files; what is secret is closed itself
        (self.folder / "db").mkdir()
        (self.folder / "secrets").mkdir(mode=0o700)
        (self.folder / "secrets" / "database_password").write_text("")
        options = (*SERVER, f"--max-connections={MAX_CONNECTIONS}")
        self.say("starting MariaDB")
        self.database = self._ends.enter_context(MariaDB(self.folder / "db", self.base_port + 3, options=options))
        # What the processes import: the application and the benchmark's own modules, and nothing else of the checkout.
        (self.folder / "sources").mkdir()
        for name, target in (("cloudeye", TREE / "src" / "cloudeye"), ("tests", TREE / "tests")):
            (self.folder / "sources" / name).symlink_to(target)

    @property
    def constant_port(self) -> int:
        """Where nginx answers by itself."""
        return self.base_port + 2

    def values(self, contestant: Contestant) -> stacks.Stack:
        """The stack of a contestant: a checkout's, with what a host has where a checkout differs in its manner.

        The pools of its processes are CONNECTIONS in all.
        """
        host, root = stacks.load("host"), self.folder / contestant.name
        own = contestant.name == STACK
        ports = [self.base_port + 10 + place for place in range(len(host["api"]["ports"]) if own else 1)]
        given = [
            f"paths.root={root}",
            f"paths.data={root}",
            *(f"paths.{part}={root / below}" for part, below in FOLDERS.items()),
            f"paths.secrets={self.folder / 'secrets'}",
            f"app.wsgi={WSGI}",
            "app.access_token_minutes=600",
            f"api.ports={ports}",
            f"api.instances={host['api']['instances'] if own else 1}",
            f"sync.enabled={str(own).lower()}",
            f"nginx.http_port={self.base_port}",
            f"nginx.https_port={self.base_port + 1}",
            "nginx.rate=0",
            f"nginx.log_flush={host['nginx']['log_flush']}",
            f"timeouts.health={READY_WITHIN}",
            "database.engine=mysql",
            f"database.port={self.base_port + 3}",
            "database.user=root",
            "database.name=cloudeye",
            "database.pool_overflow=0",
            f"log.access={host['log']['access']}",
            f"log.rotate={host['log']['rotate']}",
        ]
        processes = len(ports) * host["api"]["instances"] if own else max(1, contestant.processes)
        given.append(f"database.pool_size={CONNECTIONS // processes}")
        return stacks.load("local", layers=[stacks.set_layer(given, "the benchmark")])

    @contextmanager
    def running(self, contestant: Contestant, *, timed: bool = True) -> Iterator[Running]:
        """Serve by a contestant, behind nginx, until the block ends.

        Args:
            contestant: who is to serve.
            timed: whether the stack is started once more by `supervisorctl start`, which is what is timed of it.

        Raises:
            RigError: it does not answer; with the end of its log.
        """
        running = Running(self, contestant)
        with ExitStack() as ends:
            ends.callback(running.stop)
            running.start(timed=timed)
            yield running

    def set_up(self, stack: Contestant) -> None:
        """Make the tables, two accounts and their sites, by the stack itself.

        Raises:
            RigError: the application answers otherwise than it must.
        """
        self.say("setting up: tables, accounts, sites")
        values = self.values(stack)
        self.prepare(values)
        local.migrate(values, lambda _: None)
        with self.running(stack, timed=False) as running:
            password = (self.folder / "secrets" / "admin_password").read_text("ascii").strip()
            admin = running.log_in(values["app"]["admin_email"], password)
            for name in (workloads.READER, workloads.WRITER):
                password = secrets.token_urlsafe(16)
                person = {"username": name, "email": f"{name}@example.com", "password": password}
                running.must("/api/v1/users", 201, person, admin)
                self.tokens[name] = running.log_in(person["email"], password)
            for number in range(1, SITES + 1):
                tags = ["bench", workloads.PUBLIC] if number <= workloads.SHOWN else ["bench"]
                site = {**workloads.NEW_SITE, "name": f"Site {number}", "tags": tags}
                running.must("/api/v1/sites", 201, site, self.tokens[workloads.READER])
            page = {"slug": workloads.SLUG, "title": "Bench", "tag": workloads.PUBLIC}
            status, said = ask(running.url, "/api/v1/status-pages", body=page, token=self.tokens[workloads.READER])
            if status not in (201, 404, 405):
                raise RigError(f"a status page could not be made: {status} {said[:500]!r}")
            self.has_status_pages = status == 201

    def prepare(self, values: stacks.Stack) -> None:
        """Write a contestant's files, as `stack up` does, with the benchmark's environment and modules for its own."""
        local.prepare(values)
        release = Path(values["release"]["root"])
        durable.link(release / "venv", self.venv)
        durable.link(release / "src", self.folder / "sources")

    def forget_created(self) -> None:
        """Remove what the writer has created, so that the next contestant finds the same tables."""
        writer = "SELECT id FROM cloudeye.users WHERE username = %s"
        self.database.run(f"DELETE FROM cloudeye.sites WHERE owner_id = ({writer})", workloads.WRITER)


class Running:
    """A contestant that serves behind nginx."""

    def __init__(self, rig: Rig, contestant: Contestant) -> None:
        self.rig, self.contestant = rig, contestant
        self.values = rig.values(contestant)
        self.url: str = self.values["nginx"]["url"]
        self.nginx = Nginx(self.values)
        self.process: subprocess.Popen[bytes] | None = None
        self.seconds = 0.0  # from its start until its first answer
        self.log = Path(self.values["paths"]["log"], "contestant.log")

    def start(self, *, timed: bool = False) -> None:
        """Start it and wait until it answers; `timed` as for `Rig.running`.

        Raises:
            RigError: it does not within READY_WITHIN; with the end of its log.
        """
        self.rig.prepare(self.values)
        if self.contestant.kind == "limit":
            self._write_constant()
        self.nginx.load()
        if self.contestant.kind == "stack":
            self._start_stack(timed=timed)
        elif self.contestant.command is not None:
            self._start_command()

    def _start_stack(self, *, timed: bool) -> None:
        """supervisord first; then, where that is timed, `supervisorctl start`, as after maintenance."""
        quiet: Callable[[str], None] = lambda _: None  # noqa: E731 - a line that nobody reads
        try:
            local.start(self.values, quiet)
            local.wait_until_healthy(self.values, quiet)
            if not timed:
                return
            self._supervisorctl("stop", "all").wait(60)
            begin = time.monotonic()
            starting = self._supervisorctl("start", "all")
            self._wait_for_answer(begin)
            starting.wait(60)
            local.wait_until_healthy(self.values, quiet)
        except local.LocalError as error:
            raise RigError(f"this stack does not come up: {error}") from error

    def _supervisorctl(self, *arguments: str) -> subprocess.Popen[bytes]:
        binary = f"{self.values['supervisor']['venv']}/bin/supervisorctl"
        command = [binary, "-c", self.values["supervisor"]["config"], *arguments]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def _start_command(self) -> None:
        release = Path(self.values["release"]["root"])
        (port,) = self.values["api"]["ports"]
        assert self.contestant.command is not None
        environment = process_environment(release, f"api-{port}-0", os.environ)
        environment["BENCH_DRIVER"] = self.contestant.driver
        begin = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.contestant.command(release, port),
                env=environment,
                cwd=release / "src",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that its workers can be ended with it
            )
        self._wait_for_answer(begin)

    def _wait_for_answer(self, begin: float) -> None:
        while ask(self.url, "/ping", timeout=READY_WITHIN)[0] != 200:
            if (
                self.process is not None and self.process.poll() is not None
            ) or time.monotonic() > begin + READY_WITHIN:
                log = self.log.read_text("utf-8", "replace")[-2000:] if self.log.exists() else "(no log)"
                raise RigError(f"{self.contestant.name} does not answer. The end of its log:\n{log}")
            time.sleep(0.01)
        self.seconds = time.monotonic() - begin

    def _write_constant(self) -> None:
        log = f"{self.values['paths']['nginx_log']}/constant.access.log {self.values['names']['identifier']}"
        answer = workloads.CONSTANT.decode().strip()
        text = (
            f"server {{\n  listen 127.0.0.1:{self.rig.constant_port};\n  default_type application/json;\n"
            f"  location = /constant {{ return 200 '{answer}'; }}\n"
            f"  location = /constant/logged {{ access_log {log}; return 200 '{answer}'; }}\n}}\n"
        )
        # Read after the site's own file, which says what a line of the log looks like.
        write_file(Path(self.values["paths"]["nginx_conf"], "conf.d", "zz-constant.conf"), text)

    def stop(self) -> None:
        """End all of it; what does not end by itself in time is killed."""
        self._stop_nginx()
        if self.contestant.kind == "stack":
            local.down(self.values, lambda _: None)
        if self.process is not None:
            if self.process.poll() is None:
                self.process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(ENDS_WITHIN)
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _stop_nginx(self) -> None:
        """It may end at once: nobody waits for answers any more. The next one needs its ports."""
        pid = self.nginx.pid()
        self.nginx.stop(patience=1.0)
        deadline = time.monotonic() + ENDS_WITHIN
        while pid is not None and is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)

    def restart(self) -> None:
        """Start anew, so that what one workload left undone is not laid to the next."""
        self.stop()
        self.start()

    def pids(self) -> dict[str, list[int]]:
        """All processes by what they are: `server`, `nginx`, `database`."""
        server = self.process.pid if self.process is not None else None
        if self.contestant.kind == "stack":
            server = local.supervisord_pid(self.values)
        database = self.rig.database.process
        roots = {"server": server, "nginx": self.nginx.pid(), "database": database.pid if database else None}
        return {part: tree([root]) if root else [] for part, root in roots.items()}

    def memory(self) -> int:
        """PSS of all but the database, in bytes."""
        pids = self.pids()
        return pss([*pids["server"], *pids["nginx"]])

    def log_in(self, email: str, password: str) -> str:
        """An access token of somebody."""
        answer = self.must("/api/v1/auth/login", 200, {"email": email, "password": password})
        return str(answer["data"]["access_token"])

    def must(self, path: str, status: int, body: Any = None, token: str = "") -> Any:
        """Ask, and have the decoded answer.

        Raises:
            RigError: it has another status.
        """
        got, data = ask(self.url, path, body=body, token=token)
        if got != status:
            raise RigError(f"{self.contestant.name} answers {path} with {got}, not {status}: {data[:500]!r}")
        return json.loads(data)
