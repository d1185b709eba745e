"""Which revisions a database lacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloudeye.services.readiness import heartbeat_age, known_revisions, missing_revisions

LINE = {"a": (), "b": ("a",), "c": ("b",)}
FORK = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


@pytest.mark.parametrize(
    ("needed", "heads", "missing"),
    [
        (LINE, {"c"}, set()),
        (LINE, {"b"}, {"c"}),
        (LINE, set(), {"a", "b", "c"}),
        (LINE, {"newer"}, set()),
        (FORK, {"d"}, set()),
        (FORK, {"b"}, {"c", "d"}),
        (FORK, {"b", "c"}, {"d"}),
        (FORK, {"b", "newer"}, set()),
    ],
)
def test_it_finds_what_a_database_lacks(needed: dict[str, tuple[str, ...]], heads: set[str], missing: set[str]) -> None:
    assert missing_revisions(needed, heads) == missing


def test_revisions_are_read_from_the_files(tmp_path: Path) -> None:
    (tmp_path / "1.py").write_text('revision = "a"\ndown_revision = None\n')
    (tmp_path / "2.py").write_text('import os\nrevision = "b"\ndown_revision = "a"\n')
    (tmp_path / "3.py").write_text('revision = "c"\ndown_revision = ("a", "b")\n')
    assert known_revisions(tmp_path) == {"a": (), "b": ("a",), "c": ("a", "b")}


def test_a_heartbeat_has_an_age_once_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    assert heartbeat_age(path) is None
    path.touch()
    os.utime(path, (0, 0))
    age = heartbeat_age(path)
    assert age is not None
    assert age > 1_000_000
