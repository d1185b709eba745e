"""The journal of a run: what is read back of one that was cut off, and that each kind of change can be taken back."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from deploy import journal
from deploy.journal import Change, Journal
from deploy.steps import ReleaseError, Run
from deploy.undo import KINDS

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
BEGIN = {
    "action": "release",
    "what": "one",
    "actor": "jürgen",
    "since": "now",
    "boot": "b",
    "engine": "/e",
    "before": "zero",
}


@pytest.fixture
def written(tmp_path: Path) -> Journal:
    return Journal.begin(tmp_path / "journal.jsonl", **BEGIN)


def run_of(written: Journal, taken_back: list[str]) -> Run:
    def undo(change: Change) -> None:
        if change.data["name"] == "stuck":
            raise ReleaseError("it does not move")
        taken_back.append(change.data["name"])

    run = Run(lambda _line: None, written)
    run.aim("one", undo)
    return run


def test_what_was_to_be_done_is_read_back(written: Journal) -> None:
    run = run_of(written, [])
    with run.step("roll"):
        run.will_change("pointer", "the first", name="a")
        run.will_change("pointer", "the second", name="b")
    found = journal.read(written.path)
    assert found is not None
    assert (found.actor, found.before, found.target, found.step) == ("jürgen", "zero", "one", "roll")
    assert [change.what for change in found.changes.values()] == ["the first", "the second"]
    assert not found.finishes


def test_what_was_taken_back_is_not_taken_back_again_but_what_could_not_be_is(written: Journal) -> None:
    taken_back: list[str] = []
    run = run_of(written, taken_back)
    for name in ("a", "stuck", "c"):
        run.will_change("pointer", name, name=name)
    assert run.take_back() == ["stuck: it does not move"]
    assert taken_back == ["c", "a"]
    found = journal.read(written.path)
    assert found is not None
    assert [change.what for change in found.changes.values()] == ["stuck"]


def test_it_is_finished_once_every_process_has_passed(written: Journal) -> None:
    run = run_of(written, [])
    run.will_change("current", "current", name="a")
    run.passed()
    found = journal.read(written.path)
    assert found is not None
    assert found.finishes
    assert found.changes
    run.settle()
    found = journal.read(written.path)
    assert found is not None
    assert found.finishes
    assert not found.changes


def test_what_is_being_taken_back_is_no_longer_finished(written: Journal) -> None:
    run = run_of(written, [])
    run.will_change("process", "stuck", name="stuck")
    run.passed()
    run.take_back()
    found = journal.read(written.path)
    assert found is not None
    assert not found.finishes
    assert len(found.changes) == 1


def test_a_line_that_a_power_cut_tore_announces_nothing_and_the_next_is_whole(written: Journal) -> None:
    run = run_of(written, [])
    run.will_change("pointer", "whole", name="a")
    run.will_change("pointer", "torn", name="b")
    written.path.write_bytes(written.path.read_bytes()[:-4])
    found = journal.read(written.path)
    assert found is not None
    assert [change.what for change in found.changes.values()] == ["whole"]
    written.note("undone", number=0)
    found = journal.read(written.path)
    assert found is not None
    assert not found.changes


@pytest.mark.parametrize("content", [b"", b'{"event": "beg'], ids=["empty", "torn"])
def test_a_journal_that_did_not_begin_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    assert journal.read(path) is None
    assert journal.read(tmp_path / "none") is None


def test_one_that_has_ended_leaves_none(written: Journal) -> None:
    written.close()
    assert not written.path.exists()


def test_each_kind_of_change_that_the_engine_makes_can_be_taken_back() -> None:
    importlib.import_module("deploy.release")
    kinds = {
        node.args[0].value
        for path in DEPLOY.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "will_change"
        if isinstance(node.args[0], ast.Constant)
    }
    assert {"process", "site", "group"} <= kinds
    assert kinds <= KINDS.keys()
