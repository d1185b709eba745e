"""The launcher: what a process is told, and where it writes."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.derive import settings
from deploy.launch import process_environment
from deploy.render import TREE
from deploy.stack import load

SPEAK = """
import sys
from deploy import launch
launch.JOURNAL = sys.argv[1]
launch.write_to_journal("api-8001-0")
print("to standard output", flush=True)
print("to standard error", file=sys.stderr, flush=True)
"""


def speak(journal: Path) -> subprocess.CompletedProcess[str]:
    """Start a process that hands itself to a journal and says something."""
    return subprocess.run(
        [sys.executable, "-c", SPEAK, str(journal)], cwd=TREE, capture_output=True, text=True, timeout=30, check=True
    )


def test_a_process_hands_itself_to_the_journal_under_its_name(tmp_path: Path) -> None:
    """The head is what systemd's own client sends: name, unit, priority, four switches (sd_journal_stream_fd(3))."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as journal:
        journal.bind(str(tmp_path / "stdout"))
        journal.listen()
        done = speak(tmp_path / "stdout")
        stream, _ = journal.accept()
        with stream, stream.makefile() as said:
            assert said.read() == "api-8001-0\n\n6\n0\n0\n0\n0\nto standard output\nto standard error\n"
    assert (done.stdout, done.stderr) == ("", "")


def test_without_a_journal_supervisor_goes_on_reading(tmp_path: Path) -> None:
    done = speak(tmp_path / "none")
    assert (done.stdout, done.stderr) == ("to standard output\n", "to standard error\n")


@pytest.mark.parametrize("process", ["api-8001-0", "command"])
def test_a_process_is_told_the_settings_its_name_and_the_app_and_nothing_else(tmp_path: Path, process: str) -> None:
    values = settings(load("host"))
    (tmp_path / "rendered").mkdir()
    (tmp_path / "rendered" / "settings.env").write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    told = process_environment(tmp_path, process, {"PATH": "/bin", "LANG": "C", "PORT": "80", "FLASK_APP": "another"})
    assert told == {
        **values,
        "PATH": "/bin",
        "LANG": "C",
        "APP_INSTANCE": process,
        "FLASK_APP": "cloudeye.wsgi:app",
        "FLASK_SKIP_DOTENV": "1",
        "PYTHONPATH": f"{tmp_path}/src",
        "PYTHONUNBUFFERED": "1",
    }
