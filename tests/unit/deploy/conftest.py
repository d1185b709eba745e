"""One host in a folder for all tests of releases: its virtual environment is built once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.deploy.bench import BESIDE, Bench
from tests.unit.deploy.killing import Killer


@pytest.fixture(scope="session")
def host() -> Iterator[Bench]:
    """A provisioned host with a first release; its folder is short enough for unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="stack-", dir="/tmp"))
    bench = Bench(folder)
    try:
        bench.make_repository()
        bench.provision()
        bench.start()
        assert bench.first is not None
        source = bench.unpack(bench.first)
        # As Ansible calls it: the engine of the incoming release, in a process of its own.
        result = bench.command("release", str(source), "--account", "root", "--json", engine=source)
        assert result.returncode == 0, result.stderr
        bench.first_said = result.stdout
        yield bench
    finally:
        bench.stop()
        shutil.rmtree(folder)


@pytest.fixture
def bench(host: Bench) -> Bench:
    """The host with one healthy release or other, rendered from the values that all tests start from."""
    host.tidy()
    return host


@pytest.fixture
def fresh(host: Bench) -> Bench:
    """The host as it was after its first release."""
    host.settle()
    return host


@pytest.fixture
def bare(host: Bench) -> Iterator[Bench]:
    """Another host, beside the first one, that nothing has been released to; the archives are the first one's."""
    bench = Bench(Path(tempfile.mkdtemp(prefix="stack-", dir="/tmp")), BESIDE)
    bench.repository, bench.first = host.repository, host.first
    try:
        bench.provision()
        bench.start()
        yield bench
    finally:
        bench.stop()
        shutil.rmtree(bench.folder)


@pytest.fixture
def killer(bench: Bench, tmp_path: Path) -> Killer:
    return Killer(bench, tmp_path)
