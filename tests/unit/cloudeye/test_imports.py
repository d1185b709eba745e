"""What a process loads: each megabyte is there once for every instance."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cloudeye

SERVING = "import cloudeye.wsgi"
SYNC = "import cloudeye.config, cloudeye.db, cloudeye.logs, cloudeye.services.mail, cloudeye.sync.loop"


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        (SERVING, "alembic"),
        (SERVING, "flask_migrate"),
        (SERVING, "MySQLdb"),
        (SERVING, "lxml"),
        (SERVING, "cloudeye.sync"),
        (SYNC, "flask"),
        (SYNC, "marshmallow"),
        (SYNC, "cloudeye.api"),
        (SYNC, "babel"),
        (SYNC, "jinja2"),
    ],
)
def test_a_process_does_not_load_what_it_does_not_use(settings: dict[str, str], code: str, unwanted: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint({unwanted!r} in sys.modules)"],
        env={
            **os.environ,
            **settings,
            "PYTHONPATH": os.pathsep.join([str(Path(cloudeye.__file__).parents[1]), *sys.path]),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["False"]
