"""Visits and scans of real servers: a well-kept one, a bad one, and those that answer 200 to everything."""

from __future__ import annotations

import gzip
import re
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

import gevent
import pytest
from gevent import socket

from cloudeye.services.ask import Ask
from cloudeye.services.findings import handshake, inspect
from cloudeye.services.findings.catalogue import CATALOGUE, codes_of
from cloudeye.services.findings.exposures import EXPOSURES, FOLDERS
from cloudeye.services.findings.found import Look
from cloudeye.services.findings.grade import grade
from cloudeye.services.findings.scan import Bounds, scan, similar
from cloudeye.services.netguard import check_url
from cloudeye.services.probe import Limits, ProbeResult, probe
from cloudeye.services.probe_wire import make_tls_context
from cloudeye.services.resolver import Resolver
from tests.unit.cloudeye.findings.website import FRONT, WELL_KEPT, Answering, Reply, Request, Website, speaking
from tests.unit.cloudeye.playback import Certificates, NameServer, tcp_server

LIMITS = Limits(True, connect_timeout=2, read_timeout=1, total_timeout=3, max_bytes=131_072, max_redirects=3)
QUICK = Bounds(pause=0)
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    names = NameServer({("site.test", "A"): [["127.0.0.1"]], ("site.test", "AAAA"): [[]]})
    yield Resolver(nameservers=(names.address,), hosts_path="/nowhere")
    names.close()


def scanned(
    url: str,
    resolver: Resolver | None = None,
    ca_file: str | None = None,
    redirect_paths: tuple[str, ...] = (),
    bounds: Bounds = QUICK,
) -> Look:
    resolver = resolver or Resolver()
    get = partial(probe, limits=LIMITS, resolver=resolver, tls=make_tls_context(ca_file))
    offers = partial(handshake.offers, limits=LIMITS, resolver=resolver)
    return scan(check_url(url, True), get, offers, redirect_paths, bounds)


def visited(url: str, resolver: Resolver, ca_file: str) -> Look:
    return inspect(probe(url, LIMITS, resolver, make_tls_context(ca_file)), NOW)


def pairs(look: Look) -> set[tuple[str, str]]:
    return {(found.code, found.subject) for found in look.found}


SCANNED = codes_of("tls", "plain", "cors", "redirects", "files") | {"directory_listing"}


# -- a well-kept site and a bad one ----------------------------------------------------------------------------


def test_a_well_kept_site_gets_an_a_plus_and_no_finding(certificates: Certificates, resolver: Resolver) -> None:
    cookie = ("Set-Cookie", "__Host-session=1; Secure; HttpOnly; SameSite=Lax; Path=/")
    site = Website({"/": Reply(FRONT, headers=(cookie,)), "/login": Reply(b"log in")}, WELL_KEPT)
    context = certificates.server("site.test", not_after=NOW + timedelta(days=80))
    with site.served(context) as port:
        url = f"https://site.test:{port}/"
        visit = visited(url, resolver, certificates.ca_file)
        look = scanned(url, resolver, certificates.ca_file, ("/login?next={url}",))
    assert (visit.found, look.found) == ((), ())
    assert look.looked == SCANNED
    assert visit.looked == frozenset(CATALOGUE) - (SCANNED - {"directory_listing"})
    found = grade(one.code for one in (*visit.found, *look.found))
    assert (found.letter, found.score) == ("A+", 120)


BAD_FRONT = b"""<title>Shop</title><meta name="generator" content="WordPress 5.1">
<script src="http://cdn.bad.test/a.js"></script><img src="http://pictures.test/a.png">
<script src="https://other.test/b.js"></script><form action="http://site.test/login"><input name=q></form>"""
PHPINFO = b"<title>PHP 7.4.3 - phpinfo()</title><h1>PHP Version 7.4.3</h1>"
LISTING = b"<title>Index of /backup</title><h1>Index of /backup</h1><a href='../'>Parent Directory</a>"


def misbehaving(request: Request) -> Reply | None:
    if request.path.startswith("/go?to="):
        wish = re.sub("%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), request.path.removeprefix("/go?to="))
        return Reply(status=302, headers=(("Location", wish),))
    return None


def bad_site() -> Website:
    site = Website(
        {
            "/.git/HEAD": Reply(b"ref: refs/heads/main\n"),
            "/.env": Reply(b"# settings\nAPP_KEY=base64:geheim\nDB_PASSWORD=geheim\n"),
            "/backup.sql": Reply(b"-- MySQL dump 10.13\n--\nCREATE TABLE `users` (id int);\n"),
            "/dump.sql.gz": Reply(gzip.compress(b"-- PostgreSQL database dump\n\nSET x = 1;\n")),
            "/index.php.bak": Reply(b"<?php $password = 'geheim';"),
            "/.DS_Store": Reply(b"\x00\x00\x00\x01Bud1\x00\x00"),
            "/phpinfo.php": Reply(PHPINFO),
            "/server-status": Reply(b"<h1>Apache Server Status for site.test</h1><dt>Server uptime: 1 day</dt>"),
            "/actuator/env": Reply(b'{"activeProfiles": [], "propertySources": []}'),
            "/backup/": Reply(LISTING),
        }
    )

    def answering(request: Request) -> Reply | None:
        origin = request.headers.get("origin")
        if request.path == "/":
            allowed = (("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true"))
            return Reply(
                BAD_FRONT,
                headers=(
                    ("Content-Type", "text/html"),
                    ("Server", "Apache/2.4.1"),
                    ("X-Powered-By", "PHP/7.4.3"),
                    ("X-Frame-Options", "ALLOWALL"),
                    ("Referrer-Policy", "unsafe-url"),
                    ("Strict-Transport-Security", "max-age=60"),
                    ("Content-Security-Policy", "default-src * 'unsafe-inline' 'unsafe-eval'"),
                    ("Set-Cookie", "PHPSESSID=1; Path=/"),
                    ("Set-Cookie", "__Secure-x=1; HttpOnly; SameSite=Lax"),
                    *(allowed if origin else ()),  # type: ignore[misc]
                ),
            )
        return misbehaving(request)

    site.otherwise = answering
    return site


def test_a_bad_site_gets_exactly_the_findings_it_deserves(certificates: Certificates, resolver: Resolver) -> None:
    v = ssl.TLSVersion
    site = bad_site()
    begins, ends = NOW - timedelta(days=85), NOW + timedelta(days=5, hours=1)
    context = certificates.server("site.test", not_before=begins, not_after=ends)
    with site.served(speaking(context, v.TLSv1, v.TLSv1_2)) as port:
        url = f"https://site.test:{port}/"
        visit = visited(url, resolver, certificates.ca_file)
        look = scanned(url, resolver, certificates.ca_file, ("/go?to={url}", "/search?q={url}"))
    assert pairs(visit) == {
        ("certificate_ends_soon", ""),
        ("csp_unsafe_inline", ""),
        ("csp_unsafe_eval", ""),
        ("csp_wildcard", ""),
        ("csp_style_unsafe_inline", ""),
        ("hsts_short", ""),
        ("hsts_no_subdomains", ""),
        ("frame_weak", ""),
        ("type_options_missing", ""),
        ("referrer_unsafe", ""),
        ("permissions_missing", ""),
        ("version_disclosed", "server"),
        ("version_disclosed", "x-powered-by"),
        ("generator_disclosed", ""),
        ("cookie_no_secure", "PHPSESSID"),
        ("session_cookie_no_httponly", "PHPSESSID"),
        ("cookie_no_samesite", "PHPSESSID"),
        ("cookie_bad_prefix", "__Secure-x"),
        ("mixed_active", "http://cdn.bad.test"),
        ("mixed_passive", "http://pictures.test"),
        ("form_insecure", "http://site.test"),
        ("script_no_integrity", "other.test"),
        ("script_no_integrity", "cdn.bad.test"),
    }
    assert pairs(look) == {
        ("tls_old_version", "TLS 1.0"),
        ("tls_old_version", "TLS 1.1"),
        ("tls_1_3_missing", ""),
        ("cors_any_origin_credentials", "any origin"),
        ("cors_any_origin_credentials", "null"),
        ("open_redirect", "/go?to={url}"),
        ("exposed_repository", "/.git/HEAD"),
        ("exposed_secret", "/.env"),
        ("exposed_dump", "/backup.sql"),
        ("exposed_dump", "/dump.sql.gz"),
        ("exposed_backup", "/index.php.bak"),
        ("exposed_ds_store", "/.DS_Store"),
        ("exposed_phpinfo", "/phpinfo.php"),
        ("exposed_status", "/server-status"),
        ("exposed_debug", "/actuator/env"),
        ("directory_listing", "/backup/"),
    }
    assert "geheim" not in repr((visit, look))
    assert look.looked == SCANNED
    assert grade(one.code for one in (*visit.found, *look.found)).letter == "F"
    assert {request.method for request in site.requests} == {"GET"}


# -- sites that answer 200 to everything -----------------------------------------------------------------------


def _echo(request: Request) -> Reply:
    return Reply(b"<title>Shop</title><p>We have no " + request.path.encode() + b" but many other things</p>" + FRONT)


def _everything(request: Request) -> Reply:
    known = b"ref: refs/heads/main\n# HELP a b\n# TYPE a counter\n[core]\n\trepositoryformatversion = 0\n"
    return Reply(
        known + PHPINFO + LISTING + b"APP_KEY=1\nDB_PASSWORD=2\nCREATE TABLE `a`;\nAKIA aws_access_key_id = 1\n"
    )


def _by_ending(request: Request) -> Reply:
    """A trap that has something to every ending."""
    traps = {
        "HEAD": b"ref: refs/heads/main\n", "env": b"APP_KEY=1\nDB_PASSWORD=2\n", "sql": b"-- MySQL dump 10.13\n",
        "bak": b"<?php x", "zip": b"PK\x03\x04", "gz": b"\x1f\x8b\x08", "php": PHPINFO,
        "swp": b"b0VIM ", "key": b"-----BEGIN PRIVATE KEY-----", "pem": b"-----BEGIN PRIVATE KEY-----",
    }  # fmt: skip
    ending = re.split(r"[./]", request.path)[-1]
    return Reply(traps.get(ending) or (LISTING if request.path.endswith("/") else FRONT))


def _words_of_chance(request: Request) -> Reply:
    return Reply(b"<title>Welcome</title>" + " ".join(f"{hash((request.path, n)):x}" for n in range(300)).encode())


def _git_everywhere(request: Request) -> Reply:
    return Reply(b"ref: refs/heads/main\n")


@pytest.mark.parametrize("otherwise", [_echo, _everything, _words_of_chance, _git_everywhere])
def test_a_site_that_answers_200_to_everything_gets_no_finding(otherwise: Answering) -> None:
    site = Website(otherwise=otherwise)
    with site.served() as port:
        look = scanned(f"http://127.0.0.1:{port}/")
    assert look.found == ()
    assert look.looked == SCANNED


def test_a_trap_for_scanners_gets_no_finding_by_its_endings() -> None:
    site = Website(otherwise=_by_ending)
    with site.served() as port:
        look = scanned(f"http://127.0.0.1:{port}/")
    assert pairs(look) == set()


def test_a_real_file_is_found_on_a_site_that_answers_200_to_everything() -> None:
    site = Website({"/.git/HEAD": Reply(b"ref: refs/heads/main\n"), "/.env": Reply(b"A_KEY=1\nB=2\n")}, otherwise=_echo)
    with site.served() as port:
        look = scanned(f"http://127.0.0.1:{port}/")
    assert pairs(look) == {("exposed_repository", "/.git/HEAD"), ("exposed_secret", "/.env")}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/.git/HEAD", b"<html>ref: refs/heads/main</html>"),
        ("/.env", b"<html>\nA_KEY=1\nB_PASSWORD=2</html>"),
        ("/.env", b"name=value\nother=thing\n"),
        ("/backup.sql", b"<!doctype html>\n-- MySQL dump\nCREATE TABLE `x`"),
        ("/backup.zip", b"PKware is a company"),
        ("/phpinfo.php", b"<title>What is phpinfo()?</title> PHP Version"),
        ("/metrics", b"# HELP is on its way"),
        ("/actuator", b"[1, 2]"),
        ("/actuator/env", b"{broken propertySources"),
        ("/server-status", b"<h1>Server status</h1> all good"),
        ("/.DS_Store", b"Bud1"),
        ("/uploads/", b"<title>Index of /our products</title> Welcome"),
    ],
)
def test_what_only_looks_like_it_is_no_finding(path: str, body: bytes) -> None:
    with Website({path: Reply(body)}).served() as port:
        look = scanned(f"http://127.0.0.1:{port}/")
    assert look.found == ()


def test_a_file_that_is_refused_or_somewhere_else_is_no_finding() -> None:
    site = Website(
        {
            "/.git/HEAD": Reply(b"ref: refs/heads/main\n", 403),
            "/.env": Reply(b"A_KEY=1\nB_PASSWORD=2\n", 302, (("Location", "/secret"),)),
            "/secret": Reply(b"A_KEY=1\nB_PASSWORD=2\n"),
        }
    )
    with site.served() as port:
        look = scanned(f"http://127.0.0.1:{port}/")
    assert look.found == ()
    assert "/secret" not in site.paths


SIGNS = {
    "/.git/config": b"[core]\n\trepositoryformatversion = 0\n",
    "/.svn/wc.db": b"SQLite format 3\x00....",
    "/.svn/entries": b"12\n",
    "/.hg/requires": b"dotencode\nfncache\ngeneraldelta\nrevlogv1\nstore\n",
    "/.env.production": b"export SECRET_KEY=1\nPORT=2\n",
    "/.htpasswd": b"admin:$apr1$abc$def\n",
    "/.aws/credentials": b"[default]\naws_access_key_id = AKIA\n",
    "/.git-credentials": b"https://me:word@git.test\n",
    "/.npmrc": b"//npm.test/:_authToken=abc\n",
    "/server.key": b"-----BEGIN RSA PRIVATE KEY-----\nabc",
    "/wp-config.php~": b"<?php define('DB_PASSWORD', 'x');",
    "/.wp-config.php.swp": b"b0VIM 8.2",
    "/appsettings.json": b'{"ConnectionStrings": {"a": "b"}}',
    "/.vscode/sftp.json": b'{"host": "h", "username": "u", "password": "p"}',
    "/127.0.0.1.sql": b"DROP TABLE IF EXISTS `a`;\n",
    "/db.sqlite3": b"SQLite format 3\x00....",
    "/backup.zip": b"PK\x03\x04....",
    "/127.0.0.1.tar.gz": b"\x1f\x8b\x08....",
    "/web.config": b'\xef\xbb\xbf<?xml version="1.0"?>\n<configuration>',
    "/.htaccess": b"RewriteEngine On\n",
    "/docker-compose.yml": b"version: '3'\nservices:\n  db:\n",
    "/.idea/workspace.xml": b'<?xml version="1.0"?>\n<project version="4">',
    "/storage/logs/laravel.log": b"[2026-11-21 10:00:00] production.ERROR: no",
    "/error_log": b"[21-Nov-2026 10:00:00 UTC] PHP Warning:  x",
    "/server-info": b"<title>Server Information</title><h1>Apache Server Information</h1> Server Settings",
    "/nginx_status": b"Active connections: 1 \nserver accepts handled requests\n 1 1 1",
    "/status": b"pool:                 www\nprocess manager:      dynamic\n",
    "/actuator": b'{"_links": {"self": {}}}',
    "/debug/pprof/": b"<title>/debug/pprof/</title> profiles: ",
    "/debug/vars": b'{"cmdline": [], "memstats": {}}',
    "/_profiler/": b"<title>Symfony Profiler</title>",
    "/elmah.axd": b"<title>Error Log for /</title> elmah",
    "/console": b"<title>Console // Werkzeug Debugger</title> Interactive Console EVALEX = true",
    "/metrics": b"# HELP up Is it up.\n# TYPE up gauge\nup 1\n",
}


def test_each_kind_of_file_is_recognised_by_what_it_holds() -> None:
    site = Website({path: Reply(body) for path, body in SIGNS.items()})
    with site.served() as port:
        url = f"http://127.0.0.1:{port}/"
        found = [scanned(url, bounds=replace(QUICK, requests=500))]
    # No more of one code than MAX_SUBJECTS are told at once; so the rest is asked for without those.
    while True:
        for subject in [subject for _, subject in pairs(found[-1])]:
            del site.pages[subject]
        with site.served() as port:
            look = scanned(f"http://127.0.0.1:{port}/", bounds=replace(QUICK, requests=500))
        if not look.found:
            break
        found.append(look)
    by_path = {exposure.path.replace("{host}", "127.0.0.1"): exposure.code for exposure in EXPOSURES}
    assert set().union(*map(pairs, found)) == {(by_path[path], path) for path in SIGNS}


def test_an_application_in_a_folder_is_looked_for_there_as_well() -> None:
    with Website({"/app/.git/HEAD": Reply(b"0123456789abcdef0123456789abcdef01234567\n")}).served() as port:
        look = scanned(f"http://127.0.0.1:{port}/app/index.html")
    assert pairs(look) == {("exposed_repository", "/app/.git/HEAD")}


def test_two_pages_are_alike_when_nine_of_ten_words_are() -> None:
    words = b" ".join(b"word%d" % number for number in range(100))
    assert similar(words + b" /a/x", "/a/x", words + b" /b", "/b")
    assert similar(words, "/a", words.replace(b"word7 ", b"other "), "/b")
    assert not similar(words, "/a", words[:300], "/b")
    assert not similar(b"", "/a", words, "/b")


# -- CORS and redirects ----------------------------------------------------------------------------------------


def sharing(allow: str, credentials: bool = False) -> Answering:
    def answering(request: Request) -> Reply:
        origin = request.headers.get("origin", "")
        host = request.headers["host"].partition(":")[0]
        allowed = {
            "all": origin,
            "star": "*",
            "null": origin if origin == "null" else "",
            "prefix": origin if origin.startswith(f"https://{host}") else "",
            "friend": "https://friend.test",
        }[allow]
        headers = [("Access-Control-Allow-Origin", allowed)] if allowed and origin else []
        return Reply(
            b"{}", headers=(*headers, *([("Access-Control-Allow-Credentials", "true")] if credentials else []))
        )

    return answering


@pytest.mark.parametrize(
    ("allow", "credentials", "expected"),
    [
        ("all", True, {("cors_any_origin_credentials", "any origin"), ("cors_any_origin_credentials", "null")}),
        ("all", False, {("cors_any_origin", "any origin"), ("cors_any_origin", "null")}),
        ("null", True, {("cors_any_origin_credentials", "null")}),
        ("prefix", False, {("cors_any_origin", "look-alike origin")}),
        ("star", True, set()),  # browsers refuse the two together
        ("star", False, set()),
        ("friend", True, set()),
    ],
)
def test_an_origin_that_is_let_in_unseen_is_found(
    allow: str, credentials: bool, expected: set[tuple[str, str]]
) -> None:
    with Website(otherwise=sharing(allow, credentials)).served() as port:
        look = scanned(f"http://127.0.0.1:{port}/")
    assert pairs(look) == expected


@pytest.mark.parametrize(
    ("check", "leaks"),
    [
        (lambda wish: True, True),
        (lambda wish: wish.startswith(("/", "http://127.0.0.1")), True),  # // leads away
        (lambda wish: wish.startswith("/") and not wish.startswith("//"), True),  # and so does /\
        (lambda wish: wish.startswith("https://127.0.0.1"), True),  # as name of a user, or of a longer host
        (lambda wish: re.fullmatch(r"/[a-z]*", wish), False),
        (lambda wish: False, False),
    ],
)
@pytest.mark.parametrize("way", ["location", "refresh", "meta"])
def test_an_open_redirect_is_found_however_it_is_hidden(check: object, leaks: bool, way: str) -> None:
    def answering(request: Request) -> Reply | None:
        path, _, wish = request.path.partition("?next=")
        if path != "/login":
            return None
        wish = re.sub("%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), wish)
        if not check(wish):  # type: ignore[operator]
            return Reply(status=302, headers=(("Location", "/"),))
        if way == "location":
            return Reply(status=302, headers=(("Location", wish),))
        if way == "refresh":
            return Reply(headers=(("Refresh", f"0; url={wish}"),))
        return Reply(f'<meta http-equiv="refresh" content="0;URL=\'{wish}\'">'.encode())

    with Website(otherwise=answering).served() as port:
        look = scanned(f"http://127.0.0.1:{port}/", redirect_paths=("/login?next={url}",))
    assert pairs(look) == ({("open_redirect", "/login?next={url}")} if leaks else set())


def test_a_path_that_leads_off_the_site_is_not_asked() -> None:
    other = Website(otherwise=lambda request: Reply(status=302, headers=(("Location", "https://x.test"),)))
    site = Website()
    with other.served() as elsewhere, site.served() as port:
        paths = (f"@127.0.0.1:{elsewhere}/?u={{url}}", f"//127.0.0.1:{elsewhere}/{{url}}", "/nothing-to-fill-in")
        look = scanned(f"http://127.0.0.1:{port}/", redirect_paths=paths)
    assert look.found == ()
    assert other.requests == []
    assert "/nothing-to-fill-in" not in site.paths


# -- the plain address -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(status=301, headers=(("Location", "https://site.test/"),)), set()),
        (Reply(status=301, headers=(("Location", "http://site.test/home"),)), {("http_no_redirect", "")}),
        (Reply(FRONT), {("http_no_redirect", "")}),
        (Reply(b"no", 403), set()),
        (None, set()),
    ],
)
def test_the_plain_address_must_lead_to_the_encrypted_one(
    certificates: Certificates, resolver: Resolver, reply: Reply | None, expected: set[tuple[str, str]]
) -> None:
    """The usual ports are this machine's; so what is asked of them goes to the test's."""
    plain = Website(otherwise=lambda request: reply)
    with Website().served(certificates.server("site.test")) as encrypted, plain.served() as port:
        ports = {"https": encrypted, "http": port if reply else 1}
        tls = make_tls_context(certificates.ca_file)

        def get(ask: Ask) -> ProbeResult:
            scheme = ask.url.partition(":")[0]
            url = ask.url.replace("://site.test/", f"://site.test:{ports[scheme]}/")
            return probe(replace(ask, url=url), LIMITS, resolver, tls)

        target = check_url("https://site.test/", True)
        look = scan(target, get, lambda target, version: version >= 0x0303, (), QUICK)
    assert pairs(look) == expected
    assert codes_of("plain") <= look.looked


# -- bounds ----------------------------------------------------------------------------------------------------


def test_a_scan_asks_for_no_more_than_it_may() -> None:
    site = Website(otherwise=_by_ending)  # every file wants a second look
    with site.served() as port:
        look = scanned(f"http://127.0.0.1:{port}/", bounds=Bounds(requests=25, pause=0))
    assert len(site.requests) == 25
    assert not codes_of("files") & look.looked
    assert codes_of("cors") <= look.looked


def test_what_a_scan_asks_for_at_most_lies_within_its_bound() -> None:
    redirects, versions, plain, origins, random = 10 * 5, 5, 1, 3, 2
    single = len(EXPOSURES) + 5 + len(FOLDERS)
    assert redirects + versions + plain + origins + random + single <= Bounds().requests


def test_a_scan_pauses_between_requests() -> None:
    times: list[float] = []

    def note(request: Request) -> None:
        times.append(gevent.get_hub().loop.now())

    with Website(otherwise=note).served() as port:
        scanned(f"http://127.0.0.1:{port}/", bounds=Bounds(requests=5, pause=0.1))
    assert len(times) == 5
    assert all(after - before > 0.09 for before, after in pairwise(times))


def test_a_scan_ends_in_time() -> None:
    def slow(request: Request) -> Reply | None:
        gevent.sleep(0.1)
        return None

    site = Website(otherwise=slow)
    with site.served() as port:
        look = scanned(f"http://127.0.0.1:{port}/", bounds=Bounds(pause=0, total=0.5))
    assert 1 <= len(site.requests) <= 6
    assert not codes_of("files") & look.looked


@pytest.mark.parametrize("status", [429])
def test_a_site_that_wants_fewer_requests_is_left_alone(status: int) -> None:
    site = Website(otherwise=lambda request: Reply(status=status) if len(site.requests) > 10 else None)
    with site.served() as port:
        look = scanned(f"http://127.0.0.1:{port}/")
    assert len(site.requests) == 11
    assert not codes_of("files") & look.looked


def test_a_site_that_goes_down_is_left_alone_and_nothing_is_said_to_be_mended() -> None:
    asked: list[int] = []

    def closing(sock: socket.socket) -> None:
        asked.append(1)

    with tcp_server(closing) as port:
        look = scanned(f"http://127.0.0.1:{port}/")
    assert len(asked) == Bounds().failures
    assert look.found == ()
    assert not codes_of("cors", "files", "redirects") & look.looked


def test_one_answer_that_is_missing_leaves_its_section_open() -> None:
    site = Website()

    def once(request: Request) -> Reply | None:
        if request.path == "/.env":
            raise OSError
        return None

    site.otherwise = once
    with site.served() as port:
        look = scanned(f"http://127.0.0.1:{port}/")
    assert not codes_of("files") & look.looked
    assert codes_of("cors", "redirects") | {"directory_listing"} <= look.looked
