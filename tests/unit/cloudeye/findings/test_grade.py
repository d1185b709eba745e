"""The arithmetic of grades."""

from __future__ import annotations

import pytest

from cloudeye.services.findings.catalogue import CATALOGUE
from cloudeye.services.findings.grade import BONUSES, LETTERS, START, grade


def test_a_site_without_findings_has_an_a_plus_with_every_bonus() -> None:
    found = grade([])
    assert (found.letter, found.score) == ("A+", 120)
    assert {term.code for term in found.terms} == set(BONUSES)


@pytest.mark.parametrize(
    ("codes", "letter", "score"),
    [
        (["referrer_missing", "permissions_missing"], "A+", 110),  # hints cost nothing but the bonus
        (["version_disclosed"], "A+", 115),
        (["version_disclosed", "referrer_unsafe", "csp_style_unsafe_inline", "hsts_no_subdomains"], "A", 95),
        (["hsts_short"], "A+", 105),  # 90 is enough for the bonus
        (["hsts_short", "version_disclosed"], "A-", 85),  # and 85 is not
        (["hsts_missing"], "B+", 80),
        (["csp_missing"], "B", 75),
        (["csp_missing", "cookie_bad_prefix"], "B-", 65),
        (["certificate_self_signed"], "C+", 60),
        (["certificate_expired"], "C", 50),
        (["certificate_expired", "version_disclosed"], "C-", 45),
        (["exposed_secret"], "D+", 40),
        (["exposed_secret", "hsts_short"], "D", 30),
        (["exposed_secret", "hsts_short", "version_disclosed"], "D-", 25),
        (["exposed_secret", "hsts_missing"], "F", 20),
        (["exposed_secret", "exposed_dump"], "F", 0),
        (list(CATALOGUE), "F", 0),
        (["no_https"], "C+", 60),
        (["a_code_of_another_release"], "A+", 120),
    ],
)
def test_a_grade_follows_from_the_codes(codes: list[str], letter: str, score: int) -> None:
    found = grade(codes)
    assert (found.letter, found.score) == (letter, score)
    assert found.score == max(0, START + sum(term.points for term in found.terms))


def test_a_code_costs_its_points_once_however_often_it_is_found() -> None:
    once, often = grade(["cookie_no_secure"]), grade(["cookie_no_secure"] * 7)
    assert once == often
    assert [(term.code, term.points) for term in once.terms] == [("cookie_no_secure", -20)]


def test_without_encryption_there_is_no_bonus() -> None:
    assert all(term.points < 0 for term in grade(["no_https"]).terms)


def test_the_worst_comes_first_and_the_letters_fall() -> None:
    points = [term.points for term in grade(["hsts_missing", "certificate_expired", "version_disclosed"]).terms]
    assert points == sorted(points)
    assert [least for least, _ in LETTERS] == sorted((least for least, _ in LETTERS), reverse=True)
    assert LETTERS[-1] == (0, "F")
