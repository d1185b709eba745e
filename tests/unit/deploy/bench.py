"""A host in a folder: a small application in a git tree of its own, and what provisioning leaves behind.

Everything is real (git, pip, supervisord with its plugin, gunicorn, nginx); only the account is whoever runs the
tests, and the tests rather than systemd start nginx and supervisord.
"""

from __future__ import annotations

import copy
import grp
import http.client
import io
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import yaml

from deploy import build, cli, health, local, sections
from deploy.nginx import Nginx
from deploy.render import TREE, render, render_template, write, write_file
from deploy.stack import Layer, load

HTTP, PORTS = 21300, [21301, 21302]
# Workers of pytest that run at the same time listen on the same ports of different loopback addresses.
WORKER = 11 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
ADDRESS, BESIDE = f"127.0.0.{WORKER}", f"127.0.1.{WORKER}"
NEEDED = (
    *("blinker", "click", "flask", "gevent", "greenlet", "gunicorn", "itsdangerous"),
    *("jinja2", "markupsafe", "packaging", "werkzeug", "zope-event", "zope-interface"),
)
OURS = ("deploy", "nginx", "supervisor", "systemd", "gunicorn.conf.py")


class Bench:
    """One stack called `hello` below a short folder."""

    def __init__(self, folder: Path, address: str = ADDRESS) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.root = folder / "opt"
        self.config = folder / "etc" / "stack.yml"
        self.values: dict[str, Any] = {
            "stack": {"name": "hello", "environment": "test", "ops_group": grp.getgrgid(os.getgid()).gr_name},
            "app": {"module": "hello", "wsgi": "hello.wsgi:app", "sync": "hello.sync"},
            "api": {"ports": PORTS, "instances": 1, "bind": address},
            "sync": {"heartbeat_seconds": 1, "connect_timeout": 1, "read_timeout": 1, "total_timeout": 2},
            "timeouts": {"startsecs": 1, "health": 15, "upstream_keepalive": 1, "graceful": 4, "stopwait": 6},
            "nginx": {"started_by": "stack", "listen": [address], "http_port": HTTP, "rate": 0},
            "database": {"engine": "sqlite"},
            "limits": {"disk_mb": 60},
            "releases": {"keep": 3, "smoke": ["/ping", "/readyz"], "watch_seconds": 0},
            "paths": {name: str(folder / name) for name in ("etc", "log", "data", "run", "nginx_log", "nginx_cache")},
        }
        self.values["nginx"]["user"] = "root" if os.geteuid() == 0 else ""
        self.values["paths"].update(root=str(self.root), secrets=str(folder / "etc" / "secrets"))
        self.values["paths"]["nginx_conf"] = str(folder / "etc" / "nginx")
        self.first_values = copy.deepcopy(self.values)
        self.first: build.Built | None = None
        self.first_said = ""

    # What somebody else has done before a release: the repository, and provisioning.

    def make_repository(self) -> None:
        self.repository.mkdir(parents=True)
        for name in OURS:
            source = TREE / name
            if source.is_dir():
                shutil.copytree(source, self.repository / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, self.repository / name)
        shutil.copytree(
            Path(__file__).parent / "hello",
            self.repository / "src" / "hello",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        write_file(self.repository / "pyproject.toml", '[project]\nname = "hello"\nversion = "1.0"\n')
        write_file(self.repository / ".gitignore", "dist/\n__pycache__/\n")
        write_file(self.repository / "requirements" / "app.txt", small_lock())
        self.git("init", "--quiet")
        self.commit("first")
        self.git("tag", "start")
        self.first = self.build()

    def git(self, *arguments: str) -> str:
        who = {
            f"GIT_{role}_{key}": "tester@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
        }
        return subprocess.run(
            ["git", "-C", str(self.repository), *arguments],
            env={**os.environ, **who},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def provision(self) -> None:
        for name in ("etc", "log", "data", "run", "nginx_log", "secrets", "root"):
            Path(self.values["paths"][name]).mkdir(parents=True, exist_ok=True)
        for name in ("secret_key", "admin_password"):
            write_file(Path(self.values["paths"]["secrets"], name), secrets.token_hex(24) + "\n", mode=0o600)
        self.write_config()
        (self.root / "supervisor").symlink_to(sys.prefix)
        stack = self.stack()
        files = render(stack, "system", tree=TREE)
        # A host's socket belongs to the stack's account, which a folder does not have.
        config = render_template({**stack, "profile": "test"}, "supervisor/supervisord.conf.j2")
        write({**files, Path(stack["supervisor"]["config"]): config})
        sections.install_plugin(stack, TREE)

    def write_config(self) -> None:
        write_file(self.config, yaml.safe_dump(self.values))

    def stack(self) -> dict[str, Any]:
        return load("host", layers=[Layer(str(self.config), self.values)])

    def start(self) -> None:
        """Start supervisord with its plugin, and nginx; neither has anything to serve yet."""
        stack = self.stack()
        subprocess.run(
            [f"{stack['supervisor']['venv']}/bin/supervisord", "-c", stack["supervisor"]["config"]],
            env={**os.environ, "PYTHONPATH": stack["supervisor"]["plugin"]},
            stdin=subprocess.DEVNULL,
            check=True,
        )
        Nginx(stack).load()

    def strip(self) -> None:
        """Take away all that releases have left, and provision anew; the repository must lie elsewhere."""
        self.stop()
        shutil.rmtree(self.folder)
        self.provision()
        self.start()

    def stop(self) -> None:
        stack = self.stack()
        Nginx(stack).stop()
        pid = local.supervisord_pid(stack)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            while local.supervisord_pid(stack) is not None:
                time.sleep(0.05)

    # What the tests do.

    def build(self) -> build.Built:
        return build.build(self.repository)

    def unpack(self, built: build.Built) -> Path:
        folder = self.root / "incoming" / built.id
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        subprocess.run(["tar", "-xzf", built.path, "-C", str(folder)], check=True)
        return folder

    def variant(self, name: str, text: str, message: str = "change") -> build.Built:
        """Commit one file of the repository anew and build that."""
        write_file(self.repository / name, text)
        self.commit(message)
        return self.build()

    def command(self, *arguments: str, engine: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(*arguments), env=self.environment(engine), capture_output=True, text=True, timeout=300
        )

    def line(self, *arguments: str) -> list[str]:
        name, *rest = arguments
        return [
            f"{self.root}/supervisor/bin/python",
            "-P",
            "-m",
            "deploy.cli",
            name,
            "--config",
            str(self.config),
            *rest,
        ]

    def environment(self, engine: Path | None = None) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(engine or self.root / "current")}

    def stack_command(self, *arguments: str) -> dict[str, Any]:
        """Run a command of `stack` in this process; return its JSON, exit status and standard error."""
        output, errors = io.StringIO(), io.StringIO()
        name, *rest = arguments
        with redirect_stdout(output), redirect_stderr(errors):
            status = cli.main([name, "--config", str(self.config), "--account", "root", "--json", *rest])
        lines = output.getvalue().splitlines()
        assert len(lines) == 1, f"{lines}\n{errors.getvalue()}"
        return {**json.loads(lines[0]), "status": status, "stderr": errors.getvalue()}

    def release(self, built: build.Built, *options: str) -> dict[str, Any]:
        """Unpack and release; return what the engine says."""
        return self.stack_command("release", str(self.unpack(built)), *options)

    def tidy(self) -> None:
        """Bring back the files and values that the tests start from; whichever release is served may stay."""
        rendered = [
            {**values, "timeouts": {**values["timeouts"], "health": 0}} for values in (self.values, self.first_values)
        ]
        self.values = copy.deepcopy(self.first_values)
        self.write_config()
        self.git("reset", "--quiet", "--hard", "start")
        self.git("clean", "--quiet", "-fd")
        rows = health.check(self.stack())
        if (
            rendered[0] != rendered[1]
            or not all(row.healthy for row in rows)
            or len({*self.pointers(), self.current()}) > 1
        ):
            self.settle()

    def settle(self) -> None:
        """Bring everything back to what the tests start from, the first release included."""
        self.values = copy.deepcopy(self.first_values)
        self.write_config()
        self.git("reset", "--quiet", "--hard", "start")
        self.git("clean", "--quiet", "-fd")
        assert self.first is not None
        said = self.release(self.first)
        assert said["status"] == 0, said["stderr"]

    def serving(self) -> dict[str, str]:
        """The release that each process says it serves, asked of the process itself."""
        rows = health.check(self.stack())
        assert all(row.healthy for row in rows), rows
        return {row.name: row.release for row in rows if row.name != "nginx"}

    def edit(self, name: str, before: str, after: str) -> build.Built:
        """Commit a file of the repository with some of its text replaced, and build that."""
        text = (self.repository / name).read_text("utf-8")
        assert before in text
        return self.variant(name, text.replace(before, after))

    def recorded(self) -> list[dict[str, Any]]:
        """The record of the runs on this host."""
        return [json.loads(line) for line in (self.root / "ledger.jsonl").read_text("utf-8").splitlines()]

    def pointers(self) -> set[str]:
        return {path.resolve().name for path in (self.root / "instances").iterdir()}

    def current(self) -> str:
        return (self.root / "current").resolve().name


def small_lock() -> str:
    """Of the lock file, what the small application needs, with its hashes."""
    text = (TREE / "requirements" / "app.txt").read_text("utf-8")
    blocks = re.findall(r"^[a-z][^\n\\]*(?:\\\n[^\n\\]*)+", text, flags=re.MULTILINE)
    wanted = [block for block in blocks if re.split("==", block)[0] in NEEDED]
    assert len(wanted) == len(NEEDED)
    return "".join(f"{block}\n" for block in wanted)


class Client:
    """Sends GET and POST through nginx, and counts the answers.

    Connections stay open unless told otherwise. An nginx that is reloaded closes connections that happen to be idle
    without a word, so where its site changes each request has a connection of its own.
    """

    def __init__(self, threads: int = 3, *, keep_alive: bool = True, address: str = ADDRESS) -> None:
        self._keep_alive = keep_alive
        self._address = address
        self.answers: Counter[str] = Counter()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(threads)]

    def __enter__(self) -> Client:
        for thread in self._threads:
            thread.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        connection = http.client.HTTPConnection(self._address, HTTP, timeout=20)
        while not self._end.is_set():
            for method, path, body in (("GET", "/ping", None), ("POST", "/notes", b"x" * 500)):
                try:
                    connection.request(method, path, body)
                    answer = connection.getresponse()
                    answer.read()
                    self.answers[str(answer.status)] += 1
                except (OSError, http.client.HTTPException) as error:
                    self.answers[type(error).__name__] += 1
                    connection.close()
                if not self._keep_alive:
                    connection.close()
            time.sleep(0.002)
        connection.close()
