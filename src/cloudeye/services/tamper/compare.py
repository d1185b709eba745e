"""How a page differs from the one that was accepted, the gravest first: what runs and sends before what is said."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cloudeye.models import SEVERITIES
from cloudeye.services.tamper.addresses import Base, is_program
from cloudeye.services.tamper.masks import mask
from cloudeye.services.tamper.page import Item, Page

MAXIMUM_CHANGES = 50
MAXIMUM_DIFF_LINES, MAXIMUM_DIFF_CHARACTERS = 400, 40_000
LONGEST_DIFF_INPUT = 4_000  # lines of both pages that a diff is made of
LONGEST_LINE = 500
TAIL = 0.9  # of a page that is not all there: what lies behind may have come or gone with the cut
MANY_LINKS = 5

_RANK = {severity: place for place, severity in enumerate(SEVERITIES)}
_BOASTS = re.compile(
    r"\b(?:hacked|hax?ored|h[a4]ck[e3]d|defaced|pwn(?:ed|3d)|[o0]wn[e3]d)\s+by\b|\bh[a4]ck[e3]d\b|\bgreet[zs]\b"
    r"|you (?:have been|got) (?:hacked|h4ck3d|pwned|owned)|\b[0o]wn[e3]d\b|\bpwned\b"
    r"|\u9ed1\u5ba2\u5165\u4fb5|\u88ab\u9ed1"
    r"|hackeado por|pirat\u00e9 par|\u0432\u0437\u043b\u043e\u043c\u0430\u043d",
    re.I,
)
_SENTENCES = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: what kind it is, how grave, and a line for people."""

    kind: str
    severity: str
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing a page with its baseline.

    `changes` are the gravest first, `more` how many were left out. `diff` is a unified diff of what a reader sees,
    empty where nothing of that changed. `restored` says that the page is as the baseline again. `partial` says that
    not all of a page could be compared. `version_id` is the number under which the page is kept, if it is.
    """

    severity: str
    changes: tuple[Change, ...]
    diff: str
    more: int = 0
    restored: bool = False
    partial: bool = False
    version_id: int | None = None

    @property
    def alerts(self) -> bool:
        """Is this worth telling."""
        return _RANK[self.severity] >= _RANK["low"]


SAME = Comparison("info", (), "")
RESTORED = Comparison("info", (Change("restored", "info", "The page is as the baseline again."),), "", restored=True)


def compare(baseline: Page, page: Page) -> Comparison:
    """Say how a page differs from its baseline.

    Args:
        baseline: what was accepted, read by the same rules as the page.
        page: as it was seen.

    Returns:
        A comparison whose severity is that of its gravest change, info where there is none.
    """
    partial = baseline.partial or page.partial
    if baseline.digest == page.digest or "packed" in (baseline.kind, page.kind):
        return Comparison("info", (), "", partial=partial)
    changes = [*_frame_of(baseline, page)]
    if baseline.kind == page.kind:
        changes += _items(baseline, page, partial)
        changes += _title(baseline, page)
        changes += _texts(baseline, page, partial)
    changes.sort(key=lambda change: -_RANK[change.severity])
    diff = "" if page.kind == "binary" or baseline.kind == "binary" else unified(baseline, page)
    severity = changes[0].severity if changes else "info"
    kept = tuple(changes[:MAXIMUM_CHANGES])
    return Comparison(severity, kept, diff if changes else "", len(changes) - len(kept), partial=partial)


def _frame_of(baseline: Page, page: Page) -> Iterable[Change]:
    """What the answer says before its body does."""
    before, after = Base(baseline.url), page.url
    place = before.place(after)
    if place is not None and place.origin:
        yield Change("redirected", "high", f"The address now leads to another site: {place.origin}")
    if baseline.status != page.status:
        yield Change("status", "medium", f"The status was {baseline.status} and is {page.status}")
    if baseline.kind != page.kind:
        yield Change("type", "high", f"The page was {baseline.kind} and is {page.kind}")


# -- what runs, leads and shows --------------------------------------------------------------------------------

# Severity of something new: of an origin that the baseline does not know, of one that it does, of the page's own.
_NEW: dict[str, tuple[str, str, str, str]] = {
    "script": ("critical", "high", "medium", "script"),
    "form": ("critical", "critical", "medium", "form target"),
    "base": ("critical", "critical", "high", "base address"),
    "frame": ("high", "medium", "medium", "frame"),
    "refresh": ("high", "high", "low", "redirection"),
    "jslink": ("high", "high", "high", "link that runs code"),
    "inline": ("high", "high", "high", "inline script"),
    "handler": ("high", "high", "high", "code on an element"),
    "srcdoc": ("high", "high", "high", "frame with its own document"),
    "reach": ("high", "high", "high", "host that a script names"),
    "field": ("high", "high", "high", "field that asks for a secret"),
    "value": ("high", "high", "high", "value that a form sends elsewhere"),
    "canonical": ("medium", "medium", "low", "canonical address"),
    "style": ("medium", "low", "low", "style sheet"),
    "look": ("medium", "medium", "medium", "style that hides or writes"),
    "link": ("medium", "low", "low", "link"),
    "image": ("medium", "low", "low", "picture"),
    "meta": ("low", "low", "low", "description for search engines"),
}
_SAME_WHEN_GONE = frozenset({"reach", "value"})  # said with what they belong to


def _items(baseline: Page, page: Page, partial: bool) -> list[Change]:
    old, new = ({item.identity for item in each.items} for each in (baseline, page))
    origins = {(item.kind, item.origin) for item in baseline.items}
    added = [item for item in page.items if item.identity not in old]
    removed = [item for item in baseline.items if item.identity not in new]
    if partial:
        # At the cut links and pictures come and go; what runs or sends is told wherever it is.
        added = _before_the_cut(added, page.items)
        removed = _before_the_cut(removed, baseline.items) if not page.partial else []
    changes = [_added(item, (item.kind, item.origin) in origins) for item in added]
    changes += _link_farm(added, origins)
    by_kind: dict[str, list[Item]] = {}
    for item in removed:
        by_kind.setdefault(item.kind, []).append(item)
    replaced = {item.kind for item in added}
    for kind, gone in by_kind.items():
        if kind in _SAME_WHEN_GONE:
            continue
        name = _NEW[kind][3]
        severity = "info" if kind in replaced else "low"
        shown = gone[0].shown + (f" and {len(gone) - 1} more" if len(gone) > 1 else "")
        changes.append(Change(f"{kind}_removed", severity, f"Gone: {name} {shown}"))
    return changes


def _before_the_cut(items: Iterable[Item], all_of_them: Sequence[Item]) -> list[Item]:
    soft = {item.identity for item in all_of_them[int(len(all_of_them) * TAIL) :]}
    return [item for item in items if item.identity not in soft or item.kind not in ("link", "image", "style", "meta")]


def _added(item: Item, known_origin: bool) -> Change:
    foreign, known, own, name = _NEW[item.kind]
    severity = own if not item.origin else known if known_origin else foreign
    where = ""
    if item.kind == "link":
        if is_program(item.key):
            severity, name = _worse(severity, "medium"), "link to a program"
        if item.hidden and item.origin and not known_origin:
            severity, name = "high", f"hidden {name}"
    if item.origin and item.origin not in item.shown:
        where = f" ({item.origin})"
    return Change(item.kind, severity, f"New {name}: {item.shown}{where}")


def _link_farm(added: Iterable[Item], origins: set[tuple[str, str]]) -> Iterable[Change]:
    hosts = sorted(
        {item.origin for item in added if item.kind == "link" and item.origin} - {origin for _, origin in origins}
    )
    if len(hosts) >= MANY_LINKS:
        yield Change(
            "links", "high", f"Links to {len(hosts)} sites that were not linked before: {', '.join(hosts[:5])}"
        )


def _worse(one: str, other: str) -> str:
    return max(one, other, key=_RANK.__getitem__)


# -- what is said ----------------------------------------------------------------------------------------------


def _title(baseline: Page, page: Page) -> Iterable[Change]:
    if baseline.title_key != page.title_key:
        severity = "high" if _boasts(page.title) and not _boasts(baseline.title) else "medium"
        yield Change("title", severity, f"The title was {baseline.title[:120]!r} and is {page.title[:120]!r}")


def _texts(baseline: Page, page: Page, partial: bool) -> Iterable[Change]:
    old, new = dict(reversed(baseline.blocks)), dict(reversed(page.blocks))
    added = [key for key, _ in page.blocks if key not in old]
    removed = [key for key, _ in baseline.blocks if key not in new]
    added, removed = list(dict.fromkeys(added)), list(dict.fromkeys(removed))
    if partial:
        tail = {key for key, _ in page.blocks[int(len(page.blocks) * TAIL) :]}
        added = [key for key in added if key not in tail]
        tail = {key for key, _ in baseline.blocks[int(len(baseline.blocks) * TAIL) :]}
        removed = [key for key in removed if key not in tail and not page.partial]
    if not added and not removed:
        return
    boast = next((new[key] for key in added if _boasts(new[key])), None)
    if boast is not None and not any(_boasts(text) for text in old.values()):
        yield Change("boast", "high", f"The page boasts of a break-in: {boast[:200]}")
    gone = len(removed) / len(old) if old else 0.0
    if page.kind == "binary":
        yield Change("content", "medium", f"Other content: {page.blocks[0][1]}")
    elif gone >= 0.7 and (len(old) >= 3 or not added):
        yield Change("replaced", "high", f"{len(removed)} of {len(old)} texts are gone, {len(added)} are new")
    elif gone >= 0.3 and len(removed) >= 4:
        yield Change("rewritten", "medium", f"{len(removed)} of {len(old)} texts are gone, {len(added)} are new")
    for key in added[:MAXIMUM_CHANGES]:
        yield Change("text", "low", f"New text: {new[key][:200]}")
    if removed and not added:
        severity = "medium" if len(removed) >= 4 else "low"
        yield Change("text_removed", severity, f"Gone: {old[removed[0]][:200]}" + _and_more(len(removed) - 1))


def _boasts(text: str) -> bool:
    return _BOASTS.search(text) is not None


def _and_more(count: int) -> str:
    return f" and {count} more" if count else ""


# -- the diff --------------------------------------------------------------------------------------------------


def unified(baseline: Page, page: Page) -> str:
    """Return a unified diff of what changed, bounded in lines and characters.

    Lines that differ by moving parts alone are the same here too; they are shown as the baseline has them. Parts
    that stand in another order are no difference, so each page's lines are put in the baseline's order first.
    """
    before, after = _lines(baseline), _lines(page)
    here = list(dict(before))
    place = {key: number for number, key in enumerate(here)}
    there: dict[str, float] = {}
    last = -0.5
    for key, _ in after:
        if key in place:
            last = place[key]
        # A new line stays behind the one before it.
        there.setdefault(key, last if key in place else last + 0.5)
    ordered = sorted(there, key=there.__getitem__)
    shown_as = dict(reversed(after)) | dict(reversed(before))
    lines: list[str] = []
    size = 0
    for line in difflib.unified_diff(here, ordered, "baseline", "page", lineterm="", n=2):
        if line[:1] in " +-" and not line.startswith(("+++", "---")):
            line = line[0] + shown_as[line[1:]][:LONGEST_LINE]
        size += len(line) + 1
        if len(lines) >= MAXIMUM_DIFF_LINES or size > MAXIMUM_DIFF_CHARACTERS:
            lines.append("... (the rest of the difference is left out)")
            break
        lines.append(line)
    return "\n".join(lines)


def _lines(page: Page) -> list[tuple[str, str]]:
    """A page as lines: what is compared, and what is shown."""
    lines: list[tuple[str, str]] = [(f"title {page.title_key}", f"[title] {page.title}")] if page.title else []
    lines += [(f"{item.kind} {item.origin} {item.key}", f"[{item.kind}] {item.shown}") for item in page.items]
    for key, shown in page.blocks:
        pieces = _SENTENCES.split(shown) if len(shown) > 200 else [shown]
        if len(pieces) == 1:
            lines.append((f"text {key}", shown))
        else:
            lines += [(f"text {mask(piece)}", piece) for piece in pieces if piece]
        if len(lines) > LONGEST_DIFF_INPUT:
            break
    return lines
