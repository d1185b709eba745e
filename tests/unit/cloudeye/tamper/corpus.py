"""Two hundred pages with moving parts, each the same at every run, and what they are at each visit."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.unit.cloudeye.tamper.moving import LANGUAGES, PAUSES, Moving
from tests.unit.cloudeye.tamper.templates import TEMPLATES

PAGES, VISITS = 200, len(PAUSES)


@dataclass(frozen=True)
class Sample:
    """One page of the corpus."""

    number: int
    kind: str
    language: str
    url: str

    def at(self, visit: int) -> str:
        """The page's HTML at a visit."""
        still = random.Random(f"page {self.number}")
        return TEMPLATES[self.number % len(TEMPLATES)](still, Moving(self.number, visit), self.language)


def samples() -> list[Sample]:
    """Return all pages; kinds and languages are paired in turn, so that each kind is there in many languages."""
    found = []
    for number in range(PAGES):
        kind = TEMPLATES[number % len(TEMPLATES)].__name__
        language = LANGUAGES[(3 * number + number // len(TEMPLATES)) % len(LANGUAGES)]
        found.append(Sample(number, kind, language, f"https://www.site{number}.example/{kind}"))
    return found
