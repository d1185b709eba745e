"""The benchmark runs, and counts what it says it counts. How fast anything is, is not tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.bench.figures import Grid, Lag, first_slot, schedule
from tests.bench.mix import Mix, page
from tests.bench.scale import main

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parent.parent.parent
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = 60


@pytest.fixture
def grid() -> Grid:
    return Grid(INTERVAL, BEGIN)


def at(grid: Grid, site: int, slot: int, late: float = 0.0) -> tuple[int, float]:
    """A result of a site, so late in one of its slots."""
    return site, grid.first(site) + slot * INTERVAL + late


@pytest.mark.parametrize("site", [1, 2, 12345])
def test_a_site_is_first_due_within_an_interval_of_the_beginning(site: int) -> None:
    assert timedelta() <= first_slot(site, INTERVAL, BEGIN) - BEGIN <= timedelta(seconds=INTERVAL)


def test_results_on_time_are_neither_late_nor_missed_nor_twice(grid: Grid) -> None:
    rows = [at(grid, site, slot) for site in range(1, 50) for slot in range(4)]
    start, end = grid.begin, grid.begin + 4 * INTERVAL
    kept = schedule(rows, grid, range(1, 50), start, end)
    assert (kept.probes, kept.missed, kept.twice) == (49 * 4, 0, 0)
    assert kept.lag.max < 0.001


def test_a_late_result_counts_in_its_slot_with_its_lag(grid: Grid) -> None:
    rows = [at(grid, 1, 0, 0.5), at(grid, 1, 1, 59.9), at(grid, 1, 2, 7)]
    kept = schedule(rows, grid, [1], grid.begin, grid.begin + 3 * INTERVAL)
    assert (kept.probes, kept.missed, kept.twice) == (3, 0, 0)
    assert (kept.lag.p50, kept.lag.max) == pytest.approx((7, 59.9), abs=0.001)


def test_a_slot_without_a_result_is_missed_and_one_with_two_is_twice(grid: Grid) -> None:
    rows = [at(grid, 1, 0), at(grid, 1, 2, 1), at(grid, 1, 2, 30), at(grid, 2, 0), at(grid, 2, 1)]
    kept = schedule(rows, grid, [1, 2, 3], grid.begin, grid.begin + 3 * INTERVAL)
    assert (kept.missed, kept.twice) == (5, 1)  # one of site 1, one of site 2, all three of site 3


def test_only_the_slots_of_the_time_asked_for_count(grid: Grid) -> None:
    rows = [at(grid, 1, slot, 1) for slot in range(10)]
    start = grid.first(1) + 3 * INTERVAL
    assert schedule(rows, grid, [1], start, start + 2 * INTERVAL).probes == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], (0, 0, 0, 0)), ([3.0], (3, 3, 3, 3)), ([float(n) for n in range(100)], (50, 95, 99, 99))],
)
def test_percentiles_are_of_the_nearest_rank(values: list[float], expected: tuple[float, ...]) -> None:
    lag = Lag.of(values)
    assert (lag.p50, lag.p95, lag.p99, lag.max) == expected


def test_the_mix_gives_each_kind_its_share_and_each_site_its_kind_for_ever() -> None:
    mix = Mix()
    kinds = [mix.behaviour(number) for number in range(20_000)]
    for kind in ("moving", "edited", "slow", "refused", "silent"):
        assert kinds.count(kind) / len(kinds) == pytest.approx(getattr(mix, kind), rel=0.2)
    assert kinds == [Mix().behaviour(number) for number in range(20_000)]
    urls = [mix.url(number, {"http": 1, "https": 2}) for number in range(20_000)]
    assert sum(url.startswith("https://") for url in urls) / len(urls) == pytest.approx(mix.tls, rel=0.05)


@pytest.mark.parametrize(("kind", "differs"), [("same", False), ("moving", True), ("edited", True)])
def test_only_pages_that_are_to_differ_do(kind: str, differs: bool) -> None:
    first, second = page(7, kind, 0, "today"), page(7, kind, 1, "today")
    assert (first != second) is differs
    assert 15_000 < len(first) < 30_000
    assert page(8, kind, 0, "today") != first


def test_help_teaches_and_nonsense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "python -m tests.bench scale --sites 500 --minutes 1" in capsys.readouterr().out
    with pytest.raises(SystemExit) as refused:
        main(["everything"])
    assert refused.value.code == 2


def bench(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a small benchmark whose files lie in the folder."""
    command = [sys.executable, "-m", "tests.bench", "scale", "--json", "--engine", "sqlite", "--sites", "40"]
    command += ["--interval", "3", "--set", "sync.minimum_interval=1", "--set", "sync.read_timeout=1"]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def started_for(folder: Path) -> list[int]:
    """The processes that were told of the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:  # it has just ended
            continue
        if str(folder).encode() in told:
            found.append(int(entry.name))
    return found


def test_it_runs_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with bench(tmp_path, "--minutes", "0.05") as process:
        out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    (run,) = json.loads(out)["runs"]
    assert run["schedule"]["probes"] + run["schedule"]["missed"] >= 40
    assert run["schedule"]["probes"] > 0
    assert run["schedule"]["twice"] == 0
    assert run["cpu"] > 0
    assert run["peak"] >= run["rss"][0] > 10e6
    assert run["complaints"] == []
    assert started_for(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_it_ends_all_it_started_when_it_is_ended_itself(tmp_path: Path) -> None:
    with bench(tmp_path, "--minutes", "10") as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*/sync.heartbeat")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert len(started_for(tmp_path)) >= 3  # itself, the sites, sync
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert started_for(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
