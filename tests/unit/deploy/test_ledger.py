"""The ledger: what was written fits together, and what was changed afterwards does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy import ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of four entries."""
    found = tmp_path / "ledger.jsonl"
    for number in range(4):
        ledger.append(found, {"number": number, "who": "jürgen"})
    return found


def test_what_was_written_is_read_and_fits_together(path: Path) -> None:
    found = ledger.read(path)
    assert [(entry["number"], entry["who"]) for entry in found.entries] == [(n, "jürgen") for n in range(4)]
    assert found.problems == []


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert ledger.read(tmp_path / "none") == ledger.Reading([], ledger.START, [])


def test_those_who_write_at_the_same_time_leave_lines_that_fit(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ledger.append(path, {"number": number}), range(4, 104)))
    found = ledger.read(path)
    assert (len(found.entries), found.problems) == (104, [])


def test_its_newest_hash_changes_with_every_entry(path: Path) -> None:
    before = ledger.read(path).head
    ledger.append(path, {"number": 4})
    assert ledger.read(path).head != before


def _edited(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace('"number": 1', '"number": 7'), *lines[2:]]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_edited, 3),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2),
        (lambda lines: [*lines, json.dumps({"number": 4, "before": ledger.START})], 5),
        (lambda lines: [*lines, "no entry"], 5),
    ],
    ids=["edited", "taken out", "first taken out", "twice", "in another order", "added by hand", "no entry added"],
)
def test_a_line_that_was_changed_fails_verification(
    path: Path, change: Callable[[list[str]], list[str]], line: int
) -> None:
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    problems = ledger.read(path).problems
    assert problems
    assert problems[0].startswith(f"line {line} ")


def test_what_a_power_cut_tore_is_named_and_then_carried_along(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])
    assert ledger.read(path).problems == ["line 4 is not finished: the host was cut off while it was written"]
    ledger.append(path, {"number": 4})
    found = ledger.read(path)
    assert ([entry["number"] for entry in found.entries], found.problems) == ([0, 1, 2, 4], [])


def test_it_does_not_follow_a_link_to_elsewhere(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError, match="link"):
        ledger.append(link, {"number": 4})
