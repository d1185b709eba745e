"""`stack scale`: another number of ports or instances under load, kept, told, and taken back when it fails."""

from __future__ import annotations

import itertools
import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy import drain
from deploy.instances import Supervisor
from deploy.render import render
from deploy.stack import StackError, load, scale_layer, set_layer
from tests.load import Call, Load
from tests.unit.deploy.bench import ADDRESS, HTTP, PORTS, Bench

pytestmark = pytest.mark.long

SLOW = pytest.mark.slow


def scale_file(bench: Bench) -> Path:
    return bench.config.with_name("scale.yml")


@pytest.fixture
def unscaled(fresh: Bench) -> Iterator[Bench]:
    """The host as after its first release, and afterwards scaled no more."""
    yield fresh
    scale_file(fresh).unlink(missing_ok=True)


class Notes:
    """Clients that mix GET and POST; each POST is a note of its own, one in eight of them slow."""

    def __init__(self, bench: Bench, *, keep_alive: bool) -> None:
        self._file = Path(bench.values["paths"]["data"], "notes")
        self._file.unlink(missing_ok=True)
        self._numbers = itertools.count()
        self.asked = 0
        self.load = Load(
            f"http://{ADDRESS}:{HTTP}", self._call, clients=8, keep_alive=keep_alive, pause=0.01, limit=300
        )

    def _call(self, client: int, number: int) -> Call:
        if number % 2:
            return Call("GET", "/ping")
        note = next(self._numbers)
        self.asked = max(self.asked, note + 1)
        return Call("POST", "/notes", {"id": note, "seconds": 0.5 if note % 8 == 0 else 0}, expect=201)

    def written(self) -> Counter[int]:
        return Counter(map(int, self._file.read_text().split()))


@contextmanager
def notes(bench: Bench, *, keep_alive: bool) -> Iterator[Notes]:
    """Load while the block lasts; afterwards no request has failed, and each note is there exactly once."""
    clients = Notes(bench, keep_alive=keep_alive)
    with clients.load:
        yield clients
    assert clients.load.tally.failed == 0, clients.load.tally
    assert clients.written() == Counter(range(clients.asked))


def groups(bench: Bench) -> dict[str, int]:
    return Counter(str(row["group"]) for row in Supervisor(bench.stack()).table().values() if row["group"] != "sync")


@pytest.mark.parametrize("keep_alive", [True, pytest.param(False, marks=SLOW)], ids=["keep-alive", "close"])
@pytest.mark.parametrize(
    ("option", "there"),
    [("--instances", {"api-21301": 2, "api-21302": 2}), ("--ports", {"api-21301": 1, "api-21302": 1, "api-21303": 1})],
)
def test_scaling_there_and_back_loses_no_request_and_doubles_none(
    unscaled: Bench, option: str, there: dict[str, int], keep_alive: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, count = unscaled, {"--instances": ("2", "1"), "--ports": ("3", "2")}[option]
    first = bench.current()
    with notes(bench, keep_alive=keep_alive) as clients:
        up = bench.stack_command("scale", option, count[0])
        assert up["status"] == 0, up["stderr"]
        assert groups(bench) == there
        down = bench.stack_command("scale", option, count[1])
        assert down["status"] == 0, down["stderr"]
    with capsys.disabled():
        print(f"\nscale {option} {count[0]}, then {count[1]}, keep-alive {keep_alive}: {clients.load.tally}")
    assert groups(bench) == {"api-21301": 1, "api-21302": 1}
    assert "drained in" in down["stderr"]
    assert up["release"].startswith(f"{first}-")
    assert down["release"] == bench.current() == first  # the values are those of the first release again
    assert not scale_file(bench).exists()
    assert not Path(bench.stack()["nginx"]["closing"]).exists()
    assert [line["action"] for line in bench.recorded()[-2:]] == ["scale", "scale"]


def test_a_single_port_keeps_its_requests_waiting_and_loses_none(unscaled: Bench) -> None:
    bench = unscaled
    bench.values["api"]["ports"] = PORTS[:1]
    bench.write_config()
    assert bench.first is not None
    assert bench.release(bench.first)["status"] == 0
    with notes(bench, keep_alive=True):
        said = bench.stack_command("scale", "--instances", "2")
    assert groups(bench) == {"api-21301": 2}
    assert "port 21301 is the only one: requests wait in its socket" in said["stderr"]


def test_what_was_scaled_outlives_the_next_release_which_says_so(unscaled: Bench) -> None:
    bench, file = unscaled, scale_file(unscaled)
    assert bench.stack_command("scale", "--instances", "2")["status"] == 0
    assert "`stack scale`" in file.read_text()
    said = bench.release(bench.edit("src/hello/wsgi.py", "pong!", "pong s!"))
    assert groups(bench) == {"api-21301": 2, "api-21302": 2}
    assert said["notes"] == [f"api.instances is 2 by {file}, not 1; `stack scale --reset` takes that away"]
    assert said["notes"][0] in said["stderr"]
    shown = bench.command("show", "--origin", "api.instances").stdout
    assert shown.split() == ["api.instances", "=", "2", str(file)]
    assert json.loads(bench.command("status", "--json").stdout)["healthy"]
    reset = bench.stack_command("scale", "--reset")
    assert (reset["status"], reset["notes"], file.exists()) == (0, [], False)
    assert groups(bench) == {"api-21301": 1, "api-21302": 1}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(unscaled: Bench) -> None:
    bench, before = unscaled, (unscaled.current(), len(unscaled.recorded()))
    said = bench.stack_command("scale", "--ports", "3", "--instances", "2", "--dry-run")
    assert said["changes"] == [
        "api.ports: [21301, 21302] -> [21301, 21302, 21303]",
        "api.instances: 1 -> 2",
        "api-21303: new, with 2 instances",
        "api-21301: drained, then loaded anew",
        "api-21302: drained, then loaded anew",
    ]
    assert not bench.stack_command("scale", "--ports", "2", "--dry-run")["changed"]
    assert (bench.current(), len(bench.recorded()), scale_file(bench).exists()) == (*before, False)
    assert not bench.stack_command("scale", "--instances", "1")["changed"]


def test_a_taken_port_is_passed_over(unscaled: Bench) -> None:
    with socket.socket() as other:
        other.bind((ADDRESS, 21303))
        other.listen()
        said = unscaled.stack_command("scale", "--ports", "3", "--dry-run")
    assert said["changes"][0].endswith("-> [21301, 21302, 21304]")


def test_too_many_are_refused_by_the_rule_that_they_break(unscaled: Bench) -> None:
    result = unscaled.command("scale", "--account", "root", "--ports", "30")
    assert result.returncode == 2
    assert "timeouts.systemd_stop" in result.stderr
    assert not scale_file(unscaled).exists()
    assert unscaled.command("scale", "--ports", "0").returncode == 2


def test_more_instances_than_the_database_has_connections_for_are_refused() -> None:
    values = ["database.max_connections=260", "api.instances=3"]
    with pytest.raises(StackError, match=r"database\.max_connections \(260\) is less than the 3\d\d connections"):
        load("host", layers=[set_layer(values)])


def test_a_scale_that_fails_leaves_the_values_as_they_were(unscaled: Bench) -> None:
    bench = unscaled
    hook = bench.repository / "hooks" / "before-switch"
    hook.parent.mkdir()
    hook.write_text('#!/bin/sh\ntest "$STACK_ACTION" = release\n')
    hook.chmod(0o755)
    bench.commit("hook")
    assert bench.release(bench.build())["status"] == 0
    old = bench.current()
    said = bench.stack_command("scale", "--ports", "3")
    assert (said["step"], said["status"]) == ("before-switch", 1)
    assert not scale_file(bench).exists()
    assert groups(bench) == {"api-21301": 1, "api-21302": 1}
    assert bench.pointers() == {bench.current()} == {old}


def test_anything_else_in_the_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    config, file = tmp_path / "stack.yml", tmp_path / "scale.yml"
    assert scale_layer(config) == []
    for text in ("nginx: {http_port: 1}\n", "api: {bind: 127.0.0.2}\n", "api: 3\n"):
        file.write_text(text)
        with pytest.raises(StackError, match=r"api\.ports and api\.instances only; `stack scale --reset`"):
            scale_layer(config)
    file.write_text("api: {instances: 3}\n")
    assert [(layer.source, layer.values) for layer in scale_layer(config)] == [(str(file), {"api": {"instances": 3}})]


def test_a_port_is_taken_out_of_the_site_that_every_profile_renders() -> None:
    for profile in ("local", "host"):
        stack: dict[str, Any] = load(profile)
        site = next(text for path, text in render(stack, "release").items() if path.parent.name == "nginx")
        first, second = stack["api"]["ports"]
        assert drain.served(site) == [first, second]
        out = drain.without(site, first)
        assert drain.served(out) == [second]
        assert len(out) == len(site) + len(" down")
