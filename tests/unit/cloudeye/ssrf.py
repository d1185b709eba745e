"""Forms of server-side request forgery, tried in a network where every address there is would answer.

`PYTHONPATH=src python -m tests.unit.cloudeye.ssrf` makes a network namespace of its own (without root where users may
make them), gives its loopback interface all addresses of IPv4 and IPv6, and serves a "secret" on some ports of all of
them. One public address is the attacker's site, which redirects to whatever a form says, and a name server answers what
the attacker wants. Each form goes through `probe()` by three doors: asked for, redirected to, and posted to as a
webhook is; and, to show that the trap would catch, through a client without a guard. A line of JSON for each form says
what came of it, with --table a table for people.
"""
# ruff: noqa: RUF001 - full-width digits and the like are what is tested

from __future__ import annotations

import copy
import http.client
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent import socket
from gevent.server import StreamServer

from cloudeye.services.ask import Ask, StatusSet
from cloudeye.services.probe import Limits, ProbeResult, probe
from cloudeye.services.probe_wire import make_tls_context
from cloudeye.services.resolver import IPV4, IPV6, LookupFailed, Resolver
from tests.unit.cloudeye.playback import NameServer, read_request

ROOT = Path(__file__).parents[3]
PUBLIC4, PUBLIC6 = "93.184.215.14", "2606:2800:21f::14"
PORTS = (80, 443, 6379, 8000)
ONE_PORT = 81  # answers on 127.0.0.1 and ::1 alone
DOORS = ("asked", "redirected", "posted")
Names = dict[tuple[str, str], list[list[str]]]


@dataclass(frozen=True)
class Form:
    """One way to make cloudeye ask where it must not.

    `names` is what the attacker's name server says, `visits` how often the site is probed (the last time counts),
    `codes` what else than a refusal may come of it.
    """

    name: str
    url: str
    names: Names = field(default_factory=dict)
    visits: int = 1
    headers: tuple[tuple[str, str], ...] = ()
    doors: tuple[str, ...] = DOORS
    codes: tuple[str, ...] = ()


def _a(*answers: str) -> Names:
    """Answers of a.test: each a list of addresses with blanks in between; the last one for ever after."""
    found: Names = {("a.test", "A"): [[]], ("a.test", "AAAA"): [[]]}
    for kind in ("A", "AAAA"):
        lists = [answer.split() for answer in answers if (":" in answer) == (kind == "AAAA")]
        if lists:
            found["a.test", kind] = lists
    return found


DIRECT = ("asked", "posted")  # what cannot be written in a Location header
CLOSED = ("connect_refused",)
ALIAS: Names = {("a.test", "CNAME"): [["b.test"]], ("b.test", "A"): [["10.0.0.7"]]}
METADATA = "http://169.254.169.254/latest/meta-data/"
FORMS = [
    # -- addresses as they are
    Form("loopback", "http://127.0.0.1/"),
    Form("another address of loopback", "http://127.66.6.6:8000/"),
    Form("loopback, IPv6", "http://[::1]/"),
    Form("loopback over TLS", "https://127.0.0.1/"),
    Form("unspecified, which reaches this machine", "http://0.0.0.0/"),
    Form("unspecified, IPv6", "http://[::]/"),
    Form("private, 10/8", "http://10.0.0.1/"),
    Form("private, 172.16/12", "http://172.31.255.1/"),
    Form("private, 192.168/16", "http://192.168.1.1/"),
    Form("private, IPv6", "http://[fd12:3456::1]/"),
    Form("a carrier's shared address", "http://100.64.0.1/"),
    Form("an address for benchmarks", "http://198.18.0.1/"),
    Form("link-local", "http://169.254.1.1/"),
    Form("link-local, IPv6", "http://[fe80::1]/"),
    Form("link-local with a zone", "http://[fe80::1%25lo]/"),
    Form("site-local, IPv6", "http://[fec0::1]/"),
    Form("multicast", "http://224.0.0.1/"),
    Form("reserved", "http://240.0.0.1/"),
    Form("broadcast", "http://255.255.255.255/"),
    # -- metadata services of clouds
    Form("metadata", METADATA),
    Form("metadata with the header it wants", METADATA, headers=(("Metadata-Flavor", "Google"),)),
    Form("metadata of containers", "http://169.254.170.2/v2/credentials"),
    Form("metadata in a carrier's range", "http://100.100.100.200/latest/meta-data/"),
    Form("metadata at a public address", "http://168.63.129.16/machine"),
    Form("metadata, IPv6", "http://[fd00:ec2::254]/latest/meta-data/"),
    # -- IPv4 in disguise
    Form("decimal", "http://2130706433/"),
    Form("decimal metadata", "http://2852039166/latest/meta-data/"),
    Form("octal", "http://0177.0.0.1/"),
    Form("octal in one number", "http://017700000001/"),
    Form("hexadecimal", "http://0x7f000001/"),
    Form("hexadecimal metadata", "http://0xA9FEA9FE/latest/meta-data/"),
    Form("hexadecimal parts", "http://0x7f.0x0.0x0.0x1/"),
    Form("mixed bases", "http://0x7f.0.1/"),
    Form("two parts", "http://127.1/"),
    Form("three parts", "http://127.0.1/"),
    Form("leading zeros", "http://127.0.0.01/"),
    Form("zero", "http://0/"),
    Form("a dot at the end", "http://127.0.0.1./"),
    Form("full-width digits", "http://１２７.０.０.１/"),
    Form("ideographic full stops", "http://127。0。0。1/"),
    Form("circled digits", "http://①②⑦.⓪.⓪.①/"),
    Form("percent-encoded", "http://%31%32%37.0.0.1/"),
    # -- IPv4 inside IPv6
    Form("IPv4-mapped", "http://[::ffff:127.0.0.1]/"),
    Form("IPv4-mapped metadata", "http://[::ffff:a9fe:a9fe]/latest/meta-data/"),
    Form("IPv4-mapped, written out", "http://[0:0:0:0:0:ffff:7f00:0001]/"),
    Form("IPv4-compatible", "http://[::127.0.0.1]/"),
    Form("NAT64", "http://[64:ff9b::169.254.169.254]/"),
    Form("local NAT64", "http://[64:ff9b:1::7f00:1]/"),
    Form("6to4", "http://[2002:7f00:1::]/"),
    Form("Teredo", "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/"),
    Form("ISATAP", "http://[2001:4860::5efe:127.0.0.1]/"),
    # -- other schemes
    Form("file:", "file:///etc/passwd"),
    Form("gopher:", "gopher://127.0.0.1:6379/_FLUSHALL"),
    Form("dict:", "dict://127.0.0.1:6379/INFO"),
    Form("ftp:", "ftp://127.0.0.1/"),
    Form("ldap:", "ldap://127.0.0.1/"),
    Form("data:", "data:text/html,hello"),
    Form("a unix socket", "http+unix://%2Frun%2Fdocker.sock/info"),
    Form("a scheme in a scheme", "jar:http://127.0.0.1/!/"),
    Form("no scheme", "//127.0.0.1/"),
    # -- who is the host?
    Form("user before the host", f"http://{PUBLIC4}@127.0.0.1/"),
    Form("user and password", "http://user:secret@127.0.0.1/"),
    Form("two at signs", f"http://a@{PUBLIC4}@127.0.0.1/"),
    Form("user that looks like the host", f"http://127.0.0.1@{PUBLIC4}/"),
    Form("fragment before an at sign", f"http://127.0.0.1#@{PUBLIC4}/"),
    Form("backslash before an at sign", f"http://127.0.0.1\\@{PUBLIC4}/"),
    Form("backslashes for slashes", "http:\\\\127.0.0.1\\"),
    Form("a tab in the host", "http://127.0.\t0.1/"),
    Form("a line break in the host", "http://127.0.0.1\n.example.com/", codes=("bad_response",)),
    Form("a new header in the path", f"http://{PUBLIC4}/ HTTP/1.1\r\nHost: 10.0.0.1\r\nX: ", doors=DIRECT),
    Form("NUL in the host", "http://127.0.0.1\0.example.com/", codes=("bad_response",)),
    Form("two ports", f"http://127.0.0.1:80:80@{PUBLIC4}/"),
    # -- names
    Form("localhost", "http://localhost/"),
    Form("localhost with a dot", "http://LOCALHOST./"),
    Form("below localhost", "http://app.localhost/"),
    Form("name of loopback", "http://a.test/", _a("127.0.0.1")),
    Form("name of loopback, IPv6", "http://a.test/", _a("::1")),
    Form("name of metadata", "http://a.test/", _a("169.254.169.254")),
    Form("name of metadata, IPv4-mapped", "http://a.test/", _a("::ffff:169.254.169.254")),
    Form("name of metadata by NAT64", "http://a.test/", _a("64:ff9b::a9fe:a9fe")),
    Form("name of the unspecified address", "http://a.test/", _a("0.0.0.0")),
    Form("name with an address in it", "http://127-0-0-1.a.test/", {("127-0-0-1.a.test", "A"): [["127.0.0.1"]]}),
    Form("alias of an inner name", "http://a.test/", ALIAS),
    Form("name in the hosts file", "http://intranet.example/"),
    Form("name of a search domain", "http://wiki/", {("wiki.corp.test", "A"): [["10.0.0.8"]]}),
    Form("public, but closed, and loopback", f"http://a.test:{ONE_PORT}/", _a(f"{PUBLIC4} 127.0.0.1"), codes=CLOSED),
    Form("public, but closed, and loopback in IPv6", f"http://a.test:{ONE_PORT}/", _a(PUBLIC4, "::1"), codes=CLOSED),
    # -- names that change their mind
    Form("rebinding between visits", "http://a.test/", _a(PUBLIC4, "127.0.0.1"), visits=2),
    Form("rebinding between visits, to metadata", "http://a.test/", _a(PUBLIC4, "169.254.169.254"), visits=2),
    Form("rebinding between visits, IPv6", "http://a.test/", _a(PUBLIC6, "::1"), visits=2),
    Form("rebinding between redirects", "http://a.test/again", _a(PUBLIC4, "169.254.169.254"), codes=("http_status",)),
    Form("rebinding to an answer with both", "http://a.test/", _a(PUBLIC4, "127.0.0.1 169.254.169.254"), visits=2),
    # -- the Host header
    Form("Host header of metadata", f"http://{PUBLIC4}/", headers=(("Host", "169.254.169.254"),)),
    Form("Host header in other letters", f"http://{PUBLIC4}/", headers=(("hOST", "127.0.0.1"),)),
    Form("Host header smuggled in a value", f"http://{PUBLIC4}/", headers=(("X", "a\r\nHost: 169.254.169.254"),)),
    Form("Host header smuggled in a name", f"http://{PUBLIC4}/", headers=(("X: a\r\nHost", "169.254.169.254"),)),
    Form(
        "a request smuggled by its length",
        f"http://{PUBLIC4}/",
        headers=(("Transfer-Encoding", "chunked"), ("Content-Length", "4")),
    ),
]  # fmt: skip
# Ways to send a browser elsewhere that are not followed: the answer counts as it is.
UNFOLLOWED = {
    "refresh": b"Refresh: 0; url=http://169.254.169.254/\r\n\r\n",
    "alt-svc": b'Alt-Svc: http/1.1="127.0.0.1:80"; ma=86400\r\n\r\n',
    "preload": b"Link: <http://127.0.0.1/>; rel=preload\r\n\r\n",
    "content-location": b"Content-Location: http://127.0.0.1/\r\n\r\n",
    "location of a 200": b"Location: http://127.0.0.1/\r\n\r\n",
    "meta": b'\r\n<meta http-equiv="refresh" content="0; url=http://127.0.0.1/"><base href="http://127.0.0.1/">',
    "frame": b'\r\n<iframe src="http://169.254.169.254/"></iframe><script src="//127.0.0.1/"></script>',
}
LIMITS = Limits(
    allow_private=False, connect_timeout=2, read_timeout=2, total_timeout=5, max_bytes=10_000, max_redirects=3
)


# -- the network -------------------------------------------------------------------------------------------------------


class World:
    """All servers of the namespace; `reached` are addresses other than the attacker's own that were connected to."""

    def __init__(self, folder: Path) -> None:
        self.reached: list[str] = []
        self.redirect_to = ""
        self.names = NameServer({}, ttl=0)
        (folder / "hosts").write_text("10.0.0.9 intranet.example\n127.0.0.1 localhost\n")
        (folder / "resolv.conf").write_text("search corp.test\n")
        self.folder = folder
        self.tls = make_tls_context()
        self._servers = [
            self._listen(address, port)
            for address, ports in (("0.0.0.0", PORTS), ("::", PORTS), ("127.0.0.1", [ONE_PORT]), ("::1", [ONE_PORT]))
            for port in ports
        ]

    def _listen(self, address: str, port: int) -> StreamServer:
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        if ":" in address:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen()
        server = StreamServer(listener, self._serve)
        server.start()
        return server

    def _serve(self, sock: socket.socket, _: object) -> None:
        here = sock.getsockname()[0]
        with sock:
            if here not in (PUBLIC4, PUBLIC6):
                self.reached.append(here)
            with gevent.Timeout(5, False):
                path = read_request(sock).split(b" ")[1:2]
                if path == [b"/redirect"]:
                    location = self.redirect_to.encode()
                    sock.sendall(b"HTTP/1.1 307 X\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")
                elif path == [b"/again"]:
                    sock.sendall(b"HTTP/1.1 302 X\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
                elif path and path[0].startswith(b"/unfollowed/"):
                    sock.sendall(b"HTTP/1.1 200 OK\r\n" + UNFOLLOWED[path[0][12:].decode().replace("%20", " ")])
                else:
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")

    def resolver(self) -> Resolver:
        return Resolver(
            2,
            nameservers=(self.names.address,),
            hosts_path=str(self.folder / "hosts"),
            resolv_path=str(self.folder / "resolv.conf"),
            min_ttl=0,
            negative_ttl=0,
        )

    def probe(self, form: Form, door: str) -> tuple[list[ProbeResult], list[str]]:
        """What came of a form's visits at a door, and the addresses inside that were reached."""
        self.names.answers = copy.deepcopy(form.names)
        self.reached.clear()
        url, self.redirect_to = form.url, ""
        if door == "redirected":
            url, self.redirect_to = f"http://{PUBLIC4}/redirect", form.url
        ask = Ask(url, headers=form.headers)
        if door == "posted":
            ask = Ask(
                url,
                "POST",
                headers=form.headers,
                body=b"{}",
                follow_redirects=False,
                expected=StatusSet.parse("200-299"),
            )
        resolver = self.resolver()
        results = [probe(ask, LIMITS, resolver, self.tls) for _ in range(form.visits)]
        gevent.sleep(0.005)  # what is connected is accepted before it is counted
        return results, list(self.reached)

    def unguarded(self, form: Form) -> list[str]:
        """The addresses inside that a client without a guard reaches: urllib, or for names, any address of theirs."""
        self.names.answers = copy.deepcopy(form.names)
        self.reached.clear()
        host = _host(form.url)
        if form.names or host == "intranet.example":
            resolver = self.resolver()
            for _ in range(form.visits + 1):
                for family in (IPV4, IPV6):
                    try:
                        addresses = resolver.lookup(host, family)
                    except LookupFailed:
                        continue
                    for address in addresses:
                        self._touch(address, urlsplit(form.url).port or 80, family)
        else:
            gevent.get_hub().threadpool.apply(_urllib, (form.url,))
        gevent.sleep(0.01)
        return sorted(set(self.reached))

    def _touch(self, address: str, port: int, family: int) -> None:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(1)
            try:
                sock.connect((address, port))
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                sock.recv(1)
            except OSError:
                pass  # closed there, as some are

    def close(self) -> None:
        for server in self._servers:
            server.stop(timeout=0)
        self.names.close()


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _urllib(url: str) -> None:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=2) as answer:
            answer.read(100)
    except (OSError, ValueError, UnicodeError, http.client.HTTPException):
        pass


@contextmanager
def world(folder: Path) -> Iterator[World]:
    made = World(folder)
    try:
        yield made
    finally:
        made.close()


# -- the trial ---------------------------------------------------------------------------------------------------------

NAMESPACE = ["unshare", "--user", "--map-root-user", "--net"]
ALL_ADDRESSES = "ip link set lo up && ip route add local default dev lo && ip -6 route add local default dev lo"


def in_namespace(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this module again where every address is one of ours."""
    command = f'{ALL_ADDRESSES} && exec "$0" -m tests.unit.cloudeye.ssrf --inside "$@"'
    return subprocess.run(
        [*NAMESPACE, "sh", "-c", command, sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "http_proxy": "http://127.0.0.1:8000/"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def trial(folder: Path) -> Iterator[dict[str, object]]:
    """What came of each form, and of each way that is not followed."""
    with world(folder) as network:
        for form in FORMS:
            line: dict[str, object] = {"form": form.name, "url": form.url}
            for door in form.doors:
                results, reached = network.probe(form, door)
                last = results[-1]
                line[door] = {
                    "before": [result.state for result in results[:-1]],
                    "state": last.state,
                    "code": last.code,
                    "text": last.text,
                    "redirects": last.redirects,
                    "reached": reached,
                }
            line["unguarded"] = network.unguarded(form)
            yield line
        for name in UNFOLLOWED:
            results, reached = network.probe(
                Form(name, f"http://{PUBLIC4}/unfollowed/{name.replace(' ', '%20')}"), "asked"
            )
            yield {"unfollowed": name, "state": results[-1].state, "address": results[-1].address, "reached": reached}


def main() -> int:
    if "--inside" not in sys.argv:
        done = in_namespace(*sys.argv[1:])
        print(done.stdout, end="")
        print(done.stderr, end="", file=sys.stderr)
        return done.returncode
    with tempfile.TemporaryDirectory() as folder:
        lines: list[dict[str, Any]] = list(trial(Path(folder)))
    if "--table" not in sys.argv:
        for line in lines:
            print(json.dumps(line))
        return 0
    print("| form | URL | asked | redirected | posted | without a guard |\n|---|---|---|---|---|---|")
    for line in lines:
        if "form" in line:
            codes = [line[door]["code"] if door in line else "" for door in DOORS]
            url = line["url"] if line["url"].isprintable() else line["url"].encode("unicode_escape").decode()
            reached = ", ".join(line["unguarded"])
            print(f"| {line['form']} | `{url}` | {' | '.join(codes)} | {reached} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
