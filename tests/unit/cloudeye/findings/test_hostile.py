"""Answers that were made to break whoever looks into them: nothing is raised, and what is kept stays small."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from cloudeye.services.answer import Answer
from cloudeye.services.findings import Look, certificate, inspect
from cloudeye.services.findings.exposures import EXPOSURES
from cloudeye.services.findings.found import MAX_EVIDENCE, MAX_SUBJECT, MAX_SUBJECTS
from cloudeye.services.findings.page import LARGEST, is_listing, read
from cloudeye.services.probe import ProbeResult, Timings

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HEADERS = (
    "content-type", "content-security-policy", "strict-transport-security", "x-content-type-options", "set-cookie",
    "x-frame-options", "referrer-policy", "permissions-policy", "server", "x-powered-by", "x-generator",
)  # fmt: skip
WORDS = [
    "max-age=", "max-age", "includeSubDomains", ";", ",", "=", '"', "'none'", "'self'", "*", "script-src",
    "default-src", "frame-ancestors", "'unsafe-inline'", "http:", " ", "\t", "a=b", "__Host-", "__Secure-", "Expires=",
    "Max-Age=", "Thu, 01 Jan 1970 00:00:00 GMT", "99999999999999999999",
    "-1", "SameSite=", "Path=/", "camera=(", ")", "1.2",
    "PHP/", "\u00ff", "\u0000", "0000-00-00", "Fri, 32 Foo 99999 25:61:61 +9999", "unsafe-url", "text/html", "charset=",
    "utf-16", "iso-8859-16", "big5", "iso-2022-jp", "x" * 3000,
]  # fmt: skip
PARTS = [
    "<script src=", "<img srcset=", "<base href=", "<meta http-equiv=refresh content=", "<form action=", "<!--", "-->",
    "<title>Index of /", "</script>", ">", "'", '"', "http://", "//[", "[::1", "http://x:99999/", "\\", "\x00", "&#x0;",
    "<svg><script>", "<!DOCTYPE", "<?xml", "<![CDATA[", "]]>", "\u202e", "a" * 5000, "<a " * 300, "<b>" * 300, "é",
    "\n", "integrity=", "<link rel=stylesheet href=", "http://[fe80::1%25eth0]/", "data:", "javascript:",
]  # fmt: skip


def looked(headers: tuple[tuple[str, str], ...], body: bytes) -> Look:
    answer = Answer(200, headers, body, "https://site.test/", False)
    result = ProbeResult("up", 200, 1.0, None, None, Timings(), None, answer.url, 0, len(body), False, answer, None)
    return inspect(result, NOW)


@pytest.mark.parametrize("seed", range(300))
def test_no_answer_breaks_who_looks_into_it(seed: int) -> None:
    chance = random.Random(seed)

    def some(words: list[str], most: int) -> str:
        return "".join(chance.choices(words, k=chance.randrange(most)))

    headers = tuple((name, some(WORDS, 12)) for name in chance.choices(HEADERS, k=chance.randrange(40)))
    body = some(PARTS, 60).encode(chance.choice(["utf-8", "utf-16-le", "utf-16-be", "cp1252"]), "replace")
    look = looked(headers, body)
    subjects: dict[str, set[str]] = {}
    for found in look.found:
        subjects.setdefault(found.code, set()).add(found.subject)
        assert len(found.subject) <= MAX_SUBJECT
        assert len(found.evidence) <= MAX_EVIDENCE
        assert (found.subject + found.evidence).isprintable()
        assert found.code in look.looked
    assert all(len(names) <= MAX_SUBJECTS for names in subjects.values())


@pytest.mark.parametrize("seed", range(50))
def test_no_bytes_break_who_recognises_files_and_certificates(seed: int) -> None:
    chance = random.Random(seed)
    starts = [
        b"",
        b"{",
        b"\x1f\x8b\x08",
        b"SQLite format 3\x00",
        b"<?xml",
        b"[" * 100_000,
        b"A=1\n" * 1000,
        b"\x30\x82",
    ]
    body = chance.choice(starts) + chance.randbytes(chance.randrange(5000))
    for exposure in EXPOSURES:
        said = exposure.recognise(body)
        assert said is None or len(said) < 5000
    is_listing(body)
    certificate.inspect(body, NOW)
    certificate.validity(body)


@pytest.mark.parametrize(
    "label", ["iso-8859-16", "macintosh", "big5", "iso-2022-jp", "tis-620", "gbk", "euc-kr", "koi8-u"]
)
def test_a_page_in_any_encoding_is_read(label: str) -> None:
    headers = (("content-type", f"text/html; charset={label}"),)
    assert "mixed_passive" in {
        found.code for found in looked(headers, b"<p>\xa4\xff<img src='http://p.test/a.png'>").found
    }


def test_only_the_beginning_of_a_huge_page_is_read() -> None:
    body = b"<p>" + b"x" * LARGEST + b"<img src='http://p.test/a.png'>"
    page = read(Answer(200, (), body, "https://site.test/", False))
    assert page.passive == []
