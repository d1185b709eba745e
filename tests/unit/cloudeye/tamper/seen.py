"""Pages as sync reads them, for tests that need no database."""

from __future__ import annotations

from typing import Any

from cloudeye.services.answer import Answer
from cloudeye.services.tamper.compare import Comparison, compare
from cloudeye.services.tamper.page import NO_RULES, Page, read
from cloudeye.services.tamper.rules import IgnoreRules

HERE = "https://www.nova.example/shop/"


def answer_of(
    body: str | bytes, url: str = HERE, media: str | None = "text/html; charset=utf-8", **facts: Any
) -> Answer:
    """An answer with this body."""
    headers = () if media is None else (("content-type", media),)
    given = {"status": 200, "headers": headers, "url": url, "truncated": False, **facts}
    return Answer(body=body.encode() if isinstance(body, str) else body, **given)


def page_of(body: str | bytes, rules: IgnoreRules = NO_RULES, **facts: Any) -> Page:
    """A page with this body."""
    return read(answer_of(body, **facts), rules)


def compared(before: str, after: str, rules: IgnoreRules = NO_RULES, **facts: Any) -> Comparison:
    """What is said of a page that was one and is the other."""
    return compare(page_of(before, rules), page_of(after, rules, **facts))
