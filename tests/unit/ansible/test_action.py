"""stack_files on this side: what the survey has shown to be as it should be is not asked for again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Call
from .support import plugin

action = plugin("action/stack_files.py")
pytestmark = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="hands files to root")


@pytest.fixture
def arguments(call: Call, tmp_path: Path) -> dict[str, Any]:
    """What a task wants, and has."""
    wanted = {
        "directories": [{"path": f"{tmp_path}/d", "group": "daemon", "mode": "0750"}],
        "files": [
            {"path": f"{tmp_path}/d/plain", "content": "gr\u00fc\u00dfe\n"},
            {"path": f"{tmp_path}/d/owned", "content": "", "owner": "daemon", "mode": "0600"},
        ],
        "links": [{"path": f"{tmp_path}/link", "target": "d/plain"}],
        "absent": [f"{tmp_path}/gone"],
    }
    assert call("stack_files", **wanted)["changed"] is True
    return wanted


@pytest.fixture
def survey(call: Call, arguments: dict[str, Any]) -> Callable[[], Any]:
    """What the survey says of all these paths now."""
    items = arguments["directories"] + arguments["files"] + arguments["links"]
    paths = [item["path"] for item in items] + arguments["absent"]
    return lambda: call("stack_survey", unit="u.service", disk="/", files=paths)["survey"]["files"]


def test_what_is_as_it_should_be_is_not_asked_for_again(arguments: dict[str, Any], survey: Callable[[], Any]) -> None:
    assert action.as_wanted(arguments, survey())


def swap(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/null")


@pytest.mark.parametrize(
    "by_hand",
    [
        lambda folder: (folder / "d").chmod(0o755),
        lambda folder: os.chown(folder / "d", 0, 0),
        lambda folder: (folder / "d/plain").write_text("other\n"),
        lambda folder: (folder / "d/plain").chmod(0o664),
        lambda folder: os.chown(folder / "d/plain", 1, 0),
        lambda folder: os.chown(folder / "d/owned", 1, 0),
        lambda folder: (folder / "d/owned").unlink(),
        lambda folder: swap(folder / "d/plain"),
        lambda folder: swap(folder / "link"),
        lambda folder: (folder / "gone").touch(),
    ],
)
def test_what_was_changed_by_hand_is_mended_by_the_module(
    arguments: dict[str, Any], survey: Callable[[], Any], call: Call, tmp_path: Path, by_hand: Callable[[Path], None]
) -> None:
    by_hand(tmp_path)
    assert not action.as_wanted(arguments, survey())
    assert call("stack_files", **arguments)["changed"] is True
    assert action.as_wanted(arguments, survey())


def test_a_path_that_was_not_surveyed_is_asked_for(arguments: dict[str, Any], survey: Callable[[], Any]) -> None:
    known = survey()
    for path in list(known):
        less = {name: state for name, state in known.items() if name != path}
        assert not action.as_wanted(arguments, less), path
    assert not action.as_wanted(arguments, {})
