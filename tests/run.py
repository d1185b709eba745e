"""Run the test stages in order and stop at the first that breaks: what `make test` and `make prove` call.

    python -m tests.run [--full] [STAGE ...]

Each stage prints its own output and its seconds; the last lines are line and branch coverage of the unit and template
stages, held against tests/coverage-floor.json, which may rise and never falls.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
FLOOR = ROOT / "tests" / "coverage-floor.json"
SLOWEST = 15  # tests that each stage names with their seconds
WORKERS = min(8, 2 * (os.cpu_count() or 1))  # of pytest: most tests wait for processes more than they compute


def run(*command: str) -> bool:
    """Run one command in the checkout; say whether it ended well."""
    print(f"$ {' '.join(command)}", flush=True)
    # The tests start processes by the thousand, of which each would compile this tree anew.
    own = {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **own}, check=False).returncode == 0


def pytest(*arguments: str, full: bool, covered: tuple[str, ...] | None = None) -> bool:
    """Run pytest over some folders, under coverage where its options are given: () are those of pyproject.toml."""
    coverage = ["-m", "coverage", "run", *covered] if covered is not None else []
    extra = ["--full"] if full else []
    return run(str(BIN / "python"), *coverage, "-m", "pytest", "-q", f"--durations={SLOWEST}", *extra, *arguments)


def side_by_side(*arguments: str, full: bool, workers: int = WORKERS, covered: tuple[str, ...] | None = None) -> bool:
    """Run pytest over some folders with several workers.

    A file is one worker's: its tests share what was started for them, and ports that are fixed.
    """
    spread = ("-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder")
    return pytest(*spread, *arguments, full=full, covered=covered)


def lint(full: bool) -> bool:
    """Every linter, over everything."""
    scripts = subprocess.run(
        ["git", "ls-files", "*.sh", ".ci/run"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return (
        run("ruff", "check", ".")
        and run("ruff", "format", "--check", ".")
        and run("mypy")
        and run("yamllint", "--strict", ".")
        and run("shellcheck", *scripts.stdout.split())
        and run("sh", "-c", "cd ansible && ansible-lint --offline --strict")
    )


def hosts(full: bool) -> bool:
    """Bare hosts made on this machine; where none can be booted, a failure in CI and a skip elsewhere."""
    from tests.hosts.machine import can_boot_hosts

    reason = can_boot_hosts()
    if reason and os.environ.get("CI"):
        print(f"hosts: this machine cannot boot them: {reason}")
        return False
    if reason:
        print(f"hosts: SKIPPED, this machine cannot boot them: {reason}")
        return True
    return side_by_side("tests/hosts", full=full, workers=2)


def unit(full: bool) -> bool:
    """What calls the code itself; then what takes long; then what must have the machine for itself.

    Where coverage knows of gevent it makes a greenlet in each thread, and where those end by the dozen, as the tests'
    clients do, CPython 3.11 may go round in circles for ever: a frame that is traced while greenlets of ended threads
    are destroyed never gets past its first instruction.
    """
    return (
        side_by_side("-m", "not long and not alone", "tests/unit", full=full, covered=())
        and side_by_side("-m", "long and not alone", "tests/unit/deploy", full=full, covered=("--concurrency=thread",))
        and side_by_side("-m", "long and not alone", "tests/unit/cloudeye", full=full)
        and pytest("-m", "alone", "tests/unit", full=full)
    )


def integration(full: bool) -> bool:
    """Against a real MariaDB; what must have the machine for itself comes last."""
    return side_by_side("-m", "not alone", "tests/integration", full=full) and pytest(
        "-m", "alone", "tests/integration", full=full
    )


STAGES: dict[str, Callable[[bool], bool]] = {
    "lint": lint,
    "unit": unit,
    "templates": lambda full: side_by_side("tests/templates", full=full, workers=2, covered=()),
    "integration": integration,
    "stack": lambda full: pytest("tests/stack", full=full),
    "hosts": hosts,
}


def coverage_holds() -> bool:
    """Print line and branch coverage; say whether neither is below the floor."""
    run("coverage", "combine", "--quiet")
    run("coverage", "report", "--sort=cover")
    report = ROOT / ".coverage.json"
    if not run("coverage", "json", "--quiet", "-o", str(report)):
        return False
    totals = json.loads(report.read_text("utf-8"))["totals"]
    measured = {
        "lines": 100 * totals["covered_lines"] / totals["num_statements"],
        "branches": 100 * totals["covered_branches"] / totals["num_branches"],
    }
    holds = True
    for kind, floor in json.loads(FLOOR.read_text("utf-8")).items():
        print(f"{kind}: {measured[kind]:.1f} % (floor {floor} %)")
        holds &= measured[kind] >= floor
    return holds


def main() -> int:
    """Run the stages that were named, or all; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", help=f"some of: {', '.join(STAGES)}; all when none is named")
    parser.add_argument("--full", action="store_true", help="every proof in full")
    args = parser.parse_args()
    unknown = set(args.stages) - set(STAGES)
    if unknown:
        parser.error(f"no stage {', '.join(sorted(unknown))}: they are {', '.join(STAGES)}")
    run("coverage", "erase")
    for name in args.stages or STAGES:
        print(f"\n=== {name}", flush=True)
        begin = time.monotonic()
        if not STAGES[name](args.full):
            print(f"=== {name} FAILED after {time.monotonic() - begin:.0f} s; the later stages were not run")
            return 1
        print(f"=== {name} passed in {time.monotonic() - begin:.0f} s", flush=True)
    if not args.stages and not coverage_holds():
        print("=== coverage FAILED: it fell below tests/coverage-floor.json")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
