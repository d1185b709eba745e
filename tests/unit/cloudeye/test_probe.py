"""Probes against real servers on loopback, most of them hostile."""

from __future__ import annotations

import itertools
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gevent
import pytest
from gevent import socket
from gevent.pool import Pool

from cloudeye.services.ask import Ask
from cloudeye.services.probe import Limits, ProbeResult, probe
from cloudeye.services.probe_wire import make_tls_context
from cloudeye.services.resolver import Resolver
from tests.unit.cloudeye.hostile import HOSTILE, HOSTILE_TLS, KINDS, hostile_process, redirect
from tests.unit.cloudeye.playback import (
    DAY,
    NOW,
    Certificates,
    Handler,
    NameServer,
    answer,
    endless,
    read_request,
    tcp_server,
)

LIMITS = Limits(
    allow_private=True, connect_timeout=2, read_timeout=0.5, total_timeout=1.5, max_bytes=200_000, max_redirects=3
)
OK = b"HTTP/1.1 200 OK\r\n"
# Of these nobody can say what is in the body, which is no failure as long as nobody asks.
UNREADABLE = {"brotli nobody asked for", "zstd nobody asked for", "bomb in a bomb"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer({("site.test", "A"): [["127.0.0.1"]], ("site.test", "AAAA"): [[]]})
    yield server
    server.close()


def ask(url: str, limits: Limits = LIMITS, names: NameServer | None = None, ca_file: str | None = None) -> ProbeResult:
    servers = None if names is None else (names.address,)
    return probe(url, limits, Resolver(nameservers=servers, hosts_path="/nowhere"), make_tls_context(ca_file))


@pytest.mark.parametrize(("handler", "code"), [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_a_hostile_site_is_contained(handler: Handler, code: str | None) -> None:
    with tcp_server(handler) as port:
        result = ask(f"http://127.0.0.1:{port}/")
    contained(result, code)


@pytest.mark.parametrize(("make", "code"), [h[1:] for h in HOSTILE_TLS], ids=[h[0] for h in HOSTILE_TLS])
def test_a_site_that_is_hostile_over_tls_is_contained(
    make: Callable[[Certificates], tuple[Handler, ssl.SSLContext | None]], code: str | None, certificates: Certificates
) -> None:
    limits = replace(LIMITS, connect_timeout=0.5)
    with tcp_server(*make(certificates)) as port:
        result = ask(f"https://127.0.0.1:{port}/", limits, ca_file=certificates.ca_file)
    contained(result, code)


def contained(result: ProbeResult, code: str | None) -> None:
    assert result.code == code
    assert result.state == ("up" if code is None else "down")
    assert result.body_bytes <= LIMITS.max_bytes
    assert result.timings.total_ms < 1000 * (LIMITS.total_timeout + 3)  # 3 s for a machine that is busy
    assert code is None or (result.error or "").startswith(f"{code}: ")


@pytest.mark.parametrize(
    ("first", "code"), [(OK + b"X: ", "headers_too_large"), (OK + b"\r\n", None)], ids=["headers", "body"]
)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_what_comes_a_byte_at_a_time_is_cut_after_so_many_reads(
    first: bytes, code: str | None, secure: bool, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read costs time of the processor, however little it brings; over TLS a record is one."""
    monkeypatch.setattr("cloudeye.services.probe_http.MAX_READS", 20)
    patient = replace(LIMITS, read_timeout=20, total_timeout=30)
    drips = endless(first, itertools.repeat(b"y"), 0.01)
    with tcp_server(drips, certificates.server("127.0.0.1") if secure else None) as port:
        result = ask(
            f"http{'s' * secure}://127.0.0.1:{port}/", patient, ca_file=certificates.ca_file if secure else None
        )
    assert result.code == code
    assert result.truncated is (code is None)
    assert result.body_bytes <= 22


def test_there_are_enough_kinds_of_hostile_sites_and_each_has_a_name_of_its_own() -> None:
    assert len({name for name, _ in KINDS}) == len(KINDS) >= 20


def test_hostile_sites_do_not_hold_up_the_others(tmp_path: Path) -> None:
    """All kinds of hostile sites at once, three times over, with an ordinary one beside each.

    The servers are another process, so that what is late here is late because of the probes. Each probe looks for a
    keyword too.
    """
    resolver = Resolver()
    patient = replace(LIMITS, connect_timeout=6, read_timeout=3, total_timeout=9)  # a busy machine is no failure
    late: list[float] = []

    def watch() -> None:
        while True:
            started = time.perf_counter()
            gevent.sleep(0.01)
            late.append(time.perf_counter() - started - 0.01)

    with hostile_process(tmp_path) as urls:
        context = make_tls_context(str(tmp_path / "ca.pem"))
        work = [(name, code) for name, code in KINDS for _ in range(3)]
        pairs = [item for pair in work for item in (pair, ("good", None))]
        watcher = gevent.spawn(watch)
        results = Pool(len(pairs)).map(
            lambda item: probe(Ask(urls[item[0]], keyword_absent="\u4e16\u754c"), patient, resolver, context), pairs
        )
        watcher.kill()
    good, bad = results[1::2], results[::2]
    times = sorted(result.timings.total_ms for result in good)
    print(
        f"{len(KINDS)} hostile kinds, {len(bad)} at once, for up to {max(r.timings.total_ms for r in bad) / 1000:.1f} s"
    )
    print(
        f"{len(good)} ordinary sites beside them took {times[len(times) // 2]:.0f} ms (half), {times[-1]:.0f} ms (all)"
    )
    print(
        f"the hub was late by {sorted(late)[len(late) // 2] * 1000:.1f} ms (half), {max(late) * 1000:.0f} ms (at most)"
    )
    expected = ["unreadable_body" if name in UNREADABLE else code for name, code in work]
    assert [(name, result.code) for (name, _), result in zip(work, bad, strict=True)] == list(
        zip((name for name, _ in work), expected, strict=True)
    )
    assert {(result.state, result.body_bytes) for result in good} == {("up", 2)}


def test_an_ordinary_site_is_up_with_its_times() -> None:
    seen: list[bytes] = []

    def handler(sock: socket.socket) -> None:
        seen.append(read_request(sock))
        sock.sendall(OK + b"Content-Length: 2\r\n\r\nok")

    with tcp_server(handler) as port:
        result = ask(f"http://127.0.0.1:{port}/a?b=c")
        assert seen[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
        assert f"Host: 127.0.0.1:{port}\r\n".encode().lower() in seen[0].lower()
    assert (result.state, result.status_code, result.error, result.body_bytes) == ("up", 200, None, 2)
    assert result.address == "127.0.0.1"
    assert result.latency_ms is not None
    assert 0 < result.timings.connect_ms + result.timings.first_byte_ms <= result.timings.total_ms
    assert result.latency_ms <= result.timings.total_ms


@pytest.mark.parametrize(
    ("status", "state"), [(200, "up"), (204, "up"), (304, "up"), (399, "up"), (404, "down"), (500, "down")]
)
def test_the_status_decides(status: int, state: str) -> None:
    with tcp_server(answer(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)) as port:
        result = ask(f"http://127.0.0.1:{port}/")
    assert (result.state, result.status_code) == (state, status)
    assert result.code == (None if state == "up" else "http_status")


def test_redirects_are_followed_and_the_last_answer_counts() -> None:
    with (
        tcp_server(answer(b"HTTP/1.1 503 Busy\r\n\r\n")) as last,
        tcp_server(redirect(f"http://localhost.:{last}/x y")) as port,
    ):
        names = NameServer({("localhost", "A"): [["127.0.0.1"]]})
        result = ask(f"http://127.0.0.1:{port}/", names=names)
        names.close()
    assert (result.state, result.status_code, result.redirects) == ("down", 503, 1)
    assert result.url == f"http://localhost:{last}/x%20y"


def test_a_closed_port_is_refused() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # taken, but nobody listens
        result = ask(f"http://127.0.0.1:{sock.getsockname()[1]}/")
    assert (result.state, result.code) == ("down", "connect_refused")


def test_the_next_address_is_tried_when_one_refuses(names: NameServer) -> None:
    names.answers["site.test", "A"] = [["127.0.0.9", "127.0.0.1"]]
    with tcp_server(answer(OK + b"\r\n")) as port:
        result = ask(f"http://site.test:{port}/", names=names)
    assert (result.state, result.address) == ("up", "127.0.0.1")


# -- TLS -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("good", None),
        ("expired", "tls_expired"),
        ("early", "tls_not_yet_valid"),
        ("self-signed", "tls_self_signed"),
        ("wrong name", "tls_wrong_name"),
        ("unknown issuer", "tls_untrusted"),
    ],
)
def test_a_certificate_is_verified_for_its_name(
    kind: str, code: str | None, certificates: Certificates, names: NameServer, tmp_path: Path
) -> None:
    context = {
        "good": lambda: certificates.server("site.test"),
        "expired": lambda: certificates.server("site.test", not_before=NOW - 2 * DAY, not_after=NOW - DAY),
        "early": lambda: certificates.server("site.test", not_before=NOW + DAY, not_after=NOW + 2 * DAY),
        "self-signed": lambda: certificates.server("site.test", self_signed=True),
        "wrong name": lambda: certificates.server("other.test"),
        "unknown issuer": lambda: Certificates.make(tmp_path).server("site.test"),
    }[kind]()
    seen: list[str | None] = []
    context.sni_callback = lambda _sock, name, _context: seen.append(name)
    with tcp_server(answer(OK + b"\r\nok"), context) as port:
        result = ask(f"https://site.test:{port}/", names=names, ca_file=certificates.ca_file)
    assert (result.code, result.state) == (code, "up" if code is None else "down")
    assert seen == ["site.test"]


def test_a_certificate_for_an_address_is_verified_too(certificates: Certificates) -> None:
    with tcp_server(answer(OK + b"\r\nok"), certificates.server("127.0.0.1")) as port:
        assert ask(f"https://127.0.0.1:{port}/", ca_file=certificates.ca_file).state == "up"
    with tcp_server(answer(OK + b"\r\nok"), certificates.server("127.0.0.2")) as port:
        assert ask(f"https://127.0.0.1:{port}/", ca_file=certificates.ca_file).code == "tls_wrong_name"


# -- what it refuses to ask ----------------------------------------------------------------------------------------

PUBLIC = Limits(
    allow_private=False, connect_timeout=0.5, read_timeout=0.5, total_timeout=1.5, max_bytes=1000, max_redirects=3
)


@pytest.mark.parametrize(
    ("kind", "addresses"),
    [
        ("A", ["127.0.0.1"]),
        ("A", ["10.0.0.1", "192.168.1.1"]),
        ("A", ["169.254.169.254"]),
        ("A", ["0.0.0.0"]),
        ("AAAA", ["::1"]),
        ("AAAA", ["::ffff:127.0.0.1"]),
        ("AAAA", ["fe80::1"]),
        ("AAAA", ["64:ff9b::7f00:1"]),
    ],
)
def test_it_refuses_a_site_that_resolves_to(kind: str, addresses: list[str], names: NameServer) -> None:
    names.answers = {("site.test", "A"): [[]], ("site.test", "AAAA"): [[]]} | {("site.test", kind): [addresses]}
    result = ask("http://site.test/", PUBLIC, names)
    assert (result.state, result.code, result.address) == ("down", "refused_address", None)


def test_it_never_connects_to_a_private_address_that_hides_among_others(names: NameServer) -> None:
    connections: list[object] = []
    with tcp_server(connections.append) as port:
        names.answers["site.test", "A"] = [["192.0.2.1", "127.0.0.1"]]
        result = ask(f"http://site.test:{port}/", PUBLIC, names)
    assert result.state == "down"
    assert connections == []


def test_a_name_that_answers_differently_the_second_time_gains_nothing(names: NameServer) -> None:
    """Rebinding: the first answer passes, later ones point inside. Each connection is to an address just judged."""
    names.ttl = 0
    names.answers["site.test", "A"] = [["127.0.0.1"], ["169.254.169.254"]]
    with tcp_server(redirect("/again")) as port:
        limits = Limits(True, 0.5, 0.5, 1.5, 1000, 3)
        resolver = Resolver(nameservers=(names.address,), hosts_path="/nowhere", min_ttl=0)
        result = probe(f"http://site.test:{port}/", limits, resolver, make_tls_context())
    assert [kind for _, kind in names.questions][:2] == ["A", "A"]
    assert (result.code, result.redirects) == ("refused_address", 1)


def test_the_address_that_was_judged_is_the_one_connected_to(names: NameServer) -> None:
    """One look-up a connection: nothing asks for the name a second time between judging and connecting."""
    names.ttl = 0
    with tcp_server(answer(OK + b"\r\n")) as port:
        assert ask(f"http://site.test:{port}/", names=names).address == "127.0.0.1"
    assert names.questions == [("site.test", "A")]


def test_trouble_of_this_machine_is_no_news_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    context, resolver = make_tls_context(), Resolver()
    gevent.sleep(0)
    with open("/dev/null") as lowest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno(), hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                probe("http://127.0.0.1:9/", LIMITS, resolver, context)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
