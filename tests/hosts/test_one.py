"""Everything on one Debian host, in the order of an operator's life: try it, deploy, deploy again, verify, use,
restart, go back, and survive what breaks."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import breaking
from tests.hosts.deployed import QUICK, Deployment, bare_hosts
from tests.hosts.job import sees_a_site_up_and_down
from tests.hosts.playing import commit, copy_of_checkout, play_and_kill
from tests.hosts.probing import Probe
from tests.hosts.report import REPORT
from tests.hosts.shell import run
from tests.hosts.snapshot import differences, snapshot
from tests.load import Call, Load
from tests.stack.test_restarts import site_posts

pytestmark = pytest.mark.long

SECRETS = ("secret_key", "database_password", "admin_password")


@pytest.fixture(scope="module")
def bare(this_machine_boots_hosts: None) -> Iterator[Deployment]:
    """One bare host. The first tests try and deploy; what comes after them uses `one`."""
    with bare_hosts("one", "one") as deployment:
        yield deployment


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the playbooks said, to look for secrets in it."""
    return []


@pytest.fixture(scope="module")
def one(bare: Deployment, said: list[str]) -> Deployment:
    """The host with the stack on it."""
    said.append(bare.play("deploy.yml", "-v", "--diff").went_well().output)
    return bare


@pytest.fixture
def token(one: Deployment) -> str:
    """A new one for each test: it lasts 15 minutes, and a rotation of secrets may end it."""
    return one.admin_token()


# -- trying, deploying, deploying again, verifying ------------------------------------------------------------------


def test_check_mode_on_a_bare_host_ends_well_and_changes_nothing(bare: Deployment) -> None:
    before = snapshot(bare.app)
    bare.play("deploy.yml", "--check").went_well()
    assert differences(before, snapshot(bare.app)) == []


@pytest.mark.timeout(1800)
def test_one_playbook_makes_a_bare_host_serve(one: Deployment) -> None:
    assert one.ask("GET", "/ping") == (200, {"status": "success", "message": "pong!"})
    assert one.all_running()


def test_the_second_run_changes_nothing(one: Deployment, said: list[str]) -> None:
    before = snapshot(one.app)
    again = one.play("deploy.yml", "-v", "--diff").went_well()
    said.append(again.output)
    assert again.changes == []
    assert again.changed == 0
    touched = differences(before, snapshot(one.app))
    assert [name for name in touched if not name.startswith("var/lib/") and not name.endswith("/.lock")] == []


def test_check_mode_finds_nothing_to_do_on_what_is_deployed(one: Deployment) -> None:
    assert one.play("deploy.yml", "--check").went_well().changes == []


BY_HAND = "REVOKE DROP ON cloudeye.* FROM cloudeye@'127.0.0.1'; CREATE DATABASE test"
DRIFT = {
    "firewall : Write what may come in": "rm /etc/firewalld/policies/*.xml",
    "base : Make the folders": "chmod 777 /var/log/cloudeye /etc/cloudeye/stack.yml; rm /usr/local/bin/stack",
    "secrets : Write the secrets": "chmod 0644 /etc/cloudeye/secrets/secret_key",
    "database : Write the server's settings": "echo '# more' >> /etc/mysql/mariadb.conf.d/zz-cloudeye.cnf",
    "database : Make the schema": f'mariadb -e "{BY_HAND}"',
    "logs : Write the rule": "rm /etc/logrotate.d/cloudeye",
    "nginx : Write nginx's settings": "echo '# more' >> /etc/nginx/nginx.conf",
    "nginx : Start nginx": "systemctl disable nginx",
}


@pytest.mark.timeout(1200)
def test_what_was_changed_by_hand_is_found_at_once_and_mended(one: Deployment) -> None:
    before = snapshot(one.app)
    for command in DRIFT.values():
        one.app.run(command, root=True, check=True)
    plan = one.play("plan.yml")
    assert plan.status == 2, plan.output[-3000:]
    assert "released in this order" not in plan.output, "the release is what it should be"
    mended = one.play("deploy.yml").went_well()
    for task in DRIFT:
        assert any(f"[{task}" in change for change in mended.changes), (task, mended.changes)
    after = snapshot(one.app)
    changed = {name for name in before.keys() | after.keys() if before.get(name, ())[:2] != after.get(name, ())[:2]}
    # The processes were restarted for the secret whose file was touched, which the ledger has.
    recorded = ("var/lib/", "opt/cloudeye/.lock", "opt/cloudeye/ledger.jsonl")
    assert [name for name in sorted(changed) if not name.startswith(recorded)] == []
    grants = one.app.run("mariadb -Ne \"SHOW GRANTS FOR cloudeye@'127.0.0.1'\"", root=True, check=True).out
    assert "ALL PRIVILEGES ON `cloudeye`.*" in grants
    assert one.play("deploy.yml").went_well().changes == []
    one.wait_until_running()


@pytest.mark.parametrize("name", SECRETS)
def test_no_playbook_says_a_secret(one: Deployment, said: list[str], name: str) -> None:
    value = one.secret(name)
    assert len(value) >= 32
    assert len(said) >= 1
    assert [output for output in said if value in output] == []


def test_the_host_is_what_it_should_be(one: Deployment) -> None:
    assert re.search(r"\d+ passed", one.play("verify.yml").went_well().output)


# -- the main job ---------------------------------------------------------------------------------------------------


def test_a_site_registered_through_nginx_is_seen_up_and_down(one: Deployment) -> None:
    sees_a_site_up_and_down(one)


# -- values that cannot work ----------------------------------------------------------------------------------------

BROKEN = [
    ("nginx.http_prot", {"nginx": {"http_prot": 80}}),
    ("nginx.http_port", {"nginx": {"http_port": "eighty"}}),
    ("nginx.http_port", {"nginx": {"http_port": 99999}}),
    ("api.ports", {"api": {"ports": [80, 8002]}}),
    ("timeouts.graceful", {"timeouts": {"graceful": 60}}),
]
BROKEN_FILE = [
    ("nginx.http_port", "  http_port: 80\n", "  http_port: 99999\n"),
    ("api.ports", "  ports: [8001, 8002] ", "  ports: [80, 8002] "),
    ("timeouts.graceful", "  graceful: 20 ", "  graceful: 60 "),
]


@pytest.mark.parametrize(("key", "overrides"), BROKEN)
def test_overrides_that_cannot_work_stop_it_by_name(one: Deployment, key: str, overrides: dict[str, object]) -> None:
    before = snapshot(one.app)
    refused = one.play("deploy.yml", "-e", json.dumps({"stack_host_overrides": overrides}))
    assert refused.status != 0
    assert key in refused.output
    assert refused.recap == {}, "no host was asked"
    assert differences(before, snapshot(one.app)) == []


@pytest.mark.parametrize(("key", "good", "bad"), BROKEN_FILE)
def test_a_stack_yml_that_cannot_work_stops_it_by_name(
    one: Deployment, tmp_path: Path, key: str, good: str, bad: str
) -> None:
    checkout = copy_of_checkout(tmp_path / "copy")
    values = checkout / "deploy" / "stack.yml"
    assert values.read_text().count(good) == 1
    values.write_text(values.read_text().replace(good, bad))
    before = snapshot(one.app)
    refused = one.play("deploy.yml", checkout=checkout)
    assert refused.status != 0
    assert key in refused.output
    assert refused.changed == 0
    assert differences(before, snapshot(one.app)) == []


# -- restarts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["api-8001:api-8001-0", "api-8001:*", "all"])
def test_a_restart_loses_no_request(one: Deployment, token: str, form: str, full: bool) -> None:
    make, asked = site_posts(token, f"{form}-{time.time_ns()}")
    times = 3 if full else 1
    with Load(one.url, make, clients=8) as load:
        for _ in range(times):
            time.sleep(1)
            told = one.supervisorctl(f"restart '{form}'")
            assert "started" in told, told
            assert "ERROR" not in told, told
            # RUNNING is not serving yet: whoever restarts again waits for that, here however slow the machine is
            assert one.ask("GET", "/readyz", timeout=120)[0] == 200
        time.sleep(1)
    REPORT.loads.append((f"supervisorctl restart {form} x{times}", str(load.tally)))
    assert load.tally.failed == 0, load.tally
    assert load.tally.answered > 50 * times
    prefix = next(iter(asked)).rpartition("-")[0]
    assert sorted(breaking.site_names(one, token, prefix)) == sorted(asked), "each was added once"
    assert one.all_running()


def test_a_restart_of_sync_is_noticed_by_nobody(one: Deployment) -> None:
    with Probe(one.url, "/readyz") as probe:
        probe.mark()
        assert "sync: started" in one.supervisorctl("restart sync")
        probe.wait_until_good(30)
    assert probe.failures == {}


def test_stopping_everything_is_told_to_clients_in_an_envelope(one: Deployment) -> None:
    try:
        one.supervisorctl("stop all")
        deadline = time.monotonic() + 60
        while (answer := one.ask("GET", "/ping", timeout=90))[0] != 502 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert answer[0] == 502
        assert answer[1]["status"] == "error"
        assert answer[1]["message"]
    finally:
        one.supervisorctl("start all")
        one.wait_until_running()
    assert one.ask("GET", "/ping")[0] == 200


# -- releases -------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(1200)
def test_the_next_release_loses_no_request_and_rollback_brings_the_one_before_back(
    one: Deployment, token: str, tmp_path: Path
) -> None:
    before = one.release()
    checkout = copy_of_checkout(tmp_path / "next")
    with (checkout / "src" / "cloudeye" / "pages" / "static" / "style.css").open("a") as style:
        style.write("\n/* the next release */\n")
    commit(checkout, "The next release")
    make, _ = site_posts(token, f"release-{time.time_ns()}")
    with Load(one.url, make, clients=4, pause=0.05) as load:
        one.play("release.yml", checkout=checkout).went_well()
    REPORT.loads.append(("release.yml", str(load.tally)))
    after = one.release()
    assert after != before
    assert (
        "the next release"
        in one.app.run(f"cat {one.stack['paths']['root']}/current/src/cloudeye/pages/static/style.css").out
    )
    with Load(one.url, make, clients=4, pause=0.05) as back:
        one.play("rollback.yml", checkout=checkout).went_well()
    REPORT.loads.append(("rollback.yml", str(back.tally)))
    assert one.release() == before
    assert one.all_running()
    assert load.tally.failed == 0, load.tally
    assert back.tally.failed == 0, back.tally


# -- rotating secrets -----------------------------------------------------------------------------------------------


def pair_of(one: Deployment) -> dict[str, str]:
    """The tokens of a new session of the first admin."""
    body = {"email": one.stack["app"]["admin_email"], "password": one.secret("admin_password")}
    status, answer = one.ask("POST", "/api/v1/auth/login", body)
    assert status == 200, answer
    pair: dict[str, str] = answer["data"]
    return pair


def accounts(one: Deployment) -> list[str]:
    """The accounts of the database that begin with the stack's name."""
    said = one.app.run("mariadb --batch --skip-column-names -e 'SELECT User FROM mysql.user'", root=True, check=True)
    return sorted({name for name in said.out.split() if name.startswith(one.name)})


@pytest.mark.timeout(1200)
def test_a_rotation_of_secrets_loses_no_request_and_no_login(one: Deployment) -> None:
    key, login, before = one.secret("secret_key"), one.secret("database_password"), pair_of(one)
    assert accounts(one) == [one.name]
    make, asked = site_posts(before["access_token"], f"rotated-secrets-{time.time_ns()}")
    with Load(one.url, make, clients=4, pause=0.05) as load:
        played = one.play("rotate-secrets.yml", "-v", "--diff").went_well()
    REPORT.loads.append(("rotate-secrets.yml", str(load.tally)))
    assert load.tally.failed == 0, load.tally
    prefix = next(iter(asked)).rpartition("-")[0]
    assert sorted(breaking.site_names(one, before["access_token"], prefix)) == sorted(asked), "each was added once"
    new = [one.secret("secret_key"), one.secret("database_password").partition("\n")[0]]
    assert not {key, login} & {*new}
    assert [value for value in (key, login, *new) if value in played.output] == []
    assert accounts(one) == [f"{one.name}_b"]
    assert one.ask("GET", "/api/v1/auth/me", token=before["access_token"])[0] == 200
    assert one.ask("POST", "/api/v1/auth/refresh", {"refresh_token": before["refresh_token"]})[0] == 200
    assert one.play("provision.yml").went_well().changes == [], "provisioning keeps what it finds"
    again = one.play("rotate-secrets.yml")
    assert again.status != 0
    assert "was rotated already" in again.output
    assert again.changed == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_key_before_goes_when_asked_and_before_its_time_only_by_force(one: Deployment) -> None:
    kept, key = pair_of(one), one.secret("secret_key_previous")
    assert key == one.secret("proof_key")
    refused = one.play("rotate-secrets.yml", "-e", "rotate_drop_previous=true")
    assert refused.status != 0
    assert "may be good until" in refused.output
    assert one.secret("secret_key_previous") == key
    make, _ = site_posts(kept["access_token"], f"dropped-{time.time_ns()}")
    with Load(one.url, make, clients=4, pause=0.05) as load:
        one.play("rotate-secrets.yml", "-e", "rotate_drop_previous=true", "-e", "rotate_force=true").went_well()
    REPORT.loads.append(("rotate-secrets.yml, dropping the key before", str(load.tally)))
    assert load.tally.failed == 0, load.tally
    assert not one.app.run(f"test -e {one.stack['paths']['secrets']}/secret_key_previous", root=True).ok
    assert one.ask("GET", "/api/v1/auth/me", token=kept["access_token"])[0] == 200


KILLED_AT = ("Write the next values", "Make the account", "Accept", "Write the values", "Use them", "Take it away")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_rotation_that_is_killed_at_any_step_is_finished_by_the_next(one: Deployment) -> None:
    before, login = pair_of(one), one.secret("database_password")
    make, _ = site_posts(before["access_token"], f"killed-{time.time_ns()}")
    force = ("-e", "rotate_force=true")
    with Load(one.url, make, clients=4, pause=0.1) as load:
        for step in KILLED_AT:
            play_and_kill(one.made, "rotate-secrets.yml", *force, at=f": {step}")
            assert one.ask("GET", "/api/v1/auth/me", token=before["access_token"])[0] == 200, step
        one.play("rotate-secrets.yml", *force).went_well()
    REPORT.loads.append((f"rotate-secrets.yml, killed {len(KILLED_AT)} times", str(load.tally)))
    assert load.tally.failed == 0, load.tally
    assert one.secret("database_password") != login
    assert len(accounts(one)) == 1
    names = one.app.run(f"ls {one.stack['paths']['secrets']}", root=True, check=True).out.split()
    assert [name for name in names if name.endswith("_next")] == []
    assert one.ask("GET", "/api/v1/auth/me", token=before["access_token"])[0] == 200


# -- scale ----------------------------------------------------------------------------------------------------------


def test_more_instances_than_the_database_admits_are_refused_and_nothing_is_kept(one: Deployment) -> None:
    before = one.release()
    refused = one.app.run("stack scale --instances 3", root=True)
    assert refused.status == 1
    assert "max_connections" in refused.out + refused.err
    assert one.release() == before
    assert one.app.run(f"test -e {one.stack['paths']['etc']}/scale.yml", root=True).status == 1


@pytest.mark.timeout(900)
@pytest.mark.parametrize("option", ["--ports", pytest.param("--instances", marks=pytest.mark.slow)])
def test_scaling_from_two_to_three_and_back_loses_no_request(one: Deployment, token: str, option: str) -> None:
    before = one.release()
    make, asked = site_posts(token, f"scale{option}-{time.time_ns()}")
    one.app.run("mariadb -e 'SET GLOBAL max_connections = 600'", root=True, check=True)
    # The processor is for the processes that start: two at once, each with 30 s until it must be ready.
    with Load(one.url, make, clients=4, pause=0.1) as load:
        up = one.app.run(f"stack scale {option} 3 --json", root=True, check=True)
        down = one.app.run(f"stack scale {option} 2 --json", root=True, check=True)
    REPORT.loads.append((f"stack scale {option} 3, then 2", str(load.tally)))
    assert json.loads(up.out)["release"] != before
    assert json.loads(down.out)["release"] == one.release() == before
    assert load.tally.failed == 0, load.tally
    prefix = next(iter(asked)).rpartition("-")[0]
    assert sorted(breaking.site_names(one, token, prefix)) == sorted(asked), "each was added once"

    assert one.all_running()


# -- logs -----------------------------------------------------------------------------------------------------------


def test_a_rotation_of_the_logs_loses_no_line_and_ends_no_process(one: Deployment, token: str) -> None:
    rotations, prefix = 5, f"rotated-{time.time_ns()}"
    posts, _ = site_posts(token, prefix)
    counted: set[str] = set()

    def make(client: int, number: int) -> Call:
        mark = f"{prefix}.{client}.{number}"
        counted.add(mark)
        call = Call("GET", "/ping") if number % 4 else posts(client, number)
        return Call(call.method, call.path, call.body, {**call.headers, "X-Request-ID": mark}, call.expect)

    rule = f"/etc/logrotate.d/{one.name}"
    before = one.supervisorctl("pid all")
    with Load(one.url, make, clients=8) as load:
        for _ in range(rotations):
            time.sleep(2)
            one.app.run(f"logrotate --force {rule}", root=True, check=True)
        time.sleep(1)
    folder = one.stack["paths"]["log"]
    text = one.app.run(f"cd {folder} && cat api-*.access.log api-*.log.1 && zcat api-*.log.*.gz", root=True, check=True)
    lines = [json.loads(line) for line in text.out.splitlines()]
    found = [str(line.get("request_id")) for line in lines if str(line.get("request_id")).startswith(prefix)]
    assert load.tally.failed == 0, load.tally
    missing = sorted(counted - set(found))
    elsewhere = f"ls -la {folder}; zgrep -F {' '.join(f'-e {mark}' for mark in missing[:5])} {folder}/*"
    assert missing == [], one.app.run(elsewhere, root=True).out
    assert sorted(found) == sorted(counted)
    assert one.supervisorctl("pid all") == before


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_logs_are_kept_small_by_size_or_given_to_the_journal(one: Deployment) -> None:
    def rotate(how: str) -> tuple[str, ...]:
        return "-e", json.dumps({"stack_host_overrides": {"log": {"rotate": how}}})

    before = one.supervisorctl("pid all")
    one.play("deploy.yml", *rotate("size")).went_well()
    assert one.supervisorctl("pid all") == before, "how logs are rotated is no concern of the processes"
    log = f"{one.stack['paths']['log']}/sync.log"
    one.app.run(f"head -c 3000000 /dev/zero | tr '\\0' '\\n' >> {log}", root=True, check=True)
    deadline = time.monotonic() + 150
    while int(one.app.run(f"stat -c %s {log}", root=True, check=True).out) > 2_000_000:
        assert time.monotonic() < deadline, "a log that is too large is renamed within a minute or so"
        time.sleep(2)
    one.play("deploy.yml", *rotate("stream")).went_well()
    mark = f"streamed-{time.time_ns()}"
    request = urllib.request.Request(f"{one.url}/ping", headers={"X-Request-ID": mark})
    urllib.request.urlopen(request, timeout=30).close()
    said = one.app.run(f"journalctl --unit {one.name} --output cat --grep {mark}", root=True, check=True).out
    assert json.loads(said)["request_id"] == mark
    shown = one.app.run("stack logs --since 2m --json", root=True, check=True).out
    assert any(mark in line and json.loads(line)["request_id"] == mark for line in shown.splitlines())
    files = one.app.run(f"find {one.stack['paths']['log']} -name '*.log' -newermt '-20 seconds'", root=True).out
    assert files == ""
    one.play("deploy.yml").went_well()
    assert one.play("deploy.yml").went_well().changes == []


# -- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", breaking.FAULTS, ids=lambda fault: fault.name)
def test_it_comes_back_by_itself_after_a_kill(one: Deployment, fault: breaking.Fault) -> None:
    one.wait_until_running()
    victim = fault.pid(one.app)
    with Probe(one.url, "/readyz") as probe:
        time.sleep(1)
        probe.mark()
        one.app.run(f"kill -KILL {victim}", root=True, check=True)
        again = breaking.another_pid(one.app, fault, victim, seconds=60)
        probe.wait_until_good(60)
    one.wait_until_running()
    breaking.note(fault.name, probe, f"process back after {again:.1f} s")
    assert one.app.run("systemctl is-system-running").out.strip() == "running"


@pytest.mark.timeout(600)
def test_it_comes_back_by_itself_after_a_reboot(one: Deployment) -> None:
    with Probe(one.url, "/readyz") as probe:
        time.sleep(1)
        probe.mark()
        took = one.app.reboot()
        probe.wait_until_good(120)
    one.wait_until_running()
    breaking.note("reboot", probe, f"host ready after {took:.1f} s")
    assert one.ask("GET", "/readyz")[0] == 200


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_comes_back_by_itself_after_a_power_cut(one: Deployment) -> None:
    with Probe(one.url, "/readyz") as probe:
        time.sleep(1)
        probe.mark()
        took = one.app.lose_power()
        probe.wait_until_good(120)
    one.wait_until_running()
    breaking.note("power cut", probe, f"host ready after {took:.1f} s")


def test_after_all_that_it_is_still_what_it_should_be(one: Deployment) -> None:
    one.play("verify.yml").went_well()


@pytest.mark.slow
def test_after_all_that_a_second_run_changes_nothing_again(one: Deployment) -> None:
    one.play("deploy.yml").went_well()  # tidies up after the release that was rolled back
    assert one.play("deploy.yml").went_well().changes == []


# -- what nginx is given ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_settings_that_nginx_does_not_like_leave_the_old_ones_serving(one: Deployment) -> None:
    bad = "/etc/nginx/conf.d/of-somebody-else.conf"
    one.app.run(f"echo 'no_such_directive on;' > {bad}", root=True, check=True)
    try:
        changed = {"stack_host_overrides": {"nginx": {"worker_connections": 2048}}}
        refused = one.play("deploy.yml", "-e", json.dumps(changed))
        assert refused.status != 0
        assert "no_such_directive" in refused.output
        assert one.ask("GET", "/ping")[0] == 200
    finally:
        one.app.run(f"rm {bad}", root=True, check=True)
    assert one.app.run("nginx -t", root=True).ok
    one.play("deploy.yml").went_well()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_certificate_switches_https_on_with_all_that_belongs_to_it(one: Deployment, tmp_path: Path) -> None:
    certificate, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    name = ["-subj", "/CN=test", "-addext", f"subjectAltName=IP:{one.front.address}"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *name, *files)
    given = ("-e", json.dumps({"certificate_file": str(certificate), "certificate_key_file": str(key)}))
    played = one.play("deploy.yml", "--diff", *given).went_well()
    assert key.read_text().splitlines()[1] not in played.output
    assert one.play("deploy.yml", *given).went_well().changes == []

    plain = http.client.HTTPConnection(one.front.address, 80, timeout=30)
    plain.request("GET", "/ping?x=1")
    moved = plain.getresponse()
    assert (moved.status, moved.headers["Location"]) == (308, f"https://{one.front.address}/ping?x=1")

    trusting = ssl.create_default_context(cafile=str(certificate))
    secure = http.client.HTTPSConnection(one.front.address, 443, timeout=30, context=trusting)
    secure.request("GET", "/login")
    page = secure.getresponse()
    assert page.status == 200
    assert page.headers["Strict-Transport-Security"].startswith("max-age=")
    cookies = page.headers.get_all("Set-Cookie") or []
    assert cookies
    assert all("secure" in cookie.lower() for cookie in cookies), cookies

    one.play("deploy.yml").went_well()
    assert one.ask("GET", "/ping")[0] == 200


# -- two stacks -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_second_stack_of_another_name_lives_beside_it(one: Deployment) -> None:
    first = one.release()
    values = {
        **QUICK,
        "stack": {"name": "second", "primary": False},
        "nginx": {"rate": 0, "http_port": 8080},
        "api": {"ports": [9001, 9002], "instances": 1},
    }
    given = ("-e", json.dumps({"stack_overrides": values}))
    second = Deployment(one.made, values)
    second.play("deploy.yml", *given).went_well()
    assert second.ask("GET", "/ping")[0] == 200
    assert one.release() == first
    assert one.all_running()
    assert one.app.run("secondctl status", root=True).out.count("RUNNING") == len(second.stack["processes"])
    assert second.secret("secret_key") != one.secret("secret_key")
    again = second.play("deploy.yml", *given).went_well()
    assert again.changes == []
    assert again.changed == 0
    assert breaking.traces_of(one.app, "cloudeye", of="second") == []
    assert one.play("deploy.yml").went_well().changes == [], "neither undoes what the other needs"
    one.supervisorctl("restart all")
    assert second.ask("GET", "/ping")[0] == 200
