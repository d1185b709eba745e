"""Proof of control: a file on a real server, a record of a real name server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import dns.rcode
import gevent
import pytest

from cloudeye.services.findings.control import PATH, file_url, record_name, token_of
from cloudeye.services.findings.proof import AT_ONCE, Busy, Proof, TextResolver, check, prove
from cloudeye.services.netguard import check_url
from cloudeye.services.probe import Limits, probe
from cloudeye.services.probe_wire import make_tls_context
from cloudeye.services.resolver import LookupFailed
from tests.unit.cloudeye.findings.website import Reply, Request, Website
from tests.unit.cloudeye.playback import NameServer

LIMITS = Limits(True, connect_timeout=1, read_timeout=1, total_timeout=2, max_bytes=10_000, max_redirects=3)
TOKEN = token_of("secret", 7, "site.test")
OTHER = token_of("secret", 8, "site.test")
RECORD = ("_cloudeye.site.test", "TXT")


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer({("site.test", "A"): [["127.0.0.1"]]})
    yield server
    server.close()


def proven(names: NameServer, site: Website | None = None, token: str = TOKEN) -> Proof:
    resolver = TextResolver(timeout=1, nameservers=(names.address,), hosts_path="/nowhere")
    get = partial(probe, limits=LIMITS, resolver=resolver, tls=make_tls_context())
    if site is None:
        return prove(check_url("http://site.test:1/", True), token, get, resolver.texts)
    with site.served() as port:
        return prove(check_url(f"http://site.test:{port}/shop?page=2", True), token, get, resolver.texts)


def test_a_token_is_of_one_owner_one_host_and_one_stack() -> None:
    assert len({TOKEN, OTHER, token_of("secret", 7, "other.test"), token_of("another", 7, "site.test")}) == 4
    assert token_of("secret", 7, "site.test") == TOKEN


@pytest.mark.parametrize(
    ("body", "way"),
    [
        (TOKEN, "file"),
        (f"{TOKEN}\n", "file"),
        (f"\r\n{OTHER}\r\n  {TOKEN}\r\n", "file"),  # several people may watch one host
        (OTHER, None),
        (TOKEN[:-1], None),
        (f"x{TOKEN}", None),
        (f"<p>{TOKEN}</p>", None),
        ("\n" * 100 + TOKEN, None),
        ("x" * 5000 + "\n" + TOKEN, None),
        ("", None),
        ("\x00\x01\u20ac", None),
    ],
)
def test_the_file_must_hold_the_token_on_a_line_of_its_own(names: NameServer, body: str, way: str | None) -> None:
    found = proven(names, Website({PATH: Reply(body.encode())}))
    assert (found.way, found.undecided) == (way, False)


@pytest.mark.parametrize(
    ("status", "undecided"), [(404, False), (403, False), (302, False), (206, False), (503, True), (429, True)]
)
def test_only_the_file_itself_counts(names: NameServer, status: int, undecided: bool) -> None:
    moved = (("Location", "/token"),)
    site = Website({PATH: Reply(TOKEN.encode(), status, moved), "/token": Reply(TOKEN.encode())})
    found = proven(names, site)
    assert (found.way, found.undecided) == (None, undecided)
    assert site.paths == [PATH]
    assert f"status {status}, which leads to /token and is not followed" in found.said[0]


def test_a_site_that_gives_back_what_it_is_asked_proves_nothing(names: NameServer) -> None:
    def echo(request: Request) -> Reply:
        return Reply("\n".join([request.path, *request.headers.values()]).encode())

    assert proven(names, Website(otherwise=echo)).way is None


@pytest.mark.parametrize(
    ("records", "way"),
    [
        ([f'"cloudeye={TOKEN}"'], "dns"),
        (['"v=spf1 -all"', f'"cloudeye={OTHER}"', f'"cloudeye={TOKEN}"'], "dns"),
        ([f'"cloudeye={TOKEN[:20]}" "{TOKEN[20:]}"'], "dns"),  # the strings of a record belong together
        ([f'"{TOKEN}"'], None),
        ([f'"cloudeye={OTHER}"'], None),
        ([f'"xcloudeye={TOKEN}"'], None),
    ],
)
def test_a_record_proves_control_as_well(names: NameServer, records: list[str], way: str | None) -> None:
    names.answers[RECORD] = [records]
    found = proven(names, Website())
    assert (found.way, found.undecided) == (way, False)
    assert len(found.said) == 2


def test_a_record_may_be_an_alias(names: NameServer) -> None:
    names.answers["_cloudeye.site.test", "CNAME"] = [["proofs.elsewhere.test"]]
    names.answers["proofs.elsewhere.test", "TXT"] = [[f'"cloudeye={TOKEN}"']]
    assert proven(names, Website()).way == "dns"


def test_a_long_answer_comes_over_tcp(names: NameServer) -> None:
    names.answers[RECORD] = [[f'"{n:0250d}"' for n in range(20)] + [f'"cloudeye={TOKEN}"']]
    names.truncate = True
    resolver = TextResolver(timeout=1, nameservers=(names.address,), hosts_path="/nowhere")
    assert f"cloudeye={TOKEN}" in resolver.texts("_cloudeye.site.test")


def test_where_the_file_is_the_name_server_is_not_asked_for_a_record(names: NameServer) -> None:
    proven(names, Website({PATH: Reply(TOKEN.encode())}))
    assert RECORD not in names.questions


def test_a_record_counts_while_the_site_is_down(names: NameServer) -> None:
    names.answers[RECORD] = [[f'"cloudeye={TOKEN}"']]
    assert proven(names).way == "dns"


def test_a_site_that_is_down_decides_nothing(names: NameServer) -> None:
    found = proven(names)
    assert (found.way, found.undecided) == (None, True)


def test_a_name_server_that_fails_decides_nothing(names: NameServer) -> None:
    names.answers["127.0.0.1", "A"] = [["127.0.0.1"]]
    resolver = TextResolver(timeout=0.3, nameservers=(names.address,), hosts_path="/nowhere")
    names.rcode = dns.rcode.SERVFAIL
    with pytest.raises(LookupFailed) as failed:
        resolver.texts("_cloudeye.site.test")
    assert failed.value.code == "dns_failed"
    names.rcode, names.delay = None, 2
    with pytest.raises(LookupFailed) as failed:
        resolver.texts("_cloudeye.site.test")
    assert failed.value.code == "dns_timeout"


def test_each_proof_asks_anew(names: NameServer) -> None:
    names.answers[RECORD] = [[f'"cloudeye={TOKEN}"']]
    resolver = TextResolver(timeout=1, nameservers=(names.address,), hosts_path="/nowhere")
    assert resolver.texts("_cloudeye.site.test")
    del names.answers[RECORD]
    assert resolver.texts("_cloudeye.site.test") == ()


def test_an_address_has_no_record() -> None:
    target = check_url("https://192.0.2.7:8443/x", True)
    assert record_name(target) is None
    assert file_url(target) == "https://192.0.2.7:8443/.well-known/cloudeye.txt"
    assert record_name(check_url("https://shop.site.test/", True)) == "_cloudeye.shop.site.test"


def test_a_check_goes_through_the_guard() -> None:
    site = Website({PATH: Reply(TOKEN.encode())})
    with site.served() as port:
        refused = check(f"http://127.0.0.1:{port}/", TOKEN, False)
        allowed = check(f"http://127.0.0.1:{port}/", TOKEN, True)
    assert (refused.way, allowed.way) == (None, "file")
    assert "loopback" in refused.said[0]
    assert len(site.requests) == 1


def test_no_more_checks_run_at_once_than_there_are_places() -> None:
    def slow(request: Request) -> Reply:
        gevent.sleep(0.3)
        return Reply(TOKEN.encode())

    with Website(otherwise=slow).served() as port:
        url = f"http://127.0.0.1:{port}/"
        under_way = [gevent.spawn(check, url, TOKEN, True) for _ in range(AT_ONCE)]
        gevent.sleep(0.1)
        with pytest.raises(Busy):
            check(url, TOKEN, True)
        assert [one.get().way for one in under_way] == ["file"] * AT_ONCE
        assert check(url, TOKEN, True).way == "file"
