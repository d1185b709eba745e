"""What `stack maintenance` takes, what it refuses by name, and how it counts down."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from deploy import cli, ledger, maintenance
from deploy.maintenance import seconds_left, wanted
from deploy.stack import StackError, load, set_layer

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z


@pytest.mark.parametrize(
    ("until", "end"),
    [
        ("90m", "2026-01-01T13:30:00Z"),
        ("45s", "2026-01-01T12:00:45Z"),
        ("2d", "2026-01-03T12:00:00Z"),
        ("2026-01-01T14:00+01:00", "2026-01-01T13:00:00Z"),
        ("2026-01-01T13:00:00Z", "2026-01-01T13:00:00Z"),
        ("", ""),
    ],
)
def test_when_it_ends_is_a_time_or_how_long(until: str, end: str) -> None:
    assert wanted("", until, [], now=NOON).until == end


def test_a_time_without_an_offset_is_this_hosts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert wanted("", "2026-01-01T21:00", [], now=NOON).until == "2026-01-01T13:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_addresses_and_networks_are_put_into_one_form() -> None:
    given = ["2001:db8:0::/32", "10.0.0.0/8", " 192.0.2.7", "192.0.2.7"]
    assert wanted("", "", given).allow == ("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--until", "2026-01-01T11:59"),
        ("--until", "tomorrow"),
        ("--until", "-5m"),
        ("--until", "0m"),
        ("--until", "400d"),
        ("--until", "0001-01-01T00:00"),
        ("--allow", "10.0.0.1/8"),
        ("--allow", "10.0.0"),
        ("--allow", "everybody"),
        ("--allow", "0.0.0.0/0"),
        ("--allow", "::/0"),
        ("--allow", ""),
        ("--allow", "0.0.0.0/0 0; } }"),
        ("--message", "two\nlines"),
        ("--message", "\x1b[31m"),
        ("--message", "x" * 501),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_changes_nothing(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "stack.yml"
    config.write_text(f"paths: {{etc: {tmp_path}, nginx_conf: {tmp_path}}}\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "cloudeye.conf").write_text(f"include {tmp_path}/maintenance/server*.conf;\n")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["maintenance", "on", "--config", str(config), f"{option}={value}"]) == 2
    assert option in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_everything_that_does_not_fit_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"(?s)--message.*--allow.*--until"):
        wanted("\n", "x", ["y"])


def test_options_of_on_are_refused_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["maintenance", "off", "--message", "x"]) == 2
    assert "--message" in capsys.readouterr().err


def test_a_checkout_has_no_ledger_to_put_it_into(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["maintenance", "record", "--profile", "local"]) == 2
    assert "is for a host" in capsys.readouterr().err


def test_it_goes_into_the_ledger_of_a_host_whoever_has_written_the_files(tmp_path: Path) -> None:
    config = tmp_path / "stack.yml"
    config.write_text(f"paths: {{etc: {tmp_path}, root: {tmp_path}}}\n")
    stack = load("host", layers=[set_layer([f"paths.etc={tmp_path}", f"paths.root={tmp_path}"])])
    for path, text in maintenance.files(stack, wanted("Moving", "1h", ["192.0.2.7"])).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("on", "off"):
        assert cli.main(["maintenance", "record", "--config", str(config)]) == 0
        (entry,) = ledger.read(tmp_path / "ledger.jsonl").entries[-1:]
        assert (entry["action"], entry["what"], entry["outcome"]) == ("maintenance", name, "done")
        maintenance.folder_of(stack).joinpath("server.conf").unlink(missing_ok=True)
    first = ledger.read(tmp_path / "ledger.jsonl").entries[0]
    assert first["message"] == f"on, until {first['until']}, for all but 192.0.2.7/32: Moving"
    assert first["actor"] == json.loads((maintenance.folder_of(stack) / "state.json").read_text())["by"]


def test_check_says_what_would_be_done_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "stack.yml"
    config.write_text(f"paths: {{etc: {tmp_path}, nginx_conf: {tmp_path}}}\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "cloudeye.conf").write_text(f"include {tmp_path}/maintenance/server*.conf;\n")
    assert cli.main(["maintenance", "on", "--check", "--json", "--config", str(config)]) == 0
    assert json.loads(capsys.readouterr().out) == {"changed": True, "on": False}
    assert not (tmp_path / "maintenance").exists()
    assert cli.main(["maintenance", "off", "--check", "--config", str(config)]) == 0
    assert "nothing would change" in capsys.readouterr().out


def test_what_is_left_is_never_too_little_and_at_most_a_fifth_too_much() -> None:
    end = int(NOON) + 12345
    spans = list(seconds_left(end))
    for ahead in [*range(1, 3000), *range(3000, maintenance.LONGEST, 997)]:
        moment = str(end - ahead)
        (said,) = [seconds for first, seconds in spans if moment.startswith(str(first))]
        assert ahead <= said <= ahead * 1.2 + 0.01, moment
    assert not [first for first, _ in spans if str(end).startswith(str(first))]
    assert len(spans) < 300


def test_a_path_that_opens_everything_is_refused() -> None:
    with pytest.raises(StackError, match=r"maintenance\.open holds '/'"):
        load("host", layers=[set_layer(["maintenance.open=[/]"])])


def test_a_state_that_cannot_be_read_is_still_on(tmp_path: Path) -> None:
    stack = load("host", layers=[set_layer([f"paths.etc={tmp_path}"])])
    assert maintenance.state(stack) == {"on": False}
    folder = Path(stack["maintenance"]["folder"])
    folder.mkdir()
    (folder / "server.conf").write_text("")
    (folder / "state.json").write_text("{")
    found = maintenance.state(stack)
    assert found["on"]
    assert "state.json" in found["problem"]
