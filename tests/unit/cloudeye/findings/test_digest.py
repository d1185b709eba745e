"""When an answer is looked into again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloudeye.services.answer import Answer, TlsFacts
from cloudeye.services.findings.digest import digest_of
from cloudeye.services.probe import ProbeResult, Timings

URL = "https://shop.example.com/"
PLAIN = (("content-type", "text/html"), ("set-cookie", "sid=1; Secure; Max-Age=60"), ("date", "now"))


def seen(*headers: tuple[str, str], **changes: object) -> ProbeResult:
    answer = Answer(200, headers or PLAIN, b"", URL, False)
    tls = TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", b"certificate")
    made = ProbeResult("up", 200, 1.0, None, None, Timings(), None, URL, 0, 0, False, answer=answer, tls=tls)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header",
    [
        ("strict-transport-security", "max-age=1"),
        ("content-security-policy", "default-src 'none'"),
        ("content-security-policy-report-only", "default-src 'none'"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("permissions-policy", "camera=()"),
        ("server", "nginx/1.1"),
        ("x-powered-by", "PHP/8.1"),
        ("x-generator", "Drupal 10"),
        ("set-cookie", "other=1"),
    ],
)
def test_a_header_that_comes_or_goes_is_looked_into(header: tuple[str, str]) -> None:
    assert digest_of(seen(*PLAIN, header)) != digest_of(seen())


@pytest.mark.parametrize("cookie", ["sid=1; Max-Age=60", "sid=1; Secure; HttpOnly; Max-Age=60", "sid2=1; Secure"])
def test_a_cookie_with_other_attributes_or_another_name_is_looked_into(cookie: str) -> None:
    assert digest_of(seen(PLAIN[0], ("set-cookie", cookie))) != digest_of(seen(*PLAIN[:2]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("date", "now"), ("date", "later")),
        (("set-cookie", "sid=1; Secure; Max-Age=60"), ("set-cookie", "sid=2; Secure; Max-Age=59")),
        (("set-cookie", "a=1; Expires=Mon, 01 Jan 2026"), ("set-cookie", "a=1; expires=Tue, 02 Jan 2026")),
        (("content-security-policy", "script-src 'nonce-a'"), ("content-security-policy", "script-src 'nonce-b'")),
    ],
)
def test_what_moves_by_itself_is_not(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert digest_of(seen(one)) == digest_of(seen(other))


def test_another_certificate_version_of_tls_failure_or_place_is_looked_into() -> None:
    assert seen().answer is not None
    others = (
        seen(tls=TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", b"renewed")),
        seen(tls=TlsFacts("TLSv1.2", "TLS_AES_128_GCM_SHA256", b"certificate")),
        seen(code="tls_expired", answer=None, tls=None),
        seen(answer=replace(seen().answer, url="https://shop.example.com/elsewhere")),  # type: ignore[type-var]
    )
    assert len({digest_of(other) for other in (seen(), *others)}) == 5
