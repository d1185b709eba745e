"""The logs: of each process and each port, JSON, without addresses, and kept from growing for ever."""

from __future__ import annotations

import json
import re
import uuid

import pytest

from tests.hosts.verify.fleet import Member

pytestmark = pytest.mark.on("app")

ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")

ASK = """
import http.client, sys
for mark in sys.argv[2:]:
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
    connection.request("GET", "/ping", headers={"X-Request-ID": mark})
    print(connection.getresponse().status)
    connection.close()
"""


def in_files(member: Member) -> None:
    """Skip on a host whose logs are the journal's."""
    if member.stack["log"]["rotated_by"] == "journal":
        pytest.skip("log.rotate is stream: there are no files")


def test_logrotate_takes_the_rule_and_finds_the_logs_by_it(member: Member) -> None:
    in_files(member)
    name, log = member.stack["stack"]["name"], member.stack["paths"]["log"]
    tried = member.root.run("logrotate --debug %s", f"/etc/logrotate.d/{name}")
    assert tried.rc == 0, tried.stderr
    assert "error:" not in tried.stderr
    for process in member.stack["processes"]:
        assert f"considering log {log}/{process['name']}.log" in tried.stderr
    keeps = member.stack["log"]["days" if member.stack["log"]["rotate"] == "daily" else "files"]
    assert f"({keeps} rotations)" in tried.stderr


def test_sizes_are_looked_at_each_minute_where_they_count(member: Member) -> None:
    timer = f"{member.stack['stack']['name']}-logrotate.timer"
    active = member.root.run("systemctl is-active %s", timer).stdout.strip()
    assert active == ("active" if member.stack["log"]["rotate"] == "size" else "inactive")


def test_each_request_is_one_line_in_the_access_log_of_the_port_that_answered(member: Member) -> None:
    in_files(member)
    if member.stack["log"]["access"] != "port":
        pytest.skip("log.access says otherwise")
    if member.stack["nginx"]["tls"]:
        pytest.skip("clients are sent on to https")
    log, ports = member.stack["paths"]["log"], member.stack["api"]["ports"]
    marks = [f"verify-{uuid.uuid4().hex}" for _ in range(8)]
    # From the host itself: in a fleet the firewall lets in the balancer alone, and that asks the other hosts too.
    said = member.python(ASK, str(member.stack["nginx"]["http_port"]), *marks)
    assert said.stdout.split() == ["200"] * len(marks), said.stdout + said.stderr
    found = {}
    for port in ports:
        for line in member.ok("cat %s", f"{log}/api-{port}.access.log").splitlines():
            fields = json.loads(line)
            if fields["request_id"] in marks:
                assert fields["process"].startswith(f"api-{port}-")
                assert (fields["route"], fields["status"], fields["user_id"]) == ("/ping", 200, None)
                assert fields["duration_ms"] > 0
                assert fields["request_id"] not in found
                found[fields["request_id"]] = port
    assert sorted(found) == sorted(marks)


def test_every_process_writes_json_without_a_whole_mail_address(member: Member) -> None:
    in_files(member)
    for process in member.stack["processes"]:
        text = member.ok("tail -n 500 %s", f"{member.stack['paths']['log']}/{process['name']}.log")
        for line in text.splitlines():
            assert json.loads(line)["process"] == process["name"]
            assert ADDRESS.search(line.replace("***@", "")) is None, line
