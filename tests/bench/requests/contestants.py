"""What a user could serve the application by, each started as its own documentation says.

All but one serve the same app object (wsgi.py); that one is the same endpoints rewritten (fastapi_app.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

WSGI = "tests.bench.requests.wsgi:app"
FASTAPI = "tests.bench.requests.fastapi_app:app"
CONNECTIONS = 200  # to the database, shared by a contestant's processes
THREADS = 32
BACKLOG = 2048  # as gunicorn.conf.py has it

Command = Callable[[Path, int], list[str]]  # of the release and the port


@dataclass(frozen=True)
class Contestant:
    """One of them.

    `kind` is `stack` (this stack, under supervisord), `gunicorn`, `uwsgi` or `granian` (the same app object), `rewrite`
    or `limit` (nginx alone). `driver` names what wsgi.py connects to the database with.
    """

    name: str
    title: str
    kind: str
    processes: int = 0  # as far as it is not the stack's own layout
    driver: str = "own"
    command: Command | None = None

    @property
    def same_app(self) -> bool:
        """Whether it serves the same app object as this stack, by other means."""
        return self.kind in ("gunicorn", "uwsgi", "granian")


def _gunicorn(workers: int, *arguments: str) -> Command:
    def command(release: Path, port: int) -> list[str]:
        # The command line wins over the file, in which one instance has one worker (gunicorn's docs, "Configuration").
        settings = ["-c", str(release / "gunicorn.conf.py"), "-b", f"127.0.0.1:{port}", "-w", str(workers)]
        return [str(release / "venv/bin/python"), "-m", "gunicorn", *settings, *arguments, WSGI]

    return command


def _uwsgi(release: Path, port: int) -> list[str]:
    # With http11-socket, which keeps connections, a thread waits for the next request of its connection while others
    # have requests: unbit/uwsgi #2019 and #2038. http-socket hangs up after each answer, and has to say so.
    return [
        str(release / "venv/bin/uwsgi"), "--http-socket", f"127.0.0.1:{port}", "--add-header", "Connection: close",
        "--master", "--processes", "2",
        "--threads", str(THREADS), "--listen", str(BACKLOG), "--buffer-size", "16384", "--virtualenv",
        str(release / "venv"), "--module", WSGI, "--need-app", "--lazy-apps", "--die-on-term",
    ]  # fmt: skip


def _granian(release: Path, port: int) -> list[str]:
    return [
        str(release / "venv/bin/granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "2", "--blocking-threads", str(THREADS), "--backlog", str(BACKLOG), "--access-log", WSGI,
    ]  # fmt: skip


def _uvicorn(release: Path, port: int) -> list[str]:
    return [
        str(release / "venv/bin/python"), "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--workers", "2",
        "--loop", "uvloop", "--http", "httptools", "--backlog", str(BACKLOG), "--timeout-keep-alive", "75", FASTAPI,
    ]  # fmt: skip


STACK, LIMIT, REWRITE = "stack", "limit", "fastapi"
CONTESTANTS = (
    Contestant(STACK, "this stack", "stack"),
    Contestant("sync", "gunicorn sync x 4", "gunicorn", 4, "plain", _gunicorn(4, "-k", "sync")),
    Contestant(
        "gthread",
        f"gunicorn gthread 2 x {THREADS}",
        "gunicorn",
        2,
        "plain",
        _gunicorn(2, "-k", "gthread", "--threads", str(THREADS)),
    ),
    Contestant(
        "gevent", "gunicorn gevent x 2, stock mysqlclient", "gunicorn", 2, "plain", _gunicorn(2, "-k", "gevent")
    ),
    Contestant(
        "gevent-pymysql", "gunicorn gevent x 2, PyMySQL", "gunicorn", 2, "pymysql", _gunicorn(2, "-k", "gevent")
    ),
    Contestant("uwsgi", f"uWSGI 2 x {THREADS}", "uwsgi", 2, "plain", _uwsgi),
    Contestant("granian", f"granian 2 x {THREADS}", "granian", 2, "plain", _granian),
    Contestant(REWRITE, "FastAPI, asyncmy, uvicorn x 2", "rewrite", 2, command=_uvicorn),
    Contestant(LIMIT, "nginx alone", "limit"),
)
