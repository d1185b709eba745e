"""What owners leave out: selectors and patterns, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from cloudeye.services.tamper.rules import LONGEST_RULE, MAXIMUM_RULES, BadRule, IgnoreRules
from tests.unit.cloudeye.tamper.seen import compared, page_of

PAGE = """<main id=main><div class="box deal" data-kind="top-offer" lang="en-GB"><p>Rug<b>s</b></p></div>
<div class=box><ul><li class=x><a href=/a>Chairs</a></ul></div></main><p>Lamps</p>"""


def left(selector: str) -> list[str]:
    return [shown for _, shown in page_of(PAGE, IgnoreRules.parse({"selectors": [selector]})).blocks]


@pytest.mark.parametrize(
    ("selector", "texts"),
    [
        ("p", ["Chairs"]),
        (".deal", ["Chairs", "Lamps"]),
        ("#main", ["Lamps"]),
        ("div.box.deal", ["Chairs", "Lamps"]),
        ("main > p", ["Rugs", "Chairs", "Lamps"]),
        ("main p", ["Chairs", "Lamps"]),
        ("#main > div > p", ["Chairs", "Lamps"]),
        ("main ul li.x > a", ["Rugs", "Lamps"]),
        ("b", ["Rug", "Chairs", "Lamps"]),
        ("[data-kind]", ["Chairs", "Lamps"]),
        ("[data-kind=top-offer]", ["Chairs", "Lamps"]),
        ("[data-kind^=top]", ["Chairs", "Lamps"]),
        ("[data-kind$=offer]", ["Chairs", "Lamps"]),
        ("[data-kind*='p-o']", ["Chairs", "Lamps"]),
        ("[class~=deal]", ["Chairs", "Lamps"]),
        ("[lang|=en]", ["Chairs", "Lamps"]),
        ("[data-kind=offer]", ["Rugs", "Chairs", "Lamps"]),
        ("div:not(.deal)", ["Rugs", "Lamps"]),
        (":is(.deal, .x)", ["Lamps"]),
        (".deal, .x", ["Lamps"]),
        ("*", []),
        ("DIV.deal", ["Chairs", "Lamps"]),
        ("ul main", ["Rugs", "Chairs", "Lamps"]),
    ],
)
def test_a_selector_leaves_out_what_it_names(selector: str, texts: list[str]) -> None:
    assert left(selector) == texts


def test_what_is_left_out_is_left_out_with_all_that_is_in_it() -> None:
    rules = IgnoreRules.parse({"selectors": ["aside"]})
    more = '<aside>Ads<script src="https://ads.example/a.js"></script><form action="https://x.example"></form></aside>'
    assert compared(PAGE, PAGE + more, rules).changes == ()
    assert compared(PAGE, PAGE + more).severity == "critical"


def test_a_pattern_takes_its_part_out_of_texts_and_titles() -> None:
    rules = IgnoreRules.parse({"patterns": [r"(?i)word of the day: \w+", r"\bmood \S+"]})
    one = "<title>Nova mood blue</title><p>Word of the day: rug. Welcome.</p>"
    assert compared(one, "<title>Nova mood red</title><p>WORD OF THE DAY: lamp. Welcome.</p>", rules).changes == ()
    assert compared(one, "<title>Nova mood red</title><p>Word of the day: lamp. Goodbye.</p>", rules).severity == "low"


def test_no_pattern_hides_a_script() -> None:
    rules = IgnoreRules.parse({"patterns": [".+"]})
    assert compared("<p>Hello", "<p>Hello<script src=//evil.example/a.js></script>", rules).severity == "critical"


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"selectors": ["div >"]}, "selectors", "div >"),
        ({"selectors": ["p:nth-child(2)"]}, "selectors", "p:nth-child(2)"),
        ({"selectors": ["p:hover"]}, "selectors", "p:hover"),
        ({"selectors": ["p ~ a"]}, "selectors", "p ~ a"),
        ({"selectors": ["p + a"]}, "selectors", "p + a"),
        ({"selectors": ["p::before"]}, "selectors", "p::before"),
        ({"selectors": ["p:has(a)"]}, "selectors", "p:has(a)"),
        ({"selectors": [" ".join("abcdefghi")]}, "selectors", "too long"),
        ({"selectors": ["["]}, "selectors", "["),
        ({"selectors": [":not(" * 35]}, "selectors", ":not("),
        ({"patterns": ["("]}, "patterns", "("),
        ({"patterns": ["(?=a)"]}, "patterns", "(?=a)"),
        ({"patterns": [r"(a)\1"]}, "patterns", r"\1"),
        ({"patterns": ["((a{1,100}){1,100}){1,100}"]}, "patterns", "a{1,100}"),
        ({"patterns": [".*"]}, "patterns", ".*"),
        ({"patterns": ["\ud800"]}, "patterns", "ud800"),
        ({"patterns": [""]}, "patterns", "1 to"),
        ({"patterns": ["  "]}, "patterns", "1 to"),
        ({"patterns": ["a" * (LONGEST_RULE + 1)]}, "patterns", "1 to"),
        ({"patterns": "a"}, "patterns", "list"),
        ({"patterns": [5]}, "patterns", "list"),
        ({"patterns": ["a"] * (MAXIMUM_RULES + 1)}, "patterns", "At most"),
        ({"xpath": ["//a"]}, "xpath", "xpath"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_by_name(given: dict[str, Any], kind: str, said: str) -> None:
    with pytest.raises(BadRule) as caught:
        IgnoreRules.parse(given)
    assert caught.value.kind == kind
    assert said in str(caught.value)


def test_no_rules_are_rules() -> None:
    assert IgnoreRules.parse(None) == IgnoreRules.parse({}) == IgnoreRules.parse({"selectors": [], "patterns": []})
