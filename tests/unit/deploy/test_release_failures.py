"""What goes wrong on one host beside the release's own code: each leaves the old release, serving throughout."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.instances import Supervisor
from deploy.ledger import read
from deploy.procfs import command_line
from tests.unit.deploy.bench import Bench, Client
from tests.unit.deploy.mounts import releases_on, used
from tests.unit.deploy.releasing import failed, served_by, start, wait_for_line

pytestmark = pytest.mark.long

SPARE = 64 * 1024**2


@pytest.fixture
def small(bench: Bench) -> Iterator[Bench]:
    """The host with its releases on a file system of their own that has little room; mounting is root's."""
    size = used(bench.root) + SPARE
    with releases_on(bench, "-t", "tmpfs", "-o", f"size={size}", "none"):
        yield bench


def fill(folder: Path) -> Path:
    """Take all the room that a file system has, also while somebody else takes some."""
    path = folder / "filler"
    with path.open("wb") as file:
        while free := shutil.disk_usage(folder).free:
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)
    return path


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="mounts a file system")
@pytest.mark.parametrize("step", ["preflight", "unpack"])
def test_a_disk_that_is_full_or_fills_while_unpacking_changes_nothing(small: Bench, step: str) -> None:
    old, releases = small.current(), sorted(os.listdir(small.root / "releases"))
    folder = small.unpack(small.edit("src/hello/wsgi.py", "pong!", f"pong {step}!"))
    if step == "preflight":
        filler = fill(small.root)
        with filler.open("r+b") as file:
            file.truncate(filler.stat().st_size - 1024**2)  # some room, and not enough
    with Client() as client:
        engine = start(small, "release", str(folder))
        if step == "unpack":
            wait_for_line(engine, "preflight")
            filler = fill(small.root)
        output, progress = engine.communicate()
    filler.unlink()
    said = json.loads(output)
    assert (engine.returncode, said["step"], said["changed"]) == (1, step, False), progress
    assert ("MiB free" if step == "preflight" else os.strerror(28)) in said["message"]
    assert sorted(os.listdir(small.root / "releases")) == releases
    assert failed(client) == {}
    assert served_by(small, old)
    assert small.command("resume", "--account", "root").returncode == 0
    assert read(small.root / "ledger.jsonl").problems == []


@pytest.mark.parametrize("where", [0.01, 0.4, 0.9, 1.0], ids=lambda share: f"at {share:.0%}")
def test_an_archive_with_a_flipped_byte_is_refused(bench: Bench, tmp_path: Path, where: float) -> None:
    old = bench.current()
    content = bytearray(Path(bench.edit("src/hello/wsgi.py", "pong!", "pong f!").path).read_bytes())
    content[min(int(len(content) * where), len(content) - 6)] ^= 0x10
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(content)
    incoming = sorted(os.listdir(bench.root / "incoming"))
    result = bench.command("release", str(damaged), "--account", "root", "--json")
    assert result.returncode == 1, result.stderr
    assert f"{damaged} " in json.loads(result.stdout)["message"]
    assert sorted(os.listdir(bench.root / "incoming")) == incoming
    assert served_by(bench, old)


def master(bench: Bench, name: str, release: str) -> int:
    """The pid of an instance that boots or runs on a release; 0 when there is none."""
    pid = int(Supervisor(bench.stack()).table()[name]["pid"])
    return pid if f"/releases/{release}/" in command_line(pid) else 0


def test_an_instance_that_is_killed_whenever_it_starts_takes_the_release_back(bench: Bench) -> None:
    bench.values["timeouts"]["health"] = 6
    bench.write_config()
    old = bench.current()
    folder = bench.unpack(bench.edit("src/hello/wsgi.py", "pong!", "pong i!"))
    ended = threading.Event()
    killed = []

    def kill() -> None:
        while not ended.wait(0.02):
            if pid := master(bench, "api-21302-0", folder.name):
                with contextlib.suppress(ProcessLookupError):  # supervisor was quicker
                    os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kill)
    with Client() as client:
        killer.start()
        said = bench.stack_command("release", str(folder))
        ended.set()
        killer.join()
    assert killed
    assert (said["step"], said["instance"]) == ("roll", "api-21302-0")
    assert failed(client) == {}
    assert served_by(bench, old)


def test_an_instance_killed_after_it_was_moved_comes_back_before_the_release_is_current(bench: Bench) -> None:
    folder = bench.unpack(bench.edit("src/hello/wsgi.py", "pong!", "pong c!"))
    engine = start(bench, "release", str(folder))
    wait_for_line(engine, "sync: ")
    pid = master(bench, "api-21301-0", folder.name)
    os.kill(pid, signal.SIGKILL)
    output, progress = engine.communicate()
    assert engine.returncode == 0, progress
    assert json.loads(output)["release"] == folder.name
    assert served_by(bench, folder.name)
    assert master(bench, "api-21301-0", folder.name) not in (0, pid)
