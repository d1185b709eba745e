"""A weakness as it was seen, and what a look at a site comes back with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cloudeye.services.findings.catalogue import CATALOGUE

MAX_SUBJECT, MAX_EVIDENCE = 160, 500
# Of one code and one look: a hostile site can name any number of cookies and scripts, new ones each time.
MAX_SUBJECTS = 10


@dataclass(frozen=True, slots=True)
class Found:
    """One weakness as it was seen. `subject` tells findings of one code apart: a cookie, a path, a header."""

    code: str
    subject: str
    severity: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a site found, and for which codes it could have found something.

    A finding is fixed only by a look that had its code in `looked`: one that came back with nothing, because the
    site was down or the look was broken off, says nothing of what it did not see.
    """

    found: tuple[Found, ...] = ()
    looked: frozenset[str] = field(default_factory=frozenset)


def find(code: str, subject: str = "", evidence: str = "", severity: str | None = None) -> Found:
    """Make a finding, with the catalogue's severity unless another is given; the texts are cut and made printable."""
    return Found(code, plain(subject, MAX_SUBJECT), severity or CATALOGUE[code].severity, plain(evidence, MAX_EVIDENCE))


def plain(text: str, limit: int) -> str:
    """Return a text of a site so that it can be shown: one line, printable, at most `limit` characters."""
    shown = "".join(char if char.isprintable() else " " for char in text[: limit + 1])
    # MariaDB takes two texts for one that differ in blanks at their end.
    return (shown if len(shown) <= limit else shown[: limit - 1] + "…").strip()


def limited(found: Iterable[Found]) -> tuple[Found, ...]:
    """Return what was found once each, with at most MAX_SUBJECTS subjects of one code, in order."""
    seen: dict[str, dict[str, Found]] = {}
    for one in found:
        subjects = seen.setdefault(one.code, {})
        if len(subjects) < MAX_SUBJECTS:
            subjects.setdefault(one.subject, one)
    return tuple(one for subjects in seen.values() for one in subjects.values())
