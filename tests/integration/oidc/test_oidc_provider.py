"""The issuer itself: away, with new keys, asked about tokens, or answering what it should not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cloudeye.config import OidcConfig
from cloudeye.services import oidc, oidc_provider
from tests.integration.oidc.provider import OTHER_CLIENT, Provider, part_of
from tests.integration.oidc.visitor import PATH, Visitor, counts
from tests.integration.world import World


@pytest.fixture
def visitor(world: World, provider: Provider) -> Visitor:
    """Somebody who is about to log in."""
    return Visitor(world, provider)


def test_a_login_while_the_issuer_is_away_is_told_to_come_back(
    visitor: Visitor, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"id_token": visitor.tokens()["id_token"], "nonce": visitor.nonce}
    provider.stop()
    try:
        answers = [visitor.sends(**body) for _ in range(2)]
    finally:
        provider.start()
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert answer.json["status"] == "error"
        assert answer.json["data"] is None
        assert provider.url.removeprefix("http://") not in answer.text
    assert visitor.sends(**body).status_code == 503, "an issuer that was away is left alone for a while"
    monkeypatch.setattr(oidc_provider, "PAUSE", 0.0)
    assert visitor.sends(**body).status_code == 200, "the nonce was not used up"


def test_keys_that_are_known_suffice_for_id_tokens(visitor: Visitor, provider: Provider) -> None:
    assert visitor.logs_in().status_code == 200
    visitor.nonce = visitor.get_nonce()
    tokens = visitor.tokens()
    provider.stop()
    try:
        assert visitor.sends(access_token=tokens["access_token"]).status_code == 503
        assert visitor.sends(id_token=tokens["id_token"], nonce=visitor.nonce).status_code == 200
    finally:
        provider.start()


def test_a_new_key_is_picked_up_but_not_asked_for_at_will(
    visitor: Visitor, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert visitor.logs_in().status_code == 200
    provider.rotate("second")
    assert part_of(visitor.tokens()["id_token"], 0)["kid"] == "second"
    assert visitor.logs_in().status_code == 200
    provider.rotate("third")
    assert visitor.logs_in().status_code == 401, "the keys were fetched a moment ago"
    monkeypatch.setattr(oidc_provider, "ANEW_EVERY", 0.0)
    assert visitor.logs_in().status_code == 200


def test_keys_are_fetched_anew_after_a_while(
    visitor: Visitor, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc_provider, "KEPT", 0.0)
    assert visitor.logs_in().status_code == 200
    withdrawn = {"id_token": visitor.tokens(nonce="n")["id_token"], "nonce": "n"}
    provider.rotate("fourth")
    monkeypatch.setattr(oidc_provider, "ANEW_EVERY", 3600.0)
    assert visitor.logs_in().status_code == 200
    with pytest.raises(oidc.Refused, match="does not publish"):
        oidc.verify_id_token(visitor.settings, **{"token": withdrawn["id_token"], "nonce": "n"})


@pytest.fixture
def asking(visitor: Visitor) -> OidcConfig:
    """Settings by which the issuer is asked about access tokens."""
    return replace(visitor.settings, introspect=True)


def test_the_issuer_is_asked_about_access_tokens(visitor: Visitor, asking: OidcConfig, provider: Provider) -> None:
    token = visitor.tokens()["access_token"]
    claims = oidc.verify_access_token(asking, token)
    assert (claims.email, claims.name) == ("alice@example.com", "Alice Example")
    assert claims.subject == part_of(token, 1)["sub"]
    provider.revoke(token)
    with pytest.raises(oidc.Refused, match="inactive"):
        oidc.verify_access_token(asking, token)


@pytest.mark.parametrize("token", ["opaque", "b3BhcXVl.b3BhcXVl", "A" * 40 + "=="])
def test_an_opaque_token_that_the_issuer_does_not_know_is_refused(asking: OidcConfig, token: str) -> None:
    with pytest.raises(oidc.Refused, match="inactive"):
        oidc.verify_access_token(asking, token)


def test_the_issuer_is_not_asked_about_another_clients_token(visitor: Visitor, asking: OidcConfig) -> None:
    with pytest.raises(oidc.Refused, match="another client"):
        oidc.verify_access_token(asking, visitor.tokens(client=OTHER_CLIENT)["access_token"])


def test_a_wrong_client_secret_is_our_trouble_and_not_the_visitors(
    visitor: Visitor, asking: OidcConfig, tmp_path: Path
) -> None:
    wrong = tmp_path / "secret"
    wrong.write_text("not the secret")
    with pytest.raises(oidc.Unavailable, match="client secret"):
        oidc.verify_access_token(replace(asking, client_secret_file=wrong), visitor.tokens()["access_token"])
    with pytest.raises(oidc.Unavailable, match="APP_OIDC_CLIENT_SECRET_FILE"):
        oidc.verify_access_token(replace(asking, client_secret_file=None), visitor.tokens()["access_token"])


def test_an_issuer_by_another_name_is_not_believed(visitor: Visitor, provider: Provider) -> None:
    """The same server, reached by a name that it does not call itself."""
    tokens = visitor.tokens()
    settings = replace(visitor.settings, issuer=provider.issuer.replace("127.0.0.1", "localhost"))
    with pytest.raises(oidc.Unavailable, match=r"oidc\.issuer must be that"):
        oidc.verify_id_token(settings, tokens["id_token"], visitor.nonce)


def test_without_an_issuer_there_is_no_such_login(visitor: Visitor) -> None:
    app = visitor.world.app
    config = app.config["CLOUDEYE"]
    app.config["CLOUDEYE"] = replace(config, oidc=replace(config.oidc, issuer=""))
    try:
        answers = [visitor.client.get(PATH), visitor.sends(access_token="x")]
    finally:
        app.config["CLOUDEYE"] = config
    assert [answer.status_code for answer in answers] == [404, 404]
    assert counts(visitor.world)[2] == 0


def test_the_check_says_whether_the_issuer_can_be_reached(visitor: Visitor, provider: Provider) -> None:
    runner = visitor.world.app.test_cli_runner()
    assert "issuer: reachable, keys: 1" in runner.invoke(args=["check"]).output
    oidc_provider.provider.cache_clear()
    provider.stop()
    try:
        result = runner.invoke(args=["check"])
    finally:
        provider.start()
    assert result.exit_code == 0
    assert "issuer: not reachable" in result.output


# An issuer that misbehaves on the wire: a server of a few lines, since none that is worth its name does.

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A server that gives this answer; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                answer(self)
            except OSError:
                self.close_connection = True  # who asked has gone

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _headers(request: BaseHTTPRequestHandler, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Connection", "close")
    request.end_headers()


def endless(request: BaseHTTPRequestHandler) -> None:
    _headers(request)
    while True:
        request.wfile.write(b" " * 65_536)


def dripping(request: BaseHTTPRequestHandler) -> None:
    _headers(request)
    for _ in range(1000):
        request.wfile.write(b" ")
        request.wfile.flush()
        threading.Event().wait(0.02)


def silent(request: BaseHTTPRequestHandler) -> None:
    threading.Event().wait(2)


def redirecting(request: BaseHTTPRequestHandler) -> None:
    _headers(request, 302, Location="http://127.0.0.1:9/")


def no_json(request: BaseHTTPRequestHandler) -> None:
    _headers(request)
    request.wfile.write(b"<html>")


def a_list(request: BaseHTTPRequestHandler) -> None:
    _headers(request)
    request.wfile.write(b"[]")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (endless, "more than 262144 bytes"),
        (dripping, "no whole answer"),
        (silent, "does not answer"),
        (redirecting, "answered 302"),
        (no_json, "no JSON object"),
        (a_list, "no JSON object"),
    ],
)
def test_an_issuer_that_misbehaves_is_given_up(monkeypatch: pytest.MonkeyPatch, answer: Answer, said: str) -> None:
    monkeypatch.setattr(oidc_provider, "WAIT", 0.5)
    monkeypatch.setattr(oidc_provider, "LONGEST", 1.0)
    with serving(answer) as issuer, pytest.raises(oidc.Unavailable, match=said):
        oidc_provider.Provider(issuer).key("any", "RS256")


@pytest.mark.parametrize(
    "url", ["http://accounts.example.com", "ftp://127.0.0.1/", "https://", "http://127.0.0.1.example.com/", ""]
)
def test_an_issuer_is_not_asked_in_clear_text(url: str) -> None:
    with pytest.raises(oidc.Unavailable, match="is not https"):
        oidc_provider.ask(url)
