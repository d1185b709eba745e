"""A balancer, two app hosts and a database on four Debian hosts."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts import breaking
from tests.hosts.deployed import Deployment, bare_hosts
from tests.hosts.job import sees_a_site_up_and_down
from tests.hosts.playing import Played, begin, commit, copy_of_checkout
from tests.hosts.probing import Probe
from tests.hosts.settings import GATEWAY
from tests.hosts.traffic import PAUSE, Traffic

# The rate limit stays as it is shipped: the suite of verify.yml runs into it here.
VALUES = {
    "sync": {"allow_private": True, "minimum_interval": 1, "poll_seconds": 0.2, "heartbeat_seconds": 1},
    # The clients of these tests make about 20 requests a second to each app host.
    "releases": {"watch_seconds": 4, "watch_requests": 30},
}


@pytest.fixture(scope="module")
def bare(this_machine_boots_hosts: None) -> Iterator[Deployment]:
    """Four bare hosts; the cache is on the database's."""
    with bare_hosts("four", "four", cache=True, overrides=VALUES) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def four(bare: Deployment) -> Deployment:
    """The hosts with the stack on them."""
    bare.play("deploy.yml").went_well()
    return bare


@pytest.mark.slow
def test_check_mode_on_bare_hosts_ends_well(bare: Deployment) -> None:
    bare.play("deploy.yml", "--check").went_well()


@pytest.mark.timeout(1800)
def test_one_playbook_makes_four_bare_hosts_serve(four: Deployment) -> None:
    assert four.ask("GET", "/ping") == (200, {"status": "success", "message": "pong!"})
    assert four.ask("GET", "/readyz")[0] == 200


def test_the_second_run_changes_nothing(four: Deployment) -> None:
    again = four.play("deploy.yml").went_well()
    assert again.changes == []
    assert again.changed == 0


def test_the_hosts_are_what_they_should_be(four: Deployment) -> None:
    four.play("verify.yml").went_well()


def test_a_site_registered_at_the_balancer_is_seen_up_and_down(four: Deployment) -> None:
    sees_a_site_up_and_down(four)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_app_host_without_power_is_not_missed(four: Deployment) -> None:
    lost = four.made["app2"]
    with Probe(four.url, "/readyz", pause=0.2) as probe:
        time.sleep(1)
        probe.mark()
        lost.pull_power()
        try:
            probe.wait_until_good(60, in_a_row=200)  # long enough that the balancer has tried it and given it up
            breaking.note("app host without power", probe, "it stays off")
        finally:
            lost.start()
            lost.wait_until_ready()
        probe.mark()
        probe.wait_until_good(60)


# -- moving together or not at all ----------------------------------------------------------------------------------

# Starts in the rehearsal and on app1, and ends at once where the third instance of app2 should serve it.
LATE = """
import os, socket
if socket.gethostname() == "app2" and os.environ.get("APP_INSTANCE") == "api-8002-0":
    raise RuntimeError("this release does not suit this host")
"""

# Passes every gate, and fails one in twenty of the requests that `Traffic` makes: they come by nginx alone.
HALTING = """
import itertools
turns, right = itertools.count(), app.wsgi_app
def halting(environ, start_response):
    asked = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if asked == ("GET", "/api/v1/sites") and next(turns) % 5 == 0:
        start_response("500 Internal Server Error", [("Content-Length", "0")])
        return []
    return right(environ, start_response)
app.wsgi_app = halting
"""

MakeRelease = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> MakeRelease:
    """Makes a checkout with one commit more, whose wsgi.py ends with some text."""
    base = copy_of_checkout(tmp_path_factory.mktemp("release") / "base")

    def make(name: str, text: str) -> Path:
        folder = base.with_name(name)
        shutil.copytree(base, folder, symlinks=True)
        with (folder / "src" / "cloudeye" / "wsgi.py").open("a") as file:
            file.write(text)
        commit(folder, name)
        return folder

    return make


@pytest.fixture(scope="module")
def pause(four: Deployment, full: bool) -> float:
    """Seconds between two requests of a client; in the full run there is no limit to keep to."""
    if not full:
        return PAUSE
    unlimited = {"stack_overrides": {**VALUES, "nginx": {"rate": 0}}}
    four.play("deploy.yml", "-e", json.dumps(unlimited)).went_well()
    return 0.0


def serving(four: Deployment) -> dict[str, set[str]]:
    """The releases that the processes of each app host serve, as `stack status` of that host says; all must be well."""
    found = {}
    deadline = time.monotonic() + 60  # one that has just been switched on needs a moment
    for name in ("app1", "app2"):
        while not (state := json.loads(four.made[name].run("stack status --json", root=True).out))["healthy"]:
            assert time.monotonic() < deadline, state
            time.sleep(1)
        found[name] = {row["release"] for row in state["processes"] if row["release"]} | {state["current"]}
    return found


def words(played: Played) -> str:
    """What a playbook said, with the lines that were broken for the screen put together again."""
    return " ".join(played.output.split())


def members(four: Deployment) -> str:
    """Whom the balancer sends requests to."""
    return four.made["lb"].run("cat /opt/cloudeye/lb/rendered/nginx/members.conf").out


@pytest.mark.timeout(1800)
def test_a_release_and_the_way_back_lose_no_request_also_without_registries(
    four: Deployment, release: MakeRelease, pause: float
) -> None:
    before = serving(four)
    checkout = release("next", "\n# the next release\n")
    try:
        for name in ("app1", "app2"):
            four.made[name].cut_off()
        with Traffic(four, "release.yml", pause=pause):
            played = four.play("release.yml", checkout=checkout).went_well()
    finally:
        for name in ("app1", "app2"):
            four.made[name].reconnect()
    assert "lb: all but app1" in played.output
    assert "lb: all but app2" in played.output
    after = serving(four)
    assert after["app1"] == after["app2"] != before["app1"]
    assert " down;" not in members(four)
    with Traffic(four, "rollback.yml", pause=pause):
        four.play("rollback.yml", checkout=checkout).went_well()
    assert serving(four) == before


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("keep_alive", [True, False])
def test_restarts_of_every_form_lose_no_request(four: Deployment, pause: float, keep_alive: bool) -> None:
    before = serving(four)
    with Traffic(four, "restart.yml", keep_alive=keep_alive, pause=pause):
        four.play("restart.yml").went_well()
    forms = [*(line.split()[0] for line in four.supervisorctl("status").splitlines()), "api-8001:*", "all"]
    with Traffic(four, "supervisorctl restart of each, a group, all", keep_alive=keep_alive, pause=pause):
        for form in forms:
            assert "ERROR" not in four.supervisorctl(f"restart '{form}'")
            four.wait_until_running()
    assert serving(four) == before


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_release_loses_no_request_of_clients_that_connect_anew(
    four: Deployment, release: MakeRelease, pause: float
) -> None:
    checkout = release("anew", "\n# for clients without keep-alive\n")
    with Traffic(four, "release.yml", keep_alive=False, pause=pause):
        four.play("release.yml", checkout=checkout).went_well()
    with Traffic(four, "rollback.yml", keep_alive=False, pause=pause):
        four.play("rollback.yml", checkout=checkout).went_well()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_second_host_that_fails_its_gate_takes_the_first_one_back(
    four: Deployment, release: MakeRelease, pause: float
) -> None:
    before = serving(four)
    with Traffic(four, "release.yml, app2 fails its gate", pause=pause):
        played = four.play("release.yml", checkout=release("late", LATE))
    assert played.status == 2
    assert "release failed at app2, api-8002-0 in step roll" in words(played)
    assert "this release does not suit this host" in played.output
    assert "(as before) 5 of 5 processes healthy" in words(played)
    assert serving(four) == before
    assert " down;" not in members(four)


@pytest.mark.timeout(1800)
def test_a_release_that_fails_some_requests_is_found_by_the_watch_and_taken_back_everywhere(
    four: Deployment, release: MakeRelease, pause: float
) -> None:
    before = serving(four)
    told = "release.yml, the release fails 5 % of its requests"
    with Traffic(four, told, pause=pause, own="GET answered 500") as traffic:
        time.sleep(5)  # what it is held against
        played = four.play("release.yml", checkout=release("halting", HALTING))
        ended = dict(traffic.tally.failures)
        time.sleep(5)
    assert played.status == 2
    assert "release failed at app1 in step watch: after" in words(played)
    assert "before: 0 of" in words(played)
    assert traffic.tally.failures == ended, "none failed after it was taken back"
    assert serving(four) == before
    assert " down;" not in members(four)
    found = json.loads(four.made["app1"].run("stack ledger --json", root=True).out)["entries"]
    assert [(entry["action"], entry["outcome"]) for entry in found[-3:]] == [
        ("release", "done"),
        ("watch", "failed"),
        ("rollback", "done"),
    ]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_next_release_works_after_ansible_was_killed(four: Deployment, release: MakeRelease, pause: float) -> None:
    before, checkout = serving(four), release("killed", "\n# after a kill\n")
    with Traffic(four, "release.yml, Ansible killed, and again", pause=pause):
        playing = begin(four.made, "release.yml", checkout=checkout)
        playing.wait_for("TASK [release : Release]", times=2)
        playing.kill()
        assert " down;" in members(four), "app2 was being moved"
        four.play("release.yml", checkout=checkout).went_well()
    after = serving(four)
    assert after["app1"] == after["app2"] != before["app1"]
    assert " down;" not in members(four)
    four.play("rollback.yml", checkout=checkout).went_well()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_second_host_that_stops_answering_in_the_middle_takes_the_first_one_back(
    four: Deployment, release: MakeRelease, pause: float
) -> None:
    before, lost = serving(four), four.made["app2"]
    checkout = release("lost", "\n# while a host is lost\n")
    with Traffic(four, "release.yml, app2 lost in the middle", pause=pause):
        playing = begin(four.made, "release.yml", checkout=checkout)
        playing.wait_for("TASK [release : Release]", times=2)
        time.sleep(2)
        lost.pull_power()
        played = playing.finish()
    assert played.status != 0
    assert "release failed at app2: it stopped answering in the middle" in words(played)
    assert "rollback.yml --limit app2 -e rollback_to=" in words(played)
    lost.start()
    lost.wait_until_ready()
    told = four.play("rollback.yml", "--limit", "app2", "-e", f"rollback_to={min(before['app2'])}", checkout=checkout)
    told.went_well()
    assert serving(four) == before
    assert " down;" not in members(four)


def stranger_sees(four: Deployment, asker: str, asked: str) -> str:
    """Status and Retry-After that one host gets from another's nginx for a path of the API."""
    connect = f"import http.client; c = http.client.HTTPConnection('{four.made[asked].address}')"
    ask = "c.request('GET', '/api/v1/sites'); a = c.getresponse(); print(a.status, a.headers['Retry-After'])"
    return four.made[asker].run(f'python3 -c "{connect}; {ask}"', check=True).out.strip()


@pytest.mark.timeout(900)
def test_maintenance_of_a_fleet_loses_no_request_of_those_who_are_let_through(four: Deployment, pause: float) -> None:
    wish = {"maintenance_state": "on", "maintenance_message": "We are moving.", "maintenance_allow": [str(GATEWAY)]}
    with Traffic(four, "maintenance.yml on", pause=pause):
        four.play("maintenance.yml", "-e", json.dumps(wish)).went_well()
    try:
        for name in ("lb", "app1", "app2"):
            four.made[name].run("systemctl reload nginx", root=True, check=True)
        assert stranger_sees(four, "db", "lb") == "503 300"
        assert stranger_sees(four, "lb", "app1") == stranger_sees(four, "lb", "app2") == "503 300"
        assert "maintenance is on since" in four.made["app2"].run("stack releases", root=True, check=True).out
        assert four.play("maintenance.yml", "-e", json.dumps(wish)).went_well().changed == 0
    finally:
        with Traffic(four, "maintenance.yml off", pause=pause):
            four.play("maintenance.yml", "-e", "maintenance_state=off").went_well()
    assert stranger_sees(four, "db", "lb") == stranger_sees(four, "lb", "app1") == "401 None"
    said = json.loads(four.made["app2"].run("stack ledger --json", root=True, check=True).out)
    told = [(entry["action"], entry["message"]) for entry in said["entries"][-2:]]
    on = f"on, for all but {GATEWAY}/32: We are moving."
    assert (told, said["problems"]) == ([("maintenance", on), ("maintenance", "off")], [])


def test_a_host_that_does_not_answer_stops_it_before_the_first_change(four: Deployment, release: MakeRelease) -> None:
    before, lost = serving(four), four.made["app2"]
    lost.pull_power()
    try:
        refused = four.play("release.yml", checkout=release("refused", "\n# never released\n"))
    finally:
        lost.start()
        lost.wait_until_ready()
    assert refused.status != 0
    assert refused.changed == 0
    assert "app2 does not answer, so nothing has been changed anywhere" in words(refused)
    assert serving(four) == before


@pytest.mark.slow
def test_a_plan_says_by_its_exit_status_whether_there_is_something_to_do(
    four: Deployment, release: MakeRelease
) -> None:
    four.play("release.yml").went_well()
    assert four.play("plan.yml").status == 0
    planned = four.play("plan.yml", checkout=release("planned", "\n# only planned\n"))
    assert planned.status == 2
    assert "changed src/cloudeye/wsgi.py" in planned.output
    assert "released in this order: app1, app2" in planned.output
    four.made["app1"].run("rm /usr/local/bin/stack", root=True, check=True)
    drifted = four.play("plan.yml")
    assert drifted.status == 2
    assert "/usr/local/bin/stack" in drifted.output
    four.play("deploy.yml").went_well()
    assert four.play("status.yml").status == 0
