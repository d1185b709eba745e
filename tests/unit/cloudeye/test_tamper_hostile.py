"""Pages that are made to take long or much: each is read in bounded time, whatever the rules, in any thread."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloudeye.services.tamper.compare import compare
from cloudeye.services.tamper.page import NO_RULES, read
from cloudeye.services.tamper.rules import IgnoreRules
from cloudeye.services.tamper.walk import MAXIMUM_ELEMENTS
from tests.unit.cloudeye.tamper.seen import answer_of, page_of

SIZE = 1_000_000  # bytes, about what a stack lets a body be
# Seconds of the processor, an order of magnitude above what is measured: what is quadratic takes minutes or hours.
PATIENCE = 8.0

HOSTILE = {
    "deep": b"<div>" * (SIZE // 5),
    "deep inline": b"<b>" * (SIZE // 3),
    "attributes": b"<a " + b" ".join(b"a%d=1" % number for number in range(SIZE // 8)) + b">x</a>",
    "handlers": b"<a " + b" ".join(b"on%d=x()" % number for number in range(SIZE // 12)) + b">x</a>",
    "one word": b"<p>" + b"a" * SIZE,
    "words": b"<p>" + b"abc " * (SIZE // 4),
    "one number": b"<p>" + b"1" * SIZE,
    "numbers": b"<p>" + b"1 " * (SIZE // 2),
    "paragraphs": b"<p>a" * (SIZE // 4),
    "mail addresses": b"<p>" + b"a@b.c1 " * (SIZE // 7),
    "signs at": b"<p>" + b"@a" * (SIZE // 2),
    "accounts": b"<p>" + b"DE89370400440532013000 " * (SIZE // 23),
    "base58": b"<p>" + b"1111111111111111111111111111111 " * (SIZE // 32),
    "dates": ("<p>" + "一年月日前" * (SIZE // 15)).encode(),
    "quotes": b"<script>" + b"\"'" * (SIZE // 2),
    "escaped quotes": b"<script>" + b'\\"' * (SIZE // 2),
    "open objects": b"<script>" + b"{a:" * (SIZE // 3),
    "nested arrays": b"<script>x=" + b"[" * 100_000 + b"]" * 100_000,
    "comments in scripts": b"<script>" + b"/*" * (SIZE // 2),
    "templates": b"<script>" + b"`\\" * (SIZE // 2),
    "styles": b"<style>" + b"body{" * (SIZE // 5),
    "style attributes": (b"<p style='" + b"left:-1 " * 2000 + b"'>") * 60,
    "links": b"".join(b"<a href=//h%d.ex/>x</a>" % number for number in range(SIZE // 24)),
    "a long link": b"<a href='/" + b"a1-" * (SIZE // 3) + b"'>",
    "forms": b"<form action=/x><input type=hidden name=a value=b>" * (SIZE // 50),
    "entities": b"<p>" + b"&#x41;" * (SIZE // 6),
    "entity bomb": b"<!DOCTYPE html [" + b"<!ENTITY a 'aaaaaaaaaa'>" * 1000 + b"]><p>&a;&a;",
    "nothing but brackets": b"<" * SIZE,
    "blanks": b"<p>1" + b" " * SIZE + b"x",
    "classes": b"<div class='" + b"ad-" * (SIZE // 3) + b"'>",
    "high bytes": bytes(range(128, 256)) * (SIZE // 128),
    "lines": b"a\n" * (SIZE // 2),
}
RULES = IgnoreRules.parse(
    {"selectors": ["div div div div div .x", "a > b > c", "[a1]"], "patterns": ["(a|b)*c{1,50}d"]}
)


@pytest.mark.parametrize("rules", [NO_RULES, RULES], ids=["default", "own rules"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_page_is_read_in_bounded_time(kind: str, rules: IgnoreRules) -> None:
    media = "text/plain" if kind == "lines" else "text/html"
    begun = time.thread_time()
    page = read(answer_of(HOSTILE[kind], media=media), rules)
    compare(page, page_of("<p>Hello", rules))
    compare(page_of("<p>Hello", rules), page)
    assert time.thread_time() - begun < PATIENCE


def test_a_page_of_too_many_parts_is_partial() -> None:
    page = page_of("<b>x</b>" * (MAXIMUM_ELEMENTS + 10))
    assert page.partial
    assert page.blocks


def test_no_depth_hides_a_script() -> None:
    plain = "<p>Hello</p>"
    deep = plain + "<div>" * 5_000 + "<script src=//evil.example/a.js></script>"
    assert compare(page_of(plain), page_of(deep)).severity == "critical"


def test_no_number_of_attributes_hides_a_script() -> None:
    many = (
        "<p>Hello</p><script " + " ".join(f"a{number}" for number in range(500)) + " src=//evil.example/a.js></script>"
    )
    assert compare(page_of("<p>Hello</p>"), page_of(many)).severity == "critical"


def test_pages_are_read_in_many_threads_at_once() -> None:
    bodies = [f"<title>{letter}</title><p>{letter * 50}</p>" * 20 for letter in "abcdefghijklmnopqrstuvwxyz"]
    alone = [page_of(body, RULES).digest for body in bodies]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda body: page_of(body, RULES).digest, bodies * 20))
    assert together == alone * 20
