"""The lock: held by one process at a time, and what a holder that died left is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy import ledger
from deploy.layout import Host
from deploy.lock import lock
from deploy.steps import ReleaseError

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys
from pathlib import Path
from deploy.layout import Host
from deploy.lock import lock
with lock(Host(Path(sys.argv[1]), None), "release one", print):
    print("held", flush=True)
    sys.stdin.read()
"""
Holder = subprocess.Popen[str]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "releases").mkdir()
    return Host(tmp_path, None)


@pytest.fixture
def hold(host: Host) -> Iterator[Callable[[], Holder]]:
    """Starts a process that holds the lock, called over ssh, until its standard input ends."""
    holders: list[Holder] = []

    def start() -> Holder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SSH_CONNECTION": "192.0.2.7 1 192.0.2.8 22"}
        holder = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(HOLDER), str(host.root)],
            env={**environment, "SUDO_USER": "jo"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        return holder

    yield start
    for holder in holders:
        holder.kill()
        holder.wait()
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.close()
        holder.stdout.close()


def told(host: Host, **options: float) -> list[str]:
    said: list[str] = []
    with lock(host, "release two", said.append, **options):
        pass
    return said


def test_who_is_refused_is_told_who_holds_it_why_since_when_and_from_where(
    host: Host, hold: Callable[[], Holder]
) -> None:
    holder = hold()
    with pytest.raises(ReleaseError) as refused:
        told(host)
    words = (
        rf"locked by jo from 192\.0\.2\.7 \(pid {holder.pid}\) since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ: release one;"
    )
    assert refused.match(words)
    assert refused.match("--wait SECONDS")


def test_who_waits_gets_it_when_the_holder_has_ended_and_nothing_is_told(
    host: Host, hold: Callable[[], Holder]
) -> None:
    holder = hold()
    assert holder.stdin is not None
    holder.stdin.close()
    assert told(host, wait=30) == []
    assert ledger.read(host.ledger).entries == []


def test_who_waits_too_long_is_refused(host: Host, hold: Callable[[], Holder]) -> None:
    hold()
    with pytest.raises(ReleaseError, match="release one"):
        told(host, wait=0.5)


def test_a_holder_that_died_is_named_and_the_ledger_keeps_it(host: Host, hold: Callable[[], Holder]) -> None:
    holder = hold()
    holder.kill()
    holder.wait()
    said = told(host)
    assert len(said) == 1
    assert f"taken over from jo from 192.0.2.7 (pid {holder.pid})" in said[0]
    assert said[0].endswith("release one: it died")
    entries = ledger.read(host.ledger).entries
    assert [(entry["action"], entry["what"], entry["message"]) for entry in entries] == [
        ("takeover", "release two", said[0])
    ]
    assert told(host) == []


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ({"who": "jo", "pid": 1, "why": "release one", "since": "then", "from": "", "boot": "b"}, "was restarted"),
        ({"who": "jo", "pid": 1, "why": "release one", "since": "then", "from": ""}, "it died"),
    ],
    ids=["by a host that was restarted", "by an older engine"],
)
def test_what_was_left_is_told(host: Host, left: dict[str, object], words: str) -> None:
    (host.root / ".lock").write_text(json.dumps(left))
    said = told(host)
    assert "jo (pid 1) since then: release one" in said[0]
    assert words in said[0]


def test_half_a_line_left_by_a_power_cut_is_somebody(host: Host) -> None:
    (host.root / ".lock").write_text('{"who": "j')
    assert "somebody who has not said who" in told(host)[0]
