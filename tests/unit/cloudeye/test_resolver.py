"""Name look-ups against a real DNS server on loopback."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import gevent
import pytest
from gevent.pool import Pool

from cloudeye.services.resolver import IPV4, IPV6, LookupFailed, Resolver, read_hosts, read_resolv_conf
from tests.unit.cloudeye.playback import NameServer

BOTH = ["192.0.2.1", "192.0.2.2"]  # sorted: the server shuffles them


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer({("site.test", "A"): [["192.0.2.1", "192.0.2.2"]], ("site.test", "AAAA"): [["2001:db8::1"]]})
    yield server
    server.close()


class Clock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(names: NameServer, **settings: object) -> Resolver:
    return Resolver(nameservers=(names.address,), hosts_path="/nowhere", resolv_path="/nowhere", **settings)  # type: ignore[arg-type]


def test_it_finds_the_addresses_of_either_family(names: NameServer) -> None:
    resolver = make(names)
    assert sorted(resolver.lookup("site.test", IPV4)) == BOTH
    assert resolver.lookup("site.test", IPV6) == ("2001:db8::1",)


def test_a_name_without_an_address_in_a_family_has_none_there(names: NameServer) -> None:
    names.answers = {("old.test", "A"): [["192.0.2.1"]]}
    assert make(names).lookup("old.test", IPV6) == ()


@pytest.mark.parametrize("name", ["unknown.test", "x" * 63 + "." + "y" * 63 + ".test"])
def test_a_name_that_does_not_exist_is_said_to(names: NameServer, name: str) -> None:
    with pytest.raises(LookupFailed) as failed:
        make(names).lookup(name, IPV4)
    assert failed.value.code == "dns_not_found"


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_a_server_that_cannot_answer_is_no_missing_name(names: NameServer, rcode: dns.rcode.Rcode) -> None:
    names.rcode = rcode
    with pytest.raises(LookupFailed) as failed:
        make(names).lookup("site.test", IPV4)
    assert failed.value.code == "dns_failed"


def test_the_next_server_is_asked_when_one_cannot_answer(names: NameServer) -> None:
    ill = NameServer({})
    ill.rcode = dns.rcode.SERVFAIL
    resolver = Resolver(nameservers=(ill.address, names.address), hosts_path="/nowhere")
    assert sorted(resolver.lookup("site.test", IPV4)) == BOTH
    assert ill.questions == [("site.test", "A")]
    ill.close()


def test_a_server_that_does_not_answer_ends_in_a_timeout_of_its_own(names: NameServer) -> None:
    names.delay = 30
    with gevent.Timeout(10), pytest.raises(LookupFailed) as failed:
        make(names, timeout=0.3).lookup("site.test", IPV4)
    assert failed.value.code == "dns_timeout"


def test_an_answer_that_was_cut_short_is_asked_for_over_tcp(names: NameServer) -> None:
    names.truncate = True
    names.answers["site.test", "A"] = [[f"192.0.2.{number}" for number in range(1, 200)]]
    addresses = make(names).lookup("site.test", IPV4)
    assert addresses
    assert len(addresses) <= 8
    assert len(names.questions) == 2


def test_an_alias_is_followed_to_the_addresses_it_comes_with(names: NameServer) -> None:
    names.answers["www.test", "CNAME"] = [["site.test"]]
    assert sorted(make(names).lookup("www.test", IPV4)) == BOTH
    assert names.questions == [("www.test", "A")]


@pytest.mark.parametrize(("target", "code"), [("www.test", "dns_failed"), ("nowhere.test", "dns_not_found")])
def test_an_alias_of_itself_or_of_nothing_is_said_to_fail(names: NameServer, target: str, code: str) -> None:
    names.answers["www.test", "CNAME"] = [[target]]
    with gevent.Timeout(10), pytest.raises(LookupFailed) as failed:
        make(names).lookup("www.test", IPV4)
    assert failed.value.code == code


@pytest.mark.parametrize("forged", [b"", b"junk", b"\0" * 12, b"\xff" * 600])
def test_a_forged_answer_is_passed_over(names: NameServer, forged: bytes) -> None:
    names.forge = forged
    assert sorted(make(names).lookup("site.test", IPV4)) == BOTH


def test_an_answer_to_another_question_is_passed_over(names: NameServer) -> None:
    query = dns.message.make_query("site.test", "A")
    forged = dns.message.make_response(query)
    names.forge = forged.to_wire()  # the right name, but another number
    assert sorted(make(names).lookup("site.test", IPV4)) == BOTH


def test_answers_are_kept_as_long_as_they_say_and_no_longer_than_wanted(names: NameServer) -> None:
    clock = Clock()
    names.ttl = 1000
    resolver = make(names, clock=clock, max_ttl=300)
    for later, asked in [(0, 1), (299, 1), (301, 2)]:
        clock.now = 1000 + later
        resolver.lookup("site.test", IPV4)
        assert len(names.questions) == asked


def test_failures_are_kept_for_a_while_too(names: NameServer) -> None:
    clock = Clock()
    resolver = make(names, clock=clock, negative_ttl=15)
    for later, asked in [(0, 1), (14, 1), (16, 2)]:
        clock.now = 1000 + later
        with pytest.raises(LookupFailed):
            resolver.lookup("unknown.test", IPV4)
        assert len(names.questions) == asked


def test_the_cache_keeps_a_bounded_number_of_answers(names: NameServer) -> None:
    names.answers = {(f"{number}.test", "A"): [["192.0.2.1"]] for number in range(30)}
    resolver = make(names, cache_size=10)
    for number in range(30):
        resolver.lookup(f"{number}.test", IPV4)
    resolver.lookup("29.test", IPV4)
    assert len(names.questions) == 30
    resolver.lookup("0.test", IPV4)
    assert len(names.questions) == 31


def test_two_hundred_slow_look_ups_wait_side_by_side(names: NameServer) -> None:
    """With gevent's ten threads these would take 200 / 10 * 0.5 = 10 s."""
    names.answers = {(f"{number}.test", "A"): [["192.0.2.1"]] for number in range(200)}
    names.delay = 0.5
    resolver = make(names, timeout=5)
    started = time.perf_counter()
    found = Pool(200).map(lambda number: resolver.lookup(f"{number}.test", IPV4), range(200))
    took = time.perf_counter() - started
    assert found == [("192.0.2.1",)] * 200
    assert took < 5, f"{took:.2f} s"
    print(f"200 look-ups of 0.5 s each: {took:.2f} s")


def test_many_who_wait_for_one_name_ask_once_and_outlive_the_first(names: NameServer) -> None:
    names.delay = 0.2
    resolver = make(names)
    waiting = [gevent.spawn(resolver.lookup, "site.test", IPV4) for _ in range(50)]
    gevent.sleep(0.05)
    waiting[0].kill()
    gevent.joinall(waiting)
    assert [sorted(greenlet.value) for greenlet in waiting[1:]] == [BOTH] * 49
    assert names.questions == [("site.test", "A")]


def test_the_hosts_file_comes_first_and_is_read_again_when_it_changes(names: NameServer, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("10.1.1.1 site.test\n")
    clock = Clock()
    resolver = Resolver(nameservers=(names.address,), hosts_path=str(hosts), resolv_path="/nowhere", clock=clock)
    assert resolver.lookup("site.test", IPV4) == ("10.1.1.1",)
    assert resolver.lookup("site.test", IPV6) == ()
    hosts.write_text("10.1.1.2 other.test\n")
    os.utime(hosts, (1, 1))
    clock.now += 10
    assert sorted(resolver.lookup("site.test", IPV4)) == BOTH
    assert resolver.lookup("other.test", IPV4) == ("10.1.1.2",)


def test_a_name_of_one_word_is_looked_for_in_the_search_domains(names: NameServer, tmp_path: Path) -> None:
    names.answers = {("intranet.b.test", "A"): [["10.0.0.7"]]}
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("search a.test b.test\n")
    resolver = Resolver(nameservers=(names.address,), hosts_path="/nowhere", resolv_path=str(resolv))
    assert resolver.lookup("intranet", IPV4) == ("10.0.0.7",)
    with pytest.raises(LookupFailed):
        resolver.lookup("intranet.example", IPV4)
    assert [name for name, _ in names.questions] == ["intranet.a.test", "intranet.b.test", "intranet.example"]


def test_it_reads_what_the_system_files_say() -> None:
    hosts = read_hosts(
        "127.0.0.1 localhost  # here\n::1 localhost\n\nno-address name\n10.0.0.1 A.Example. b\n#1.1.1.1 c"
    )
    assert hosts == {"localhost": ("127.0.0.1", "::1"), "a.example": ("10.0.0.1",), "b": ("10.0.0.1",)}
    files = read_resolv_conf(
        "# by hand\nnameserver 10.0.0.1\nnameserver junk\nnameserver ::1\nsearch a.test b.test\n"
        "options timeout:2 attempts:3 rotate\n",
        hosts,
    )
    assert files.nameservers == (("10.0.0.1", 53), ("::1", 53))
    assert (files.search, files.timeout, files.attempts) == (("a.test", "b.test"), 2.0, 3)
    assert read_resolv_conf("", {}).nameservers == (("127.0.0.1", 53),)
