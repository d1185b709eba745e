"""nginx: what it answers by itself, what it hands on, and whom it believes."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosts.verify.asking import Answer, ask, get
from tests.hosts.verify.fleet import Fleet, Member
from tests.hosts.verify.records import one_line

STATIC = "/static/style.css"


@pytest.fixture
def front(fleet: Fleet) -> Member:
    """Where clients come in."""
    member = fleet.front[0]
    if member.stack["nginx"]["tls"]:
        pytest.skip("clients are sent on to https")
    return member


def holds_envelope(answer: Answer, status: int) -> None:
    """An answer of nginx's own is shaped as the app's: `fail` for what the client did, `error` for what we did."""
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["status"] == ("fail" if status < 500 else "error")
    assert answer.json["message"]


@pytest.mark.on("lb", "app")
def test_its_configuration_is_valid_and_in_use(member: Member) -> None:
    tried = member.root.run("nginx -t")
    assert tried.rc == 0, tried.stderr
    assert "[warn]" not in tried.stderr, tried.stderr
    assert member.root.run("systemctl is-active nginx").stdout.strip() == "active"
    assert member.root.run("systemctl is-enabled nginx").stdout.strip() == "enabled"


@pytest.mark.on("lb", "app")
def test_its_workers_are_not_roots(member: Member) -> None:
    lines = [line.split(None, 1) for line in member.ok("ps -C nginx -o user:32=,args=").splitlines()]
    workers = [user for user, words in lines if "worker process" in words]
    assert workers
    assert "root" not in workers


@pytest.mark.on("lb", "app")
def test_every_site_of_the_packages_is_out_of_the_way(member: Member) -> None:
    """Whatever name a client uses, our site answers it."""
    port = member.stack["nginx"]["http_port"]
    source = (
        "import http.client,sys\n"
        "c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=30)\n"
        "c.request('GET', '/ping', headers={'Host': sys.argv[2]})\n"
        "a = c.getresponse(); print(a.status, a.read().decode())\n"
    )
    for name in ("localhost", "no-such-name.example"):
        said = member.python(source, str(port), name)
        assert said.stdout.startswith("200 "), said.stdout + said.stderr
        assert "pong!" in said.stdout


def test_it_tells_nobody_its_version(front: Member) -> None:
    assert get(front, "/ping").headers["server"] == "nginx"


def test_it_serves_static_files_itself(fleet: Fleet, front: Member) -> None:
    mark = f"static-{uuid.uuid4().hex}"
    answer = get(front, STATIC, X_Request_ID=mark)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/css")
    assert "max-age=3600" in answer.headers["cache-control"]
    assert one_line(fleet.on("app"), mark)["upstream"] == "", "no instance was asked"


def test_it_keeps_what_is_public_and_the_same_for_everybody(front: Member) -> None:
    """Of several app hosts each keeps its own, so the second of them may have nothing yet."""
    found = [get(front, "/api/openapi.json").headers["x-cache"] for _ in range(6)]
    assert "HIT" in found, found
    assert "x-cache" not in get(front, "/ping").headers


def test_its_own_404_is_an_envelope(front: Member) -> None:
    holds_envelope(get(front, "/static/no-such-file"), 404)


def test_a_browser_gets_its_errors_as_pages(front: Member) -> None:
    answer = get(front, "/static/no-such-file", Accept="text/html")
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_its_error_pages_are_no_pages_of_the_site(front: Member) -> None:
    holds_envelope(get(front, "/.errors/413.json"), 404)


def test_a_body_that_is_too_large_is_refused_with_an_envelope(front: Member) -> None:
    nginx = front.stack["nginx"]
    assert nginx["client_max_body"].endswith("m")
    body = os.urandom(int(nginx["client_max_body"][:-1]) * 1024 * 1024 + 1)
    holds_envelope(ask(front.address, nginx["http_port"], "POST", "/api/v1/auth/login", body), 413)


def test_what_is_not_http_is_refused_with_an_envelope(front: Member) -> None:
    holds_envelope(get(front, "/ping", Host="a b"), 400)


def test_too_many_requests_from_one_address_are_refused_with_an_envelope(front: Member) -> None:
    nginx = front.stack["nginx"]
    if not nginx["rate"] or nginx["rate_burst"] > 500:
        pytest.skip("the inventory sets no limit, or one that this suite would have to flood to reach")
    wanted = nginx["rate_burst"] * 2

    def hurry(_: int) -> list[Answer]:
        return [get(front, "/ping") for _ in range(wanted // 8)]

    with ThreadPoolExecutor(8) as clients:
        answers = [answer for share in clients.map(hurry, range(8)) for answer in share]
    time.sleep(nginx["rate_burst"] / nginx["rate"] + 1)  # until this machine may ask again, for the tests that follow
    refused = [answer for answer in answers if answer.status == 429]
    assert {answer.status for answer in answers} <= {200, 429}
    if not refused:
        pytest.skip(f"this machine is too slow to ask {nginx['rate']} times a second")
    holds_envelope(refused[0], 429)


def test_the_clients_address_is_its_own_and_no_header_changes_it(fleet: Fleet, front: Member) -> None:
    """Each nginx on the way writes down the address that it hands on to the app."""
    mark = f"address-{uuid.uuid4().hex}"
    forged = {"X_Forwarded_For": "203.0.113.9", "X_Real_IP": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    assert get(front, "/ping", X_Request_ID=mark, **forged).status == 200
    seen_from_there = front.user.run("echo $SSH_CONNECTION").stdout.split()[0]
    assert one_line([front], mark)["address"] == seen_from_there
    assert one_line(fleet.on("app"), mark)["address"] == seen_from_there
