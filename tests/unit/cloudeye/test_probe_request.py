"""What a probe sends, where it sends it along redirects, what it keeps of the answer and how it judges it."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import gevent
import pytest
from cryptography import x509
from gevent import socket

from cloudeye.services.ask import METHODS, Ask, StatusSet
from cloudeye.services.probe import Limits, ProbeResult, probe
from cloudeye.services.probe_wire import make_tls_context, open_socket
from cloudeye.services.resolver import Resolver
from tests.unit.cloudeye.playback import DAY, NOW, Certificates, Handler, NameServer, answer, read_request, tcp_server

LIMITS = Limits(
    allow_private=True, connect_timeout=2, read_timeout=2, total_timeout=5, max_bytes=100_000, max_redirects=5
)
OK = b"HTTP/1.1 200 OK\r\n"


def run(ask: Ask | str, limits: Limits = LIMITS, ca_file: str | None = None, **names: str) -> ProbeResult:
    """Probe, with a name server that knows `names` (with an underscore for each dot)."""
    server = NameServer({(name.replace("_", "."), "A"): [[address]] for name, address in names.items()})
    try:
        resolver = Resolver(nameservers=(server.address,), hosts_path="/nowhere")
        return probe(ask, limits, resolver, make_tls_context(ca_file))
    finally:
        server.close()


@dataclass
class Request:
    """A request as a server sees it."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


def take(sock: socket.socket) -> Request:
    head, _, body = read_request(sock).partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    method, path, version = lines[0].split(" ")
    assert version == "HTTP/1.1"
    request = Request(method, path, [tuple(line.split(": ", 1)) for line in lines[1:]], body)  # type: ignore[misc]
    length = int((request.all("content-length") or ["0"])[0])
    while len(request.body) < length:
        request.body += sock.recv(65536)
    assert len(request.body) == length  # nothing is sent beyond what was announced
    return request


@contextmanager
def site(reply: Callable[[Request], bytes] | bytes = OK + b"\r\n") -> Iterator[tuple[int, list[Request]]]:
    """A site that notes its requests."""
    seen: list[Request] = []

    def handler(sock: socket.socket) -> None:
        request = take(sock)
        seen.append(request)
        sock.sendall(reply if isinstance(reply, bytes) else reply(request))

    with tcp_server(handler) as port:
        yield port, seen


def to(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


# -- the request ---------------------------------------------------------------------------------------------------


def test_a_url_alone_is_a_get_with_these_headers_and_no_others() -> None:
    with site() as (port, seen):
        run(f"http://127.0.0.1:{port}/a?b")
    assert (seen[0].method, seen[0].path, seen[0].body) == ("GET", "/a?b", b"")
    assert seen[0].headers == [
        ("Host", f"127.0.0.1:{port}"),
        ("User-Agent", "cloudeye (website monitor)"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("body", [b"", b"\0{}\r\n\r\n" * 5000])
def test_each_method_is_sent_with_its_body_and_its_length(method: str, body: bytes) -> None:
    with site() as (port, seen):
        result = run(Ask(f"http://127.0.0.1:{port}/", method=method, body=body))
    assert (seen[0].method, seen[0].body) == (method, body)
    announced = [str(len(body))] if body or method in ("POST", "PUT", "PATCH") else []
    assert seen[0].all("content-length") == announced
    assert seen[0].all("transfer-encoding") == []
    assert (result.state, result.status_code) == ("up", 200)


def test_headers_of_ones_own_are_sent_and_may_replace_what_the_probe_says_of_itself() -> None:
    headers = (("user-agent", "Ours/1"), ("ACCEPT", "text/html"), ("Authorization", "Bearer x"), ("X-A", ""))
    with site() as (port, seen):
        run(Ask(f"http://127.0.0.1:{port}/", headers=headers))
    assert seen[0].headers == [
        ("Host", f"127.0.0.1:{port}"),
        *headers[:3],
        ("X-A", ""),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]


@pytest.mark.parametrize(
    "ask",
    [
        Ask("", headers=(("Host", "evil.test"),)),
        Ask("", headers=(("X", "a\r\nHost: evil.test"),)),
        Ask("", headers=(("X", "a\r\n\r\nDELETE /all HTTP/1.1\r\nHost: x\r\n\r\n"),)),
        Ask("", headers=(("X: y\r\nHost", "evil.test"),)),
        Ask("", headers=(("Content-Length", "0"),), method="POST", body=b"GET /smuggled HTTP/1.1\r\n\r\n"),
        Ask("", headers=(("Transfer-Encoding", "chunked"),), method="POST", body=b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        Ask("", headers=(("Transfer_Encoding", "chunked"),)),
        Ask("", method="GET / HTTP/1.1\r\nHost: evil.test\r\n\r\nGET"),
        Ask("", method="CONNECT"),
        Ask("", method="POST", body=b"x" * 65537),
    ],
    ids=lambda ask: repr((ask.method, *ask.headers))[:60],
)
def test_what_could_become_another_request_is_never_sent_even_when_it_was_saved(ask: Ask) -> None:
    connections: list[object] = []
    with tcp_server(connections.append) as port:
        result = run(replace(ask, url=f"http://127.0.0.1:{port}/"))
    assert (result.state, result.code, result.answer) == ("down", "refused_request", None)
    assert connections == []


def test_a_webhooks_post_is_judged_by_its_status_alone() -> None:
    sending = Ask(
        "",
        method="POST",
        headers=(("Content-Type", "application/json"), ("webhook-id", "7.1"), ("webhook-signature", "v1,abc=")),
        body=b'{"kind": "down"}',
        follow_redirects=False,
        expected=StatusSet.parse("200-299"),
        timeout=3,
    )
    for status, state in [(200, "up"), (204, "up"), (302, "down"), (307, "down"), (410, "down"), (500, "down")]:
        with site(to("http://169.254.169.254/", status)) as (port, seen):
            result = run(replace(sending, url=f"http://127.0.0.1:{port}/hook"))
        assert (result.status_code, result.state, result.redirects) == (status, state, 0)
        assert result.answer is not None
        assert result.answer.status == status
        assert [(r.method, r.path, r.body) for r in seen] == [("POST", "/hook", sending.body)]
        assert seen[0].all("webhook-id") == ["7.1"]


# -- redirects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "then", "body_kept"),
    [
        ("GET", 301, "GET", False),
        ("HEAD", 301, "HEAD", False),
        ("HEAD", 303, "HEAD", False),
        ("POST", 301, "GET", False),
        ("POST", 302, "GET", False),
        ("POST", 303, "GET", False),
        ("POST", 307, "POST", True),
        ("POST", 308, "POST", True),
        ("PUT", 301, "PUT", True),
        ("PUT", 303, "GET", False),
        ("PATCH", 302, "PATCH", True),
        ("DELETE", 303, "GET", False),
        ("DELETE", 308, "DELETE", True),
        ("OPTIONS", 307, "OPTIONS", True),
    ],
)
def test_a_redirect_keeps_or_changes_the_method(method: str, status: int, then: str, body_kept: bool) -> None:
    body = b"" if method in ("GET", "HEAD") else b"the body"
    headers = (("Content-Type", "text/plain"), ("Authorization", "secret"))
    with site(lambda request: to("/two", status) if request.path == "/one" else OK + b"\r\n") as (port, seen):
        result = run(Ask(f"http://127.0.0.1:{port}/one", method=method, body=body, headers=headers))
    assert [(r.path, r.method) for r in seen] == [("/one", method), ("/two", then)]
    assert seen[1].body == (body if body_kept else b"")
    # What describes a body goes with it; credentials stay, since the origin is the same.
    assert seen[1].all("content-type") == (["text/plain"] if then == method else [])
    assert seen[1].all("authorization") == ["secret"]
    assert (result.state, result.redirects) == ("up", 1)


SECRETS = (("Authorization", "Bearer secret"), ("Cookie", "sid=secret"), ("X-Api-Key", "secret"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "elsewhere", ["http://other.test:{port}/", "http://127.0.0.1:{other}/", "//127.0.0.1:{other}/"]
)
def test_headers_of_ones_own_never_reach_another_origin(status: int, elsewhere: str) -> None:
    with site() as (other, there):
        locations: list[str] = []
        with site(lambda r: OK + b"\r\n" if there_too(r) else to(locations[0], status)) as (port, seen):
            locations.append(elsewhere.format(port=port, other=other))
            run(Ask(f"http://127.0.0.1:{port}/", headers=(*SECRETS, ("User-Agent", "secret"))), other_test="127.0.0.1")
    requests = [*seen, *there]
    assert len(requests) == 2
    assert b"secret" in str(requests[0].headers).encode()
    assert b"secret" not in str(requests[1].headers).encode()
    assert requests[1].all("user-agent") == ["cloudeye (website monitor)"]


def there_too(request: Request) -> bool:
    return request.all("host")[0].startswith("other.test")


def test_a_step_from_http_to_https_is_one_to_another_origin(certificates: Certificates) -> None:
    seen: list[Request] = []

    def secure(sock: socket.socket) -> None:
        seen.append(take(sock))
        sock.sendall(OK + b"\r\n")

    with (
        tcp_server(secure, certificates.server("site.test")) as secured,
        site(to(f"https://site.test:{secured}/")) as (
            port,
            plain,
        ),
    ):
        ask = Ask(f"http://site.test:{port}/", headers=SECRETS)
        result = run(ask, ca_file=certificates.ca_file, site_test="127.0.0.1")
    assert (result.state, result.redirects) == ("up", 1)
    assert plain[0].all("x-api-key") == ["secret"]
    assert seen[0].all("x-api-key") == []


def test_a_step_from_https_to_http_on_the_same_port_is_one_too(certificates: Certificates) -> None:
    context = certificates.server("site.test")
    seen: list[Request] = []
    own: list[int] = []

    def both(sock: socket.socket) -> None:
        secure = sock.recv(1, socket.MSG_PEEK) == b"\x16"  # the first byte of TLS
        if secure:
            sock = context.wrap_socket(sock, server_side=True)
        seen.append(take(sock))
        sock.sendall(to(f"http://site.test:{own[0]}/") if secure else OK + b"\r\n")
        sock.close()

    with tcp_server(both) as port:
        own.append(port)
        ask = Ask(f"https://site.test:{port}/", headers=SECRETS)
        result = run(ask, ca_file=certificates.ca_file, site_test="127.0.0.1")
    assert (result.state, result.redirects) == ("up", 1)
    assert [request.all("x-api-key") for request in seen] == [["secret"], []]


def test_headers_that_were_dropped_do_not_come_back_with_a_redirect_home() -> None:
    """Whoever was redirected to would choose what is asked of the site with its owner's credentials."""
    ports: list[int] = []
    with (
        site(lambda r: to(f"http://127.0.0.1:{ports[0]}/delete-all")) as (there, _),
        site(lambda r: OK + b"\r\n" if r.path == "/delete-all" else to(f"http://127.0.0.1:{there}/")) as (port, seen),
    ):
        ports.append(port)
        run(Ask(f"http://127.0.0.1:{port}/", headers=SECRETS))
    assert [(r.path, r.all("x-api-key")) for r in seen] == [("/", ["secret"]), ("/delete-all", [])]


@pytest.mark.parametrize("status", [307, 308])
def test_a_body_is_not_taken_to_another_origin(status: int) -> None:
    with site() as (other, there), site(to(f"http://127.0.0.1:{other}/", status)) as (port, _):
        result = run(Ask(f"http://127.0.0.1:{port}/", method="POST", body=b"password=secret"))
    assert (result.state, result.code) == ("down", "refused_redirect")
    assert there == []


def test_a_post_that_becomes_a_get_may_go_elsewhere_without_its_body() -> None:
    with site() as (other, there), site(to(f"http://127.0.0.1:{other}/", 303)) as (port, _):
        result = run(Ask(f"http://127.0.0.1:{port}/", method="POST", body=b"password=secret"))
    assert result.state == "up"
    assert [(r.method, r.body, r.all("content-length")) for r in there] == [("GET", b"", [])]


def test_a_redirect_that_is_not_followed_is_the_answer() -> None:
    with site(to("http://169.254.169.254/", 301)) as (port, seen):
        result = run(Ask(f"http://127.0.0.1:{port}/", follow_redirects=False, expected=StatusSet.parse("301")))
    assert (result.state, result.status_code, result.redirects, len(seen)) == ("up", 301, 0, 1)
    assert result.answer is not None
    assert result.answer.header("location") == "http://169.254.169.254/"


# -- the answer ----------------------------------------------------------------------------------------------------


def test_the_answer_is_kept_as_it_came() -> None:
    head = OK + b"Set-Cookie: a=1\r\nX-Latin: caf\xe9\r\nSet-COOKIE: b=2\r\nContent-Length: 5\r\n\r\n"
    with site(head + b"hello") as (port, _):
        result = run(f"http://127.0.0.1:{port}/a#b")
    assert result.answer is not None
    assert result.answer.headers == (
        ("set-cookie", "a=1"),
        ("x-latin", "caf\xe9"),
        ("set-cookie", "b=2"),
        ("content-length", "5"),
    )
    assert (result.answer.status, result.answer.body, result.answer.truncated) == (200, b"hello", False)
    assert result.answer.url == f"http://127.0.0.1:{port}/a"
    assert result.tls is None


@pytest.mark.parametrize(
    ("method", "reply"),
    [
        ("HEAD", OK + b"Content-Length: 1000000\r\n\r\n"),
        ("HEAD", OK + b"Transfer-Encoding: chunked\r\nContent-Encoding: br\r\n\r\n"),
        ("HEAD", OK + b"\r\nthough it has one"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\nthough it has one"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
    ],
)
def test_an_answer_that_has_no_body_is_whole_without_one(method: str, reply: bytes) -> None:
    with site(reply) as (port, _):
        result = run(Ask(f"http://127.0.0.1:{port}/", method=method))
    assert result.answer is not None
    assert (result.state, result.answer.body, result.truncated, result.answer.packed) == ("up", b"", False, None)


@pytest.mark.parametrize("interim", [1, 16])
def test_interim_answers_are_passed_over(interim: int) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\n\r\n" * interim
    with site(early + OK + b"X: last\r\n\r\nok") as (port, _):
        result = run(f"http://127.0.0.1:{port}/")
    assert result.answer is not None
    assert (result.status_code, result.answer.headers, result.answer.body) == (200, (("x", "last"),), b"ok")


def test_trailers_are_read_and_never_become_headers() -> None:
    chunks = b"2\r\nok\r\n0\r\nSet-Cookie: evil=1\r\nX-Check: 1\r\n\r\n"
    with site(OK + b"Transfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n" + chunks) as (port, _):
        result = run(f"http://127.0.0.1:{port}/")
    assert result.answer is not None
    assert result.answer.body == b"ok"
    assert [name for name, _ in result.answer.headers] == ["transfer-encoding", "trailer"]


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
def test_a_body_in_a_coding_nobody_asked_for_is_up_but_is_not_taken_for_the_page(coding: str) -> None:
    reply = OK + f"Content-Encoding: {coding}\r\n\r\n".encode() + b"\x1b\x05\0\x80welcome\x03"
    with site(reply) as (port, _):
        result = run(f"http://127.0.0.1:{port}/")
        for ask in (Ask("", keyword_present="welcome"), Ask("", keyword_absent="defaced")):
            judged = run(replace(ask, url=f"http://127.0.0.1:{port}/"))
            assert (judged.state, judged.code) == ("down", "unreadable_body")
            assert coding in (judged.text or "")
    assert result.answer is not None
    assert (result.state, result.truncated) == ("up", True)
    assert (result.answer.body, result.answer.packed) == (b"", coding)


def test_what_came_of_a_body_that_breaks_off_is_kept_and_said_to_be_cut() -> None:
    with site(OK + b"Content-Length: 100\r\n\r\nshort") as (port, _):
        result = run(f"http://127.0.0.1:{port}/")
    assert (result.state, result.code, result.status_code) == ("down", "incomplete_body", 200)
    assert result.answer is not None
    assert (result.answer.body, result.answer.truncated) == (b"short", True)


def test_a_refusal_that_comes_before_the_whole_body_is_sent_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def narrow(*details: Any) -> socket.socket:
        sock = open_socket(*details)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # as towards a slow network
        return sock

    def refuse(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(1)
            sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        # Closed with something unread: the client is told so while it sends.

    monkeypatch.setattr("cloudeye.services.probe.open_socket", narrow)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = gevent.spawn(refuse, listener)
        result = run(Ask(f"http://127.0.0.1:{listener.getsockname()[1]}/", method="POST", body=b"x" * 65536))
        server.join()
    assert (result.code, result.status_code) == ("http_status", 413)


def test_a_redirect_that_leads_nowhere_leaves_no_answer() -> None:
    with site(to("file:///etc/passwd")) as (port, _):
        result = run(f"http://127.0.0.1:{port}/")
    assert (result.code, result.status_code, result.answer, result.tls) == ("bad_scheme", None, None, None)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


def test_what_protects_the_answer_is_told(certificates: Certificates) -> None:
    context = certificates.server("site.test", not_after=NOW + 5 * DAY)
    with tcp_server(answer(OK + b"\r\nok"), context) as port:
        result = run(f"https://site.test:{port}/", ca_file=certificates.ca_file, site_test="127.0.0.1")
    assert result.tls is not None
    assert result.tls.version == "TLSv1.3"
    assert result.tls.cipher.startswith("TLS_")
    leaf = x509.load_der_x509_certificate(result.tls.certificate)
    assert leaf.not_valid_after_utc.date() == (NOW + 5 * DAY).date()


def test_what_protected_a_redirect_is_not_told_of_a_plain_answer(certificates: Certificates) -> None:
    with (
        site() as (port, _),
        tcp_server(answer(to(f"http://127.0.0.1:{port}/")), certificates.server("site.test")) as secured,
    ):
        result = run(f"https://site.test:{secured}/", ca_file=certificates.ca_file, site_test="127.0.0.1")
    assert (result.state, result.redirects, result.tls) == ("up", 1, None)


# -- the judgement -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "status", "state"),
    [("200", 200, "up"), ("200", 201, "down"), ("404", 404, "up"), ("404", 200, "down"), ("500-599", 503, "up")],
)
def test_the_expected_statuses_decide(expected: str, status: int, state: str) -> None:
    with site(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status) as (port, _):
        result = run(Ask(f"http://127.0.0.1:{port}/", expected=StatusSet.parse(expected)))
    assert (result.state, result.status_code) == (state, status)
    assert result.error == (None if state == "up" else f"http_status: the site answered with status {status}")


PAGE = "Grüße: alles läuft"


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (Ask("", keyword_present="läuft"), None),
        (Ask("", keyword_present="steht"), "keyword_missing: 'steht' is not in the body"),
        (Ask("", keyword_absent="steht"), None),
        (Ask("", keyword_absent="läuft"), "keyword_found: 'läuft' is in the body"),
        (Ask("", keyword_present="Grüße", keyword_absent="läuft"), "keyword_found: 'läuft' is in the body"),
        (Ask("", keyword_present="", keyword_absent=""), None),
        # The status goes first, for it says more.
        (
            Ask("", keyword_present="steht", expected=StatusSet.parse("201")),
            "http_status: the site answered with status 200",
        ),
        (
            Ask("", method="HEAD", keyword_present="läuft"),
            "keyword_missing: 'läuft' is not in the body: an answer to HEAD has none",
        ),
    ],
)
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "utf-16le"])
def test_keywords_decide(ask: Ask, error: str | None, charset: str) -> None:
    head = OK + f"Content-Type: text/plain; charset={charset}\r\n\r\n".encode()
    with site(lambda r: head if r.method == "HEAD" else head + PAGE.encode(charset)) as (port, _):
        result = run(replace(ask, url=f"http://127.0.0.1:{port}/"))
    assert (result.error, result.state) == (error, "up" if error is None else "down")


@pytest.mark.parametrize("packed", [False, True])
def test_of_a_body_that_is_too_large_only_what_was_read_is_spoken_of(packed: bool) -> None:
    body = b"begin" + b"." * 200_000 + b"end"
    head = OK + (b"Content-Encoding: gzip\r\n\r\n" if packed else b"\r\n")
    with site(head + (gzip.compress(body) if packed else body)) as (port, _):
        url = f"http://127.0.0.1:{port}/"
        assert run(Ask(url, keyword_present="begin")).state == "up"
        assert run(Ask(url, keyword_absent="begin")).code == "keyword_found"
        missing = run(Ask(url, keyword_present="end"))
        absent = run(Ask(url, keyword_absent="end"))
    assert missing.error == ("keyword_missing: 'end' is not in the 100000 bytes of the body that were read; it goes on")
    assert (absent.state, absent.truncated) == ("up", True)


def test_a_long_keyword_does_not_crowd_out_what_is_said_of_it() -> None:
    with site(OK + b"\r\n") as (port, _):
        result = run(Ask(f"http://127.0.0.1:{port}/", keyword_present="k" * 255))
    assert result.error is not None
    assert result.error.endswith("...' is not in the body")


# -- time ----------------------------------------------------------------------------------------------------------


def slow(seconds: float) -> Handler:
    def handler(sock: socket.socket) -> None:
        read_request(sock)
        gevent.sleep(seconds)
        sock.sendall(OK + b"\r\n")

    return handler


def test_an_ask_may_have_a_shorter_time_than_others() -> None:
    with tcp_server(slow(30)) as port:
        result = run(Ask(f"http://127.0.0.1:{port}/", timeout=0.3))
    assert result.state == "down"
    assert result.code in ("total_timeout", "read_timeout")  # both are over at once
    assert result.timings.total_ms < 4000


def test_an_ask_with_a_time_of_its_own_may_use_it_up_in_silence() -> None:
    limits = replace(LIMITS, read_timeout=0.1, total_timeout=10)
    with tcp_server(slow(0.6)) as port:
        assert run(f"http://127.0.0.1:{port}/", limits).code == "read_timeout"
        assert run(Ask(f"http://127.0.0.1:{port}/", timeout=9), limits).state == "up"


def test_an_ask_has_never_more_time_than_the_limits() -> None:
    with tcp_server(slow(30)) as port:
        result = run(Ask(f"http://127.0.0.1:{port}/", timeout=3600), replace(LIMITS, total_timeout=0.3))
    assert result.error == "total_timeout: not finished within 0.3 s"


def test_a_site_that_does_not_take_a_body_is_given_up() -> None:
    def deaf(sock: socket.socket) -> None:
        gevent.sleep(30)

    with tcp_server(deaf) as port:
        result = run(Ask(f"http://127.0.0.1:{port}/", method="POST", body=b"x" * 65536, timeout=0.5))
    assert result.code in ("total_timeout", "read_timeout")
