"""On what it was measured: the machine, and the versions of all that took part."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from deploy.stack import load
from tests.bench.requests.rig import Rig

PACKAGES = (
    "Flask", "SQLAlchemy", "mysqlclient", "gunicorn", "gunicorn-h1c", "gevent", "PyMySQL", "uWSGI", "granian",
    "fastapi", "uvicorn", "uvloop", "httptools", "asyncmy",
)  # fmt: skip
VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""
SYNCS = 50


def facts(rig: Rig) -> dict[str, Any]:
    """What the figures depend on; `fsync_ms` is how long the disk takes to be sure of 4 kB (fsync(2)), the median."""
    told = _said(str(rig.venv / "bin" / "python"), "-c", VERSIONS, *PACKAGES)
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nginx": _said(load("host")["nginx"]["binary"], "-v").rpartition("/")[2],
        "mariadb": str(rig.database.run("SELECT VERSION()")[0][0]),
        "wrk": _said("wrk", "-v").partition(" [")[0].removeprefix("wrk "),
        "fsync_ms": round(_fsync(rig.folder) * 1000, 2),
        "load_before": round(os.getloadavg()[0], 2),
        "packages": json.loads(told),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _said(*command: str) -> str:
    """What a command says, wherever it says it; wrk and nginx name their version beside a status of their own."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return (done.stdout.strip() or done.stderr.strip()).partition("\n")[0]


def _fsync(folder: Path) -> float:
    seconds = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(SYNCS):
            file.write(b"x" * 4096)
            file.flush()
            begin = time.perf_counter()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)
