"""The plugin that keeps listening sockets open, inside a real supervisord."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.unix_http import supervisor_rpc
from tests.ports import free_port

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[3]

# Answers each connection with its pid; ends at once when told to, so that a group can become FATAL.
SERVER = """
import os, socket, sys
if os.path.exists(sys.argv[1]):
    sys.exit(1)
listener = socket.socket(fileno=0)
while True:
    connection, _ = listener.accept()
    connection.sendall(str(os.getpid()).encode())
    connection.close()
"""


class Supervised:
    """A supervisord with one fcgi group of two processes."""

    def __init__(self, folder: Path, *, plugin: bool, startsecs: int = 0, startretries: int = 3) -> None:
        self.port = free_port()
        self.broken = folder / "broken"
        self.socket = str(folder / "s.sock")
        (folder / "server.py").write_text(SERVER)
        section = "[rpcinterface:sockets]\nsupervisor.rpcinterface_factory=deploy.sockets:make_sockets_rpcinterface\n"
        (folder / "supervisord.conf").write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={folder}/log\npidfile={folder}/pid\n"
            f"[unix_http_server]\nfile={self.socket}\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"{section + 'release_seconds=1' if plugin else ''}\n"
            f"[fcgi-program:web]\nsocket=tcp://127.0.0.1:{self.port}\nnumprocs=2\n"
            f"process_name=%(program_name)s-%(process_num)d\nstartsecs={startsecs}\nautorestart=true\n"
            f"startretries={startretries}\ncommand={sys.executable} {folder}/server.py {self.broken}\n"
            "[program:stubborn]\ncommand=/bin/sh -c \"trap '' TERM; while :; do sleep 1; done\"\n"
            "stopwaitsecs=9\nkillasgroup=true\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(folder / "supervisord.conf")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )

    def rpc(self) -> Any:
        return supervisor_rpc(self.socket)

    def ask(self) -> int:
        """The pid that answers; raises ConnectionError when nobody listens."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            return int(connection.recv(100) or 0)

    def kill(self) -> None:
        """SIGKILL both processes of the group."""
        for row in self.rpc().supervisor.getAllProcessInfo():
            if row["group"] == "web":
                os.kill(row["pid"], signal.SIGKILL)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def eventually(claim: Callable[[], bool], *, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if claim():
                return True
        except OSError:
            pass
        time.sleep(0.1)
    return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def _start(**options: Any) -> Supervised:
        started.append(Supervised(tmp_path, **options))
        assert eventually(lambda: started[-1].ask() > 0), (tmp_path / "log").read_text()
        return started[-1]

    yield _start
    for supervised in started:
        supervised.end()


def test_a_connection_made_while_the_whole_group_restarts_is_answered(start: Callable[..., Supervised]) -> None:
    web = start(plugin=True)
    rpc = web.rpc()
    for _ in range(3):
        before = web.ask()
        rpc.supervisor.stopProcessGroup("web")
        waiting = socket.create_connection(("127.0.0.1", web.port), timeout=10)
        rpc.supervisor.startProcessGroup("web")
        assert int(waiting.recv(100)) not in (0, before)
        waiting.close()


def test_restart_all_keeps_a_port_open_however_long_another_group_takes_to_stop(
    start: Callable[..., Supervised],
) -> None:
    web = start(plugin=True)
    before = web.ask()
    web.rpc().supervisor.stopAllProcesses()
    waiting = socket.create_connection(("127.0.0.1", web.port), timeout=10)
    web.rpc().supervisor.startAllProcesses()
    assert int(waiting.recv(100)) not in (0, before)
    waiting.close()


def test_without_the_plugin_the_port_closes_when_the_group_stops(start: Callable[..., Supervised]) -> None:
    web = start(plugin=False)
    web.rpc().supervisor.stopProcessGroup("web")
    with pytest.raises(ConnectionRefusedError):
        web.ask()


def test_a_group_that_stays_stopped_gives_its_port_up(start: Callable[..., Supervised]) -> None:
    web = start(plugin=True)
    web.rpc().supervisor.stopProcessGroup("web")

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", web.port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False

    assert web.rpc().sockets.held() == ["web"]
    assert eventually(refused)
    assert web.rpc().sockets.held() == []
    web.rpc().supervisor.startProcessGroup("web")
    assert eventually(lambda: web.ask() > 0)
    assert web.rpc().sockets.held() == ["web"]


def test_a_group_that_is_fatal_gives_its_port_up(start: Callable[..., Supervised]) -> None:
    web = start(plugin=True, startsecs=1, startretries=0)
    assert eventually(lambda: all(row["statename"] == "RUNNING" for row in web.rpc().supervisor.getAllProcessInfo()))
    web.broken.touch()
    web.kill()
    assert eventually(lambda: web.rpc().sockets.held() == [])


def test_a_group_that_dies_at_every_start_gives_its_port_up(start: Callable[..., Supervised]) -> None:
    web = start(plugin=True, startsecs=1, startretries=1000)
    web.broken.touch()
    web.kill()
    assert eventually(lambda: web.rpc().sockets.held() == [])
    web.broken.unlink()
    assert eventually(lambda: web.rpc().sockets.held() == ["web"])


def test_a_removed_group_gives_its_port_up_at_once(start: Callable[..., Supervised]) -> None:
    web = start(plugin=True)
    rpc = web.rpc()
    rpc.supervisor.stopProcessGroup("web")
    rpc.supervisor.removeProcessGroup("web")
    with pytest.raises(ConnectionRefusedError):
        web.ask()
    rpc.supervisor.addProcessGroup("web")
    assert eventually(lambda: web.ask() > 0)


def states(web: Supervised, group: str = "web") -> list[tuple[str, int]]:
    rows = [row for row in web.rpc().supervisor.getAllProcessInfo() if row["group"] == group]
    return [(row["statename"], row["pid"]) for row in rows]


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_process_restarts_by_itself_whatever_becomes_of_who_asked(start: Callable[..., Supervised]) -> None:
    web = start(plugin=True)
    before = states(web)
    web.rpc().sockets.restart("web:web-0")
    assert eventually(lambda: states(web)[0][0] == "RUNNING" and states(web)[0] != before[0])
    assert states(web)[1] == before[1]


@pytest.mark.parametrize("name", ["web:web-7", "other:web-0", "web"])
def test_restarting_what_is_not_there_is_refused(start: Callable[..., Supervised], name: str) -> None:
    with pytest.raises(xmlrpc.client.Fault, match=f"BAD_NAME: {name}"):
        start(plugin=True).rpc().sockets.restart(name)


def test_restarting_what_is_stopped_is_refused_and_it_stays_stopped(start: Callable[..., Supervised]) -> None:
    web = start(plugin=True)
    web.rpc().supervisor.stopProcess("web:web-0")
    with pytest.raises(xmlrpc.client.Fault, match="NOT_RUNNING"):
        web.rpc().sockets.restart("web:web-0")
    assert states(web)[0][0] == "STOPPED"


def test_what_is_stopped_after_a_restart_stays_stopped(start: Callable[..., Supervised]) -> None:
    web = start(plugin=True)
    web.rpc().sockets.restart("web:web-0")
    assert eventually(lambda: states(web)[0][0] == "RUNNING")
    web.rpc().supervisor.stopProcess("web:web-0")
    time.sleep(1.5)  # supervisord looks at its processes each second
    assert states(web)[0][0] == "STOPPED"


def test_a_group_renews_itself_on_the_same_socket_whatever_becomes_of_who_asked(
    start: Callable[..., Supervised], tmp_path: Path
) -> None:
    web = start(plugin=True)
    before = states(web)
    path = tmp_path / "supervisord.conf"
    path.write_text(path.read_text().replace("numprocs=2", "numprocs=3"))
    assert web.rpc().supervisor.reloadConfig()[0] == [[], ["web"], []]
    # What is told to end may still take a connection on its way out. What has stopped takes none.
    for _, pid in before:
        os.kill(pid, signal.SIGSTOP)
    assert eventually(lambda: all(stopped(pid) for _, pid in before))
    waiting = socket.create_connection(("127.0.0.1", web.port), timeout=10)
    web.rpc().sockets.renew("web")
    for _, pid in before:
        os.kill(pid, signal.SIGKILL)
    assert int(waiting.recv(100)) not in {0, *(pid for _, pid in before)}
    waiting.close()
    assert eventually(lambda: [state for state, _ in states(web)] == ["RUNNING"] * 3)


def test_a_stopped_group_is_renewed_at_once(start: Callable[..., Supervised], tmp_path: Path) -> None:
    web = start(plugin=True)
    web.rpc().supervisor.stopProcessGroup("web")
    path = tmp_path / "supervisord.conf"
    path.write_text(path.read_text().replace("numprocs=2", "numprocs=1"))
    web.rpc().supervisor.reloadConfig()
    web.rpc().sockets.renew("web")
    assert eventually(lambda: [state for state, _ in states(web)] == ["RUNNING"])
