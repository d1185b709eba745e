"""Read an answer into what is compared: texts, and all that leads elsewhere or runs.

lxml is loaded when the first page is read: the web process never reads one.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from cloudeye.services.answer import Answer
from cloudeye.services.tamper import snapshots
from cloudeye.services.tamper.addresses import Base
from cloudeye.services.tamper.masks import MARK, mask
from cloudeye.services.tamper.rules import IgnoreRules

if TYPE_CHECKING:
    from cloudeye.services.tamper.walk import Walk

MAXIMUM_BLOCKS = 20_000
NO_RULES = IgnoreRules()
_MARKUP = re.compile(rb"<\s*(?:!doctype|html|head|body|title|script|div|p|table|a|meta|h1|frameset)\b", re.I)
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_TEXT_TYPES = re.compile(r"^(?:text/|application/(?:[\w.+-]*\+)?(?:json|xml|javascript|yaml|toml|x-sh|sql)\b)")
LONGEST_LINE = 4000
_UNREAD = re.compile(r"^\s*[(\[]\d+\+?[)\]]\s*")  # as in "(3) Inbox", which without news is "Inbox"


class Item(NamedTuple):
    """Something of a page that is no text. Two that agree in `identity` are the same.

    `origin` is empty for what is the page's own; `shown` is for people; `hidden` when no visitor can see it.
    """

    kind: str
    origin: str
    key: str
    shown: str
    hidden: bool = False

    @property
    def identity(self) -> tuple[str, str, str]:
        """What is compared."""
        return self[:3]


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it is compared.

    `blocks` are its texts in order, each as it is compared and as it is shown. `partial` says that not all of the
    page was looked at: it was truncated, or is larger than the limits.
    """

    kind: str  # html, text, binary, or packed: in a way that nobody undid, so that there is nothing to compare
    status: int
    url: str
    title: str
    title_key: str
    blocks: tuple[tuple[str, str], ...]
    items: tuple[Item, ...]
    partial: bool
    rules: IgnoreRules
    answer: Answer
    digest: str = field(init=False)  # the same for pages that do not differ, in whatever order their parts are

    def __post_init__(self) -> None:
        """Compute the digest (SHA-256, in hexadecimal digits)."""
        parts = (
            self.kind,
            self.status,
            Base(self.url).origin,
            self.title_key,
            sorted({key for key, _ in self.blocks}),
            sorted({item.identity for item in self.items}),
        )
        object.__setattr__(self, "digest", sha256(json.dumps(parts).encode()).hexdigest())

    def to_bytes(self) -> bytes:
        """The answer that it was read from, compressed."""
        return snapshots.pack(self.answer)

    @classmethod
    def from_bytes(cls, data: bytes, rules: IgnoreRules = NO_RULES) -> Page:
        """Read it again, by the rules and masks of today, so that neither looks like a change of the page."""
        return read(snapshots.unpack(data), rules)


def read(answer: Answer, rules: IgnoreRules = NO_RULES) -> Page:
    """Read an answer by a site's rules. Safe in any thread; bounded in time and memory whatever the body is."""
    if answer.packed is not None:
        return _page(answer, rules, "packed", [])
    media = (answer.header("content-type") or "").partition(";")[0].strip().lower()
    if media in _HTML_TYPES or (not media and _MARKUP.search(answer.body, 0, 2048)):
        return _html(answer, rules)
    if media.startswith("text/plain") and _MARKUP.match(answer.body.lstrip()[:64]):
        return _html(answer, rules)
    if _TEXT_TYPES.match(media) or (not media and b"\0" not in answer.body[:4096]):
        return _text(answer, rules, media)
    described = f"{media or 'binary'}, {len(answer.body)} bytes, SHA-256 {sha256(answer.body).hexdigest()}"
    return _page(answer, rules, "binary", [(described, described)])


def _html(answer: Answer, rules: IgnoreRules) -> Page:
    from cloudeye.services.tamper.walk import Walk

    walk: Walk = Walk(answer, rules)
    walk.run()
    return Page(
        "html",
        answer.status,
        answer.url,
        walk.title,
        mask(_UNREAD.sub("", walk.title)),
        tuple(walk.blocks),
        (*_sent_away(answer), *walk.items.values()),
        answer.truncated or walk.limited,
        rules,
        answer,
    )


def _text(answer: Answer, rules: IgnoreRules, media: str) -> Page:
    text = answer.body.decode(answer.charset(), "replace")
    if "json" in media:
        with suppress(ValueError, RecursionError):  # else it is compared as it stands
            text = json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False)
    elif "xml" in media:
        text = re.sub(r">\s*<", ">\n<", text)
    clean = rules.cleaner()
    blocks: list[tuple[str, str]] = []
    lines = text.splitlines()
    for line in lines[:MAXIMUM_BLOCKS]:
        shown = line.strip()[:LONGEST_LINE]
        key = mask(clean(shown) if clean else shown)
        if key and key != MARK:
            blocks.append((key, shown))
    return _page(answer, rules, "text", blocks, partial=len(lines) > MAXIMUM_BLOCKS)


def _page(
    answer: Answer, rules: IgnoreRules, kind: str, blocks: list[tuple[str, str]], *, partial: bool = False
) -> Page:
    parts = (kind, answer.status, answer.url, "", "", tuple(blocks), _sent_away(answer))
    return Page(*parts, answer.truncated or partial, rules, answer)


def _sent_away(answer: Answer) -> tuple[Item, ...]:
    """Where the answer's headers send a visitor, if they do: a redirect that was not followed, or a Refresh."""
    found = [answer.header("location")] if 300 <= answer.status < 400 else []
    found.append((answer.header("refresh") or "").partition("=")[2].strip("\"' "))
    places = [Base(answer.url).place(address) for address in found if address]
    return tuple(Item("refresh", place.origin, place.key, place.shown) for place in places if place is not None)
