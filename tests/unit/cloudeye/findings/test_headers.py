"""What headers, cookies and pages give away, one answer at a time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cloudeye.services.answer import Answer
from cloudeye.services.findings import Found, inspect
from cloudeye.services.findings.catalogue import CATALOGUE, codes_of
from cloudeye.services.findings.found import MAX_EVIDENCE, MAX_SUBJECT, MAX_SUBJECTS
from cloudeye.services.probe import ProbeResult, Timings

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GOOD = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; frame-ancestors 'none'",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(self)",
}


def look(
    changes: dict[str, str | None] | None = None,
    body: bytes = b"<!doctype html><title>Example</title>",
    url: str = "https://site.test/",
    cookies: tuple[str, ...] = (),
    state: str = "up",
) -> tuple[Found, ...]:
    """Inspect a well-kept site but for the changes; a header that is None is left out."""
    headers = {**GOOD, **(changes or {})}
    sent = [(name, value) for name, value in headers.items() if value is not None]
    sent += [("set-cookie", cookie) for cookie in cookies]
    answer = Answer(200, tuple(sent), body, url, False)
    result = ProbeResult(state, 200, 1.0, None, None, Timings(), None, url, 0, len(body), False, answer, None)
    return inspect(result, NOW).found


def codes(*arguments: object, **more: object) -> set[str]:
    return {found.code for found in look(*arguments, **more)}  # type: ignore[arg-type]


def test_a_well_kept_site_has_nothing_to_be_said_of() -> None:
    assert look(cookies=("__Host-id=1; Secure; HttpOnly; SameSite=Lax; Path=/",)) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Content-Security-Policy
        ({"content-security-policy": None}, {"csp_missing", "frame_missing"}),
        ({"content-security-policy": " ; "}, {"csp_missing", "frame_missing"}),
        (
            {"content-security-policy": None, "content-security-policy-report-only": "default-src 'self'"},
            {"csp_missing", "frame_missing"},
        ),
        ({"content-security-policy": "frame-ancestors 'self'"}, {"csp_wildcard"}),
        ({"content-security-policy": "script-src 'self'; style-src 'self'; frame-ancestors 'none'"}, set()),
        ({"content-security-policy": "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'"},
         {"csp_unsafe_inline", "csp_style_unsafe_inline"}),
        ({"content-security-policy": "DEFAULT-SRC 'SELF' 'Unsafe-Inline'; Frame-Ancestors 'none'"},
         {"csp_unsafe_inline", "csp_style_unsafe_inline"}),
        ({"content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-eval'; frame-ancestors 'none'"},
         {"csp_unsafe_eval"}),
        ({"content-security-policy": "default-src 'self'; script-src *; frame-ancestors 'none'"}, {"csp_wildcard"}),
        ({"content-security-policy": "default-src https:; frame-ancestors 'none'"}, {"csp_wildcard"}),
        ({"content-security-policy": "default-src 'self'; script-src data: 'self'; frame-ancestors 'none'"},
         {"csp_wildcard"}),
        # A nonce or a hash switches 'unsafe-inline' off, 'strict-dynamic' hosts as well.
        ({"content-security-policy":
          "default-src 'self'; script-src 'nonce-abc' 'unsafe-inline'; frame-ancestors 'none'"},
         set()),
        ({"content-security-policy":
          "default-src 'self'; script-src 'nonce-abc' 'strict-dynamic' https: 'unsafe-inline'; frame-ancestors 'none'"},
         set()),
        ({"content-security-policy":
          "default-src 'self'; script-src 'sha256-abc=' https: 'unsafe-inline'; frame-ancestors 'none'"},
         {"csp_wildcard"}),
        # Of a directive given twice the first counts; of two policies, what both allow.
        ({"content-security-policy": "script-src 'self'; script-src *; style-src 'self'; frame-ancestors 'none'"},
         set()),
        ({"content-security-policy": "default-src *; frame-ancestors 'none', script-src 'self'; style-src 'self'"},
         set()),
        ({"content-security-policy": "default-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"},
         {"csp_style_unsafe_inline"}),
        # Frames
        ({"content-security-policy": "default-src 'self'"}, {"frame_missing"}),
        ({"content-security-policy": "default-src 'self'", "x-frame-options": "sameorigin"}, set()),
        ({"content-security-policy": "default-src 'self'", "x-frame-options": "DENY"}, set()),
        ({"content-security-policy": "default-src 'self'", "x-frame-options": "ALLOW-FROM https://a.test"},
         {"frame_weak"}),
        ({"content-security-policy": "default-src 'self'; frame-ancestors *", "x-frame-options": "DENY"},
         {"frame_weak"}),
        # Strict-Transport-Security
        ({"strict-transport-security": None}, {"hsts_missing"}),
        ({"strict-transport-security": "max-age=0; includeSubDomains"}, {"hsts_missing"}),
        ({"strict-transport-security": "includeSubDomains"}, {"hsts_missing"}),
        ({"strict-transport-security": "max-age=31536000; max-age=31536000"}, {"hsts_missing"}),
        ({"strict-transport-security": "max-age=-1"}, {"hsts_missing"}),
        ({"strict-transport-security": 'max-age="31536000" ; INCLUDESUBDOMAINS; preload'}, set()),
        ({"strict-transport-security": "max-age=86400; includeSubDomains"}, {"hsts_short"}),
        ({"strict-transport-security": "max-age=15768000"}, {"hsts_no_subdomains"}),
        ({"strict-transport-security": "max-age=" + "9" * 500 + "; includeSubDomains"}, set()),
        # The others
        ({"x-content-type-options": None}, {"type_options_missing"}),
        ({"x-content-type-options": "none"}, {"type_options_missing"}),
        ({"x-content-type-options": "NoSniff, nosniff"}, set()),
        ({"referrer-policy": None}, {"referrer_missing"}),
        ({"referrer-policy": "sometimes"}, {"referrer_missing"}),
        ({"referrer-policy": "unsafe-url"}, {"referrer_unsafe"}),
        ({"referrer-policy": "no-referrer, unsafe-url"}, {"referrer_unsafe"}),
        ({"referrer-policy": "unsafe-url, strict-origin, unheard-of"}, set()),
        ({"permissions-policy": None}, {"permissions_missing"}),
        ({"permissions-policy": "geolocation=*, camera=()"}, {"permissions_wildcard"}),
        ({"permissions-policy": "fullscreen=*"}, set()),
        ({"permissions-policy": "microphone=(self *)"}, {"permissions_wildcard"}),
        # Versions
        ({"server": "nginx"}, set()),
        ({"server": "Apache/2"}, set()),
        ({"server": "ECAcc (dcb/7F84)"}, set()),
        ({"server": "nginx/1.18.0"}, {"version_disclosed"}),
        ({"server": "Microsoft-IIS/10.0"}, {"version_disclosed"}),
        ({"x-powered-by": "Express"}, set()),
        ({"x-powered-by": "PHP/7.4.33"}, {"version_disclosed"}),
        ({"x-aspnet-version": "4.0.30319"}, {"version_disclosed"}),
        ({"x-generator": "Drupal 10 (https://www.drupal.org)"}, {"version_disclosed"}),
    ],
)  # fmt: skip
def test_a_header_that_is_missing_or_weak_is_found(changes: dict[str, str | None], expected: set[str]) -> None:
    assert codes(changes) == expected


def test_what_concerns_documents_is_asked_of_documents_alone() -> None:
    bare: dict[str, str | None] = dict.fromkeys(GOOD)
    assert codes({**bare, "content-type": "application/json"}, b"{}") == {"hsts_missing", "type_options_missing"}
    assert codes({**bare, "content-type": None}) == {
        "csp_missing", "frame_missing", "hsts_missing", "type_options_missing", "referrer_missing",
        "permissions_missing",
    }  # fmt: skip


def test_without_encryption_there_is_one_finding_of_it_and_not_three() -> None:
    plain = codes(
        {"strict-transport-security": None}, url="http://site.test/", cookies=("a=1; HttpOnly; SameSite=Lax",)
    )
    assert plain == {"no_https"}


def test_no_strict_transport_security_is_wanted_of_an_address() -> None:
    assert codes({"strict-transport-security": None}, url="https://192.0.2.7/") == set()


def test_a_policy_in_the_page_counts_but_not_for_frames() -> None:
    body = b"""<meta http-equiv="Content-Security-Policy" content="default-src 'self'; frame-ancestors 'none'">"""
    assert codes({"content-security-policy": None}, body) == {"frame_missing"}
    assert codes({"referrer-policy": None}, b'<meta name=Referrer content="same-origin">') == set()


# -- cookies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        ("sessionid=1; Secure; HttpOnly; SameSite=Strict", set()),
        ("sessionid=1; secure; httponly; samesite=none", set()),
        ("sessionid=1; HttpOnly; SameSite=Lax", {"cookie_no_secure"}),
        ("sessionid=1; Secure; SameSite=Lax", {"session_cookie_no_httponly"}),
        ("PHPSESSID=1; Secure; SameSite=Lax", {"session_cookie_no_httponly"}),
        ("theme=dark; Secure; SameSite=Lax", {"cookie_no_httponly"}),
        ("XSRF-TOKEN=1; Secure; SameSite=Lax", set()),  # a script is to read it
        ("theme=dark; Secure; HttpOnly", {"cookie_no_samesite"}),
        ("theme=dark; Secure; HttpOnly; SameSite=Maybe", {"cookie_no_samesite"}),
        ("theme=dark", {"cookie_no_secure", "cookie_no_httponly", "cookie_no_samesite"}),
        # Being deleted
        ("theme=; Max-Age=0", set()),
        ("theme=; Max-Age=-1; Expires=Fri, 01 Jan 2100 00:00:00 GMT", set()),
        ("theme=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", set()),
        ("theme=; expires=Thu, 01-Jan-1970 00:00:00 GMT", set()),
        ("theme=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly", {"cookie_no_samesite"}),
        ("theme=1; Expires=whenever; Secure; HttpOnly", {"cookie_no_samesite"}),
        # Prefixes
        ("__Secure-a=1; Secure; HttpOnly; SameSite=Lax", set()),
        ("__Secure-a=1; HttpOnly; SameSite=Lax", {"cookie_bad_prefix"}),
        ("__Host-a=1; Secure; HttpOnly; SameSite=Lax; Path=/", set()),
        ("__Host-a=1; Secure; HttpOnly; SameSite=Lax", {"cookie_bad_prefix"}),
        ("__Host-a=1; Secure; HttpOnly; SameSite=Lax; Path=/app", {"cookie_bad_prefix"}),
        ("__Host-a=1; Secure; HttpOnly; SameSite=Lax; Path=/; Domain=site.test", {"cookie_bad_prefix"}),
        ("__hOsT-a=1; HttpOnly; SameSite=Lax; Path=/", {"cookie_bad_prefix"}),
        ("__Http-a=1; Secure; SameSite=Lax", {"cookie_bad_prefix", "cookie_no_httponly"}),
        ("__Host-Http-a=1; Secure; HttpOnly; SameSite=Lax; Path=/", set()),
        ("nonsense", set()),
        ("=; ;;", set()),
    ],
)
def test_a_cookie_is_judged_by_its_attributes(cookie: str, expected: set[str]) -> None:
    assert codes(cookies=(cookie,)) == expected


def test_a_cookies_value_is_never_kept() -> None:
    (found, *_) = look(cookies=("sessionid=very-secret-value; Path=/app",))
    assert "very-secret-value" not in found.evidence
    assert found.evidence == "Set-Cookie: sessionid=…; path=/app"


def test_a_cookie_with_a_name_of_chance_stays_the_same_finding() -> None:
    attributes = "; Secure; HttpOnly"
    one = look(cookies=(f"wordpress_logged_in_0123456789abcdef0123456789abcdef=1{attributes}",))
    two = look(cookies=(f"wordpress_logged_in_fedcba9876543210fedcba9876543210=1{attributes}",))
    assert [found.subject for found in one] == [found.subject for found in two] == ["wordpress_logged_in_*"]


def test_a_site_cannot_flood_what_is_kept_of_it() -> None:
    many = look(cookies=tuple(f"c{'x' * number}{'y' * 300}=1; Secure; HttpOnly" for number in range(200)))
    assert len(many) == MAX_SUBJECTS
    assert all(len(found.subject) <= MAX_SUBJECT and len(found.evidence) <= MAX_EVIDENCE for found in many)
    (odd,) = look({"server": "nginx/1.0 \x00\x1b[31m\u202e "})
    assert odd.evidence.isprintable()


# -- pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'<script src="http://cdn.test/a.js" integrity="sha384-x"></script>', {"mixed_active": "http://cdn.test"}),
        (b"<SCRIPT SRC=http://cdn.test/a.js INTEGRITY=sha384-x></SCRIPT>", {"mixed_active": "http://cdn.test"}),
        (b'<link rel="icon Stylesheet" href="HTTP://cdn.test/a.css">', {"mixed_active": "http://cdn.test"}),
        (b'<iframe src="http://frame.test/">', {"mixed_active": "http://frame.test"}),
        (b'<object data="http://o.test/x">', {"mixed_active": "http://o.test"}),
        (b'<img src="http://pictures.test/a.png">', {"mixed_passive": "http://pictures.test"}),
        (b'<img srcset="/a.png 1x, http://pictures.test/b.png 2x">', {"mixed_passive": "http://pictures.test"}),
        (b'<video poster="http://p.test/a.png"></video>', {"mixed_passive": "http://p.test"}),
        (b'<link rel="icon" href="http://p.test/i.ico">', {"mixed_passive": "http://p.test"}),
        (b'<form action="http://site.test/login">', {"form_insecure": "http://site.test"}),
        (b'<button formaction="http://site.test/x">', {"form_insecure": "http://site.test"}),
        (b'<base href="http://old.test/"><img src="a.png">', {"mixed_passive": "http://old.test"}),
        (b'<a href="http://elsewhere.test/">a link</a><link rel=canonical href="http://site.test/">', {}),
        (b'<!-- <script src="http://cdn.test/a.js"></script> -->', {}),
        (b'<script>var a = "<img src=http://x.test/>";</script>', {}),
        (b'<img src="//cdn.test/a.png"><script src="/a.js"></script>', {}),
        (b'<script src="http://localhost:8080/dev.js" integrity=x></script><img src="http://127.0.0.1/">', {}),
        (
            b'<meta http-equiv=Content-Security-Policy content="upgrade-insecure-requests"><img src="http://x.test/">',
            {},
        ),
        (b'<img src="http://[broken">', {}),
        (b'<script src="https://cdn.test/a.js"></script>', {"script_no_integrity": "cdn.test"}),
        (b'<script src="https://cdn.test/a.js" integrity="sha384-x" crossorigin></script>', {}),
        (b'<script src="https://static.site.test/a.js"></script>', {}),
        (b'<meta name="generator" content="WordPress 6.4.2">', {"generator_disclosed": ""}),
        (b'<meta name="generator" content="Hugo">', {}),
        (b"<title>Index of /</title><h1>Index of /</h1><a href=../>../</a>", {"directory_listing": "/"}),
        (b"<title>Directory listing for /</title><h1>Directory listing for /</h1><hr><ul>", {"directory_listing": "/"}),
        (b"<title>Index of /r/python topics</title><p>A page", {}),
        (b"", {}),
        (b"<div>" * 5000, {}),
        (bytes(range(256)) * 40, {}),
    ],
)
def test_a_page_is_judged_by_what_it_loads(body: bytes, expected: dict[str, str]) -> None:
    found = look({"content-security-policy": "default-src 'self'; frame-ancestors 'none'"}, body)
    assert {one.code: one.subject for one in found} == expected


def test_active_mixed_content_ranks_above_passive() -> None:
    severities = ["info", "low", "medium", "high", "critical"]
    active, passive = CATALOGUE["mixed_active"], CATALOGUE["mixed_passive"]
    assert severities.index(active.severity) > severities.index(passive.severity)
    assert active.points > passive.points


def test_a_page_in_utf_16_is_read() -> None:
    body = '\ufeff<html><img src="http://pictures.test/a.png">'.encode("utf-16-le")
    assert codes(body=body) == {"mixed_passive"}


# -- what a visit can say --------------------------------------------------------------------------------------


def test_a_visit_that_found_the_site_down_says_nothing_of_its_headers() -> None:
    answer = Answer(503, (("server", "nginx/1.0"),), b"", "https://site.test/", False)
    down = ProbeResult(
        "down", 503, 1.0, "http_status", "503", Timings(), None, "https://site.test/", 0, 0, False, answer
    )
    assert inspect(down, NOW).found == ()
    assert inspect(down, NOW).looked == frozenset()
    dead = ProbeResult("down", None, None, "connect_refused", "no", Timings(), None, "https://site.test/", 0, 0, False)
    assert (inspect(dead, NOW).found, inspect(dead, NOW).looked) == ((), frozenset())


def test_a_visit_without_a_body_says_nothing_of_the_page() -> None:
    answer = Answer(200, tuple(GOOD.items()), b"", "https://site.test/", False)
    head = ProbeResult("up", 200, 1.0, None, None, Timings(), None, "https://site.test/", 0, 0, False, answer)
    looked = inspect(head, NOW).looked
    assert codes_of("headers", "cookies", "transport") <= looked
    assert not codes_of("page") & looked


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("tls_expired", "the certificate has expired", "certificate_expired"),
        ("tls_not_yet_valid", "not yet", "certificate_not_yet_valid"),
        ("tls_self_signed", "self-signed", "certificate_self_signed"),
        ("tls_untrusted", "the certificate's issuer is not known", "certificate_untrusted"),
        ("tls_untrusted", "EE certificate key too weak", "certificate_weak_key"),
        ("tls_untrusted", "CA signature digest algorithm too weak", "certificate_weak_signature"),
        ("tls_wrong_name", "the certificate is for another name", "certificate_wrong_name"),
        ("tls_failed", "the TLS handshake failed", None),
        ("tls_timeout", "too long", None),
        ("connect_refused", "refused", None),
    ],
)
def test_a_certificate_that_is_refused_is_a_finding(code: str, text: str, expected: str | None) -> None:
    down = ProbeResult("down", None, None, code, text, Timings(), None, "https://site.test/", 0, 0, False)
    looked = inspect(down, NOW)
    assert [found.code for found in looked.found] == ([expected] if expected else [])
    assert {found.code for found in looked.found} <= looked.looked
    assert not looked.looked - codes_of("certificate")


def test_each_entry_of_the_catalogue_tells_what_to_do_and_where_to_read_of_it() -> None:
    for code, entry in CATALOGUE.items():
        assert entry.reference.startswith("https://"), code
        assert entry.title.strip() == entry.title, code
        assert not entry.title.endswith("."), code
        assert entry.remedy.endswith("."), code
        assert (entry.points == 0) == (entry.severity == "info"), code
