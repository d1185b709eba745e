"""The grade of a site, and how it comes about.

It starts at 100. Each code that is found costs its points once, however many subjects it has; findings that somebody
acknowledged cost as well, for the weakness is still there. Who has 90 or more left gets points back for each
subject about which there was nothing to say at all, not even a hint. The letters begin where those of Mozilla's HTTP
Observatory do. Source: https://developer.mozilla.org/en-US/observatory/docs/tests_and_scoring
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cloudeye.phrases import N_
from cloudeye.services.findings.catalogue import CATALOGUE

START = 100
BONUS_FROM = 90
LETTERS = (
    (100, "A+"), (90, "A"), (85, "A-"), (80, "B+"), (70, "B"), (65, "B-"), (60, "C+"), (50, "C"), (45, "C-"),
    (40, "D+"), (30, "D"), (25, "D-"), (0, "F"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bonus:
    """Points for a subject without any finding: none of the codes that begin with `prefix`, nor `no_https`."""

    prefix: str
    points: int
    title: str


BONUSES = {
    "bonus_csp": Bonus("csp_", 5, N_("Nothing to say about Content-Security-Policy")),
    "bonus_hsts": Bonus("hsts_", 5, N_("Nothing to say about Strict-Transport-Security")),
    "bonus_referrer": Bonus("referrer_", 5, N_("Nothing to say about Referrer-Policy")),
    "bonus_permissions": Bonus("permissions_", 5, N_("Nothing to say about Permissions-Policy")),
}


@dataclass(frozen=True, slots=True)
class Term:
    """One line of the arithmetic; `points` are what it adds, so mostly negative."""

    code: str
    title: str
    points: int


@dataclass(frozen=True, slots=True)
class Grade:
    """The letter, the score it stands for, and the terms whose sum with START is the score (never below 0)."""

    letter: str
    score: int
    terms: tuple[Term, ...]


def grade(codes: Iterable[str]) -> Grade:
    """Return the grade of a site that was looked at.

    Args:
        codes: of all findings that are not fixed, in any order, each any number of times.
    """
    known = {code for code in codes if code in CATALOGUE}
    costs = [Term(code, CATALOGUE[code].title, -CATALOGUE[code].points) for code in known if CATALOGUE[code].points]
    terms = sorted(costs, key=lambda term: (term.points, term.code))
    score = START + sum(term.points for term in terms)
    if score >= BONUS_FROM and "no_https" not in known:
        terms += [
            Term(code, bonus.title, bonus.points)
            for code, bonus in BONUSES.items()
            if not any(one.startswith(bonus.prefix) for one in known)
        ]
        score = START + sum(term.points for term in terms)
    score = max(0, score)
    letter = next(letter for least, letter in LETTERS if score >= least)
    return Grade(letter, score, tuple(terms))
