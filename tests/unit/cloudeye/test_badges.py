"""Badges: pictures of a name and a state that anybody may show."""

from __future__ import annotations

import pytest
from lxml import etree

from cloudeye.pages.badges import LONGEST, draw_badge
from cloudeye.pages.public import percent
from cloudeye.services.usability.tally import Tally

SVG = {"s": "http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("name", ["Shop", "<script>alert(1)</script>", "a\"b'c&d", "商店", "x" * 500, ""])
@pytest.mark.parametrize("state", ["up", "down", "maintenance", "unknown", "paused"])
def test_a_badge_is_a_picture_with_two_texts_whatever_they_are(name: str, state: str) -> None:
    picture = etree.fromstring(draw_badge(name, f"{state} 99.98 %", state))
    said = [text.text or "" for text in picture.findall("s:g/s:text", SVG)]
    assert said == [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…", f"{state} 99.98 %"]
    assert picture.find("s:title", SVG).text == ": ".join(said)
    assert {etree.QName(node).localname for node in picture.iter()} == {"svg", "title", "rect", "path", "g", "text"}


def test_chinese_is_given_more_room() -> None:
    narrow, wide = (int(etree.fromstring(draw_badge(name, "up", "up")).get("width")) for name in ("ab", "商店"))
    assert wide > narrow


@pytest.mark.parametrize(
    ("checks", "down", "said"),
    [
        (0, 0, None),
        (1, 0, "100.00 %"),
        (100_000, 1, "99.99 %"),
        (10_000, 1, "99.99 %"),
        (1_000, 1, "99.90 %"),
        (3, 1, "66.66 %"),
        (3, 3, "0.00 %"),
    ],
)
def test_an_uptime_that_is_not_whole_never_reads_as_if_it_were(checks: int, down: int, said: str | None) -> None:
    assert percent(Tally(checks, down)) == said
