"""How the hosts of a fleet are moved together, and what is said when that fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .support import plugin

moving = plugin("filter/moving.py")
stack = plugin("filter/stack.py")

GROUPS = {"lb": ["lb"], "app": ["app1", "app2", "app3"], "db": ["db"]}
ADDRESSES = {"app1": "10.0.0.2", "app2": "10.0.0.3", "app3": "10.0.0.4"}


def hostvars(**more: Any) -> dict[str, dict[str, Any]]:
    """Hosts that served release `old` when the playbook began."""
    serving = {"current": "old", "previous": "older", "processes": {"api-8001-0": "old", "sync": "old"}}
    known = {"preflight_survey": {"releases": serving}, "group_names": ["app"], **more}
    return {host: {"ansible_host": address, **known} for host, address in ADDRESSES.items()}


def says(current: str, *serving: str, **more: Any) -> dict[str, Any]:
    """What `stack status --json` says of a host."""
    rows = [
        {"name": f"api-{number}", "release": release, "healthy": True, "state": "RUNNING", "detail": ""}
        for number, release in enumerate(serving or (current, current))
    ]
    database = {"healthy": True, "detail": ""}
    return {"current": current, "processes": rows, "healthy": True, "lock": None, "database": database, **more}


@pytest.mark.parametrize(
    ("count", "batches"), [(1, [1]), (2, [1, 1]), (3, [1, 1, 1]), (4, [1, 2, 1]), (5, [1, 2, 2]), (10, [1, 5, 4])]
)
def test_one_host_goes_first_and_the_rest_by_halves(count: int, batches: list[int]) -> None:
    assert moving.fleet_batches([f"h{number}" for number in range(count)], {}) == batches


@pytest.mark.parametrize(("said", "batches"), [(2, [2]), ("50%", ["50%"]), ([1, "25%"], [1, "25%"])])
def test_the_inventory_may_say_how_many_at_a_time(said: Any, batches: list[Any]) -> None:
    assert moving.fleet_batches(["app1", "app2"], hostvars(fleet_serial=said)) == batches


def test_a_host_that_serves_another_release_or_two_at_once_is_to_be_moved() -> None:
    hosts = hostvars()
    hosts["app1"]["preflight_survey"] = {"releases": {"current": "new", "processes": {"sync": "new"}}}
    hosts["app2"]["preflight_survey"] = {"releases": {"current": "new", "processes": {"sync": "old"}}}
    hosts["app3"]["preflight_survey"] = {"releases": {"current": "", "processes": {}}}
    assert moving.unsettled(["app1", "app2", "app3"], hosts, "new") == ["app2"]


@pytest.mark.parametrize(
    ("unreachable", "allowed", "refused"),
    [
        ([], 0, False),
        (["app2"], 0, True),
        (["app2"], 1, False),
        (["app2", "app3"], 1, True),
        (["app1", "app2", "app3"], 3, True),
        (["lb"], 3, True),
        (["db"], 3, True),
    ],
)
def test_a_host_that_does_not_answer_stops_it_unless_it_may_be_missing(
    unreachable: list[str], allowed: int, refused: bool
) -> None:
    hosts = ["lb", "app1", "app2", "app3", "db"]
    problem = moving.missing_problems(hosts, unreachable, GROUPS, allowed)
    assert bool(problem) is refused
    if refused:
        assert all(name in " ".join(problem) for name in (*unreachable, "--limit", "fleet.allow_missing"))


def test_a_balancer_sends_nothing_to_a_drained_host_while_another_one_stays() -> None:
    members = moving.balancer_members(stack.stack_load(FLEET), ["app2"], GROUPS, hostvars())
    lines = members["files"][0]["content"].splitlines()[1:]
    assert [line.endswith(" down;") for line in lines] == [False, True, False]
    assert members["others"] == ["10.0.0.2", "10.0.0.4"]
    assert " down;" not in members["instead"][0]["content"]


def test_nobody_is_kept_out_when_nobody_would_be_left() -> None:
    members = moving.balancer_members(stack.stack_load(FLEET), ["app1", "app2", "app3"], GROUPS, hostvars())
    assert " down;" not in members["files"][0]["content"]
    assert members["others"] == []


FLEET = {"fleet": {"app": list(ADDRESSES.values()), "lb": ["10.0.0.1"], "db": ["10.0.0.9"]}}


def test_what_moved_is_taken_back_the_last_one_first() -> None:
    states = {"app1": says("new"), "app2": says("old", "old", "new"), "app3": says("old")}
    assert moving.hosts_to_take_back(states, hostvars()) == [
        {"host": "app2", "to": "old"},
        {"host": "app1", "to": "old"},
    ]


def test_a_host_that_cannot_be_asked_is_not_taken_back() -> None:
    assert moving.hosts_to_take_back({"app1": {}}, hostvars()) == []


def test_the_screen_says_what_where_why_the_state_and_what_to_do() -> None:
    failed = {"failed": True, "step": "roll", "instance": "api-8001-0", "message": "it ended", "log": ["a traceback"]}
    hosts = hostvars()
    hosts["app2"]["release_result"] = {"rc": 1, "stdout": f"words\n{json.dumps(failed)}"}
    states = {"app1": says("old"), "app2": says("old")}
    text = "\n".join(moving.failure_screen("release", ["app2"], states, hosts, "inventories/fleet", []))
    assert "release failed at app2, api-8001-0 in step roll: it ended" in text
    assert "a traceback" in text
    assert "app1: old (as before) 2 of 2 processes healthy" in text
    assert "ansible-playbook -i inventories/fleet release.yml" in text


def test_the_screen_says_what_the_watch_found_after_a_release_that_went_well() -> None:
    found = {"failed": True, "step": "watch", "message": "after 20 s of traffic: 20 of 400 failed (5.0 %)", "log": []}
    hosts = hostvars()
    hosts["app1"]["release_result"] = {"rc": 0, "stdout": json.dumps({"changed": True})}
    hosts["app1"]["watch_result"] = {"rc": 1, "stdout": json.dumps(found)}
    text = "\n".join(moving.failure_screen("release", ["app1"], {"app1": says("old")}, hosts, "inv", []))
    assert "release failed at app1 in step watch: after 20 s of traffic: 20 of 400 failed (5.0 %)" in text


def test_the_screen_says_how_a_lost_host_is_mended() -> None:
    hosts = hostvars()
    hosts["app2"]["release_result"] = {"unreachable": True, "msg": "Connection timed out"}
    states = {"app1": says("old"), "app2": {}}
    text = "\n".join(moving.failure_screen("release", ["app2"], states, hosts, "inv", []))
    assert "release failed at app2: it stopped answering in the middle (Connection timed out)" in text
    assert "ansible-playbook -i inv rollback.yml --limit app2 -e rollback_to=old" in text


def test_the_screen_says_who_could_not_be_taken_back() -> None:
    done = [{"item": {"host": "app1", "to": "old"}, "rc": 1, "stdout": json.dumps({"message": "no room"})}]
    states = {"app1": says("new"), "app2": says("old")}
    text = "\n".join(moving.failure_screen("release", ["app2"], states, hostvars(), "inv", done))
    assert "app1 could not be taken back: no room" in text
    assert "the hosts serve different releases" in text


def test_the_fleet_on_one_screen_begins_each_line_with_a_verdict() -> None:
    hosts = hostvars()
    unwell = says("old", healthy=False, lock={"who": "ops", "why": "release new"})
    unwell["processes"][0].update(healthy=False, state="FATAL", detail="exited too quickly")
    hosts["app1"]["status_said"] = {"stdout": json.dumps(says("new"))}
    hosts["app2"]["status_said"] = {"stdout": json.dumps(unwell)}
    hosts["app3"]["status_said"] = {"unreachable": True, "msg": "no route to host"}
    members = "# From x.\nserver 10.0.0.2:80 a=1;\nserver 10.0.0.3:80 a=1 down;\n"
    hosts["lb"] = {"group_names": ["lb"], "status_said": {"stdout": members}}
    lines = moving.fleet_lines(["app1", "app2", "app3", "lb"], hosts)
    assert [line[:4].strip() for line in lines] == ["well", "BAD", "", "", "GONE", "BAD", "BAD"]
    assert "api-0: fatal, exited too quickly" in lines[2]
    assert "locked by ops: release new" in lines[3]
    assert "different releases: new, old" in lines[5]
    assert "sends nothing to 10.0.0.3:80" in lines[6]


def test_the_engine_is_called_the_same_way_everywhere() -> None:
    words = moving.engine(stack.stack_load({}), "rollback", "ID", "--wait", 60)
    assert words[:4] == ["/opt/cloudeye/supervisor/bin/python", "-P", "-m", "deploy.cli"]
    assert words[4:] == ["rollback", "ID", "--wait", "60", "--config", "/etc/cloudeye/stack.yml"]
