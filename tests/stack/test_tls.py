"""An own certificate switches 443 on: redirect, HSTS, secure cookies; and address lists close the door."""

from __future__ import annotations

import http.client
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.conftest import LocalStack


@pytest.fixture
def tls(stack: LocalStack, tmp_path: Path) -> Iterator[int]:
    """The stack with a certificate of its own; yields the port. Afterwards it is as before."""
    make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2 -keyout site.key -out site.pem"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    values = [f"nginx.certificate={tmp_path}/site.pem", f"nginx.certificate_key={tmp_path}/site.key"]
    stack.command("up", *(part for value in values for part in ("--set", value)))
    yield stack.values["nginx"]["https_port"]
    stack.command("up")


def answer_of(port: int, path: str) -> http.client.HTTPResponse:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer


def test_a_certificate_brings_redirect_hsts_and_secure_cookies(stack: LocalStack, tls: int) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", stack.values["nginx"]["http_port"], timeout=20)
    plain.request("GET", "/ping?x=1", headers={"Host": "localhost"})
    redirect = plain.getresponse()
    assert (redirect.status, redirect.headers["Location"]) == (308, f"https://localhost:{tls}/ping?x=1")
    for path in ("/ping", "/static/style.css", "/static/none"):
        assert "max-age=31536000" in (answer_of(tls, path).headers["Strict-Transport-Security"] or ""), path
    cookies = answer_of(tls, "/login").headers.get_all("Set-Cookie")
    assert cookies
    assert all("Secure" in cookie and "HttpOnly" in cookie for cookie in cookies)


def test_an_address_that_is_denied_gets_403_in_the_envelope(stack: LocalStack) -> None:
    stack.command("up", "--set", "nginx.deny=[127.0.0.0/8]")
    try:
        status, body, _ = stack.ask("GET", "/ping")
        assert (status, body["status"]) == (403, "fail")
    finally:
        stack.command("up")
    assert stack.ask("GET", "/ping")[0] == 200


def test_more_requests_than_the_rate_get_429_in_the_envelope(stack: LocalStack) -> None:
    stack.command("up", "--set", "nginx.rate=1", "--set", "nginx.rate_burst=1")
    try:
        answers = [stack.ask("GET", "/ping") for _ in range(12)]
    finally:
        stack.command("up")
    refused = [body for status, body, _ in answers if status == 429]
    assert refused
    assert all(body["status"] == "fail" and body["message"] for body in refused)
