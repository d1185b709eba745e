"""What nginx itself answers: envelopes for programs, pages for browsers, nothing of gunicorn's."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time

import pytest

from tests.stack.conftest import LocalStack


def raw(stack: LocalStack, request: bytes) -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", stack.values["nginx"]["http_port"]), timeout=20) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


@pytest.mark.parametrize(
    ("request_head", "code", "status"),
    [
        (b"GET /static/none.css HTTP/1.1\r\n", 404, "fail"),
        (b"POST /api/v1/sites HTTP/1.1\r\nContent-Length: 99999999\r\n", 413, "fail"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n", 414, "fail"),
    ],
    ids=["404", "413", "414"],
)
def test_its_own_refusals_are_envelopes(stack: LocalStack, request_head: bytes, code: int, status: str) -> None:
    got, body = raw(stack, request_head + b"Host: x\r\nConnection: close\r\n\r\n")
    envelope = json.loads(body)
    assert (got, envelope["status"], envelope["data"]) == (code, status, None)
    assert envelope["message"]


def test_a_browser_gets_a_page_instead(stack: LocalStack) -> None:
    head = b"GET /static/none.css HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    code, body = raw(stack, head)
    assert code == 404
    assert b"<h1>Not found</h1>" in body


def test_when_no_instance_answers_it_says_502_in_the_envelope_and_recovers(stack: LocalStack) -> None:
    groups = [f"api-{port}:*" for port in stack.values["api"]["ports"]]
    stack.supervisorctl("stop", *groups)
    try:
        deadline = time.monotonic() + 60
        code, body, _ = stack.ask("GET", "/ping")
        while code != 502 and time.monotonic() < deadline:
            code, body, _ = stack.ask("GET", "/ping")
        assert (code, body["status"]) == (502, "error")
    finally:
        stack.supervisorctl("start", *groups)
    stack.command("up")
    assert stack.ask("GET", "/ping")[0] == 200


def test_one_dead_port_costs_no_request(stack: LocalStack) -> None:
    """The plugin lets the port go, connections are refused, and nginx goes on to the other port."""
    first = stack.values["api"]["ports"][0]
    stack.supervisorctl("stop", f"api-{first}:*")
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", first)):
                    break
            time.sleep(0.5)
        assert {stack.ask("GET", "/ping")[0] for _ in range(20)} == {200}
    finally:
        stack.supervisorctl("start", f"api-{first}:*")
    stack.command("up")


def test_static_files_come_from_nginx_even_when_the_application_is_stopped(stack: LocalStack) -> None:
    status, _, headers = stack.ask("GET", "/static/style.css")
    assert status == 200
    assert "max-age" in headers["Cache-Control"]
    assert "X-Request-ID" not in headers  # the application adds it to each of its answers


def test_a_worker_that_is_killed_is_replaced_with_its_masters_code(stack: LocalStack) -> None:
    name = stack.values["processes"][0]["name"]
    with open(f"{stack.values['paths']['run']}/{name}.pid") as file:
        master = int(file.read())
    with open(f"/proc/{master}/task/{master}/children") as file:
        worker = int(file.read().split()[0])
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with open(f"/proc/{master}/task/{master}/children") as file:
            children = file.read().split()
        if children and int(children[0]) != worker:
            break
        time.sleep(0.2)
    assert children
    assert int(children[0]) != worker
    stack.command("up")
