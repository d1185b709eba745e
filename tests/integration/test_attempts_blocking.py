"""Counting an attempt never holds gevent's hub, wherever it is counted and whatever it has to wait for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration import cache_server
from tests.integration.world import World
from tests.ports import free_port

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parents[2]


def count_in_hub(settings: dict[str, str], cache_pid: int = 0) -> str:
    """Run the script and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.counting_in_hub", str(cache_pid)],
        env={**os.environ, **settings, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def test_counting_waits_for_a_row_of_the_database_in_the_hub(world: World) -> None:
    assert count_in_hub(dict(world.settings)) == "2 TableCounters after a wait"


def test_counting_waits_for_the_cache_in_the_hub(world: World, tmp_path: Path) -> None:
    with cache_server.CacheServer(tmp_path, free_port()) as server:
        assert server.process is not None
        answer = count_in_hub({**world.settings, "APP_CACHE_URL": server.url}, server.process.pid)
    assert answer == "2 CacheCounters after a wait"
