"""What a look means for a site's state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudeye.sync.judging import Verdict, judge
from cloudeye.sync.work import Claimed

START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
NOTHING = dict.fromkeys(Claimed.__dataclass_fields__)


def site(**values: Any) -> Claimed:
    return Claimed(**{**NOTHING, "id": 1, "state": "unknown", "failures": 0, "retries": 0, **values})


def follow(start: Claimed, looks: str) -> list[Verdict]:
    """One look a minute: + up, - down, and the same in maintenance, P and m."""
    verdicts, now = [], start
    for minute, look in enumerate(looks):
        verdict = judge(now, look in "+P", START + timedelta(minutes=minute), look in "Pm")
        now = replace(
            now,
            state=verdict.state,
            state_since=verdict.state_since,
            failures=verdict.failures,
            failing_since=verdict.failing_since,
        )
        verdicts.append(verdict)
    return verdicts


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)


@pytest.mark.parametrize(
    ("retries", "looks", "states", "downs", "ups"),
    [
        (0, "++-++", "++-++", [2], [3]),
        (0, "-+", "-+", [0], [1]),
        (1, "+-+-+", "+++++", [], []),
        (1, "+--+", "++-+", [2], [3]),
        (2, "+---+-+", "+++-+++", [3], [4]),
        (2, "--+", "??+", [], []),
        (2, "---", "??-", [2], []),
        (0, "+mm+", "++++", [], []),
        (0, "+mm-", "+++-", [3], []),
        (1, "+-m-+", "+++++", [], []),
        (0, "-mP-", "--+-", [0, 3], [2]),
        (0, "m+", "?+", [], []),
    ],
)
def test_a_site_is_down_after_its_retries_and_never_for_maintenance(
    retries: int, looks: str, states: str, downs: list[int], ups: list[int]
) -> None:
    verdicts = follow(site(retries=retries), looks)
    signs = {"up": "+", "down": "-", "unknown": "?"}
    assert "".join(signs[verdict.state] for verdict in verdicts) == states
    assert [place for place, verdict in enumerate(verdicts) if verdict.went_down] == downs
    assert [place for place, verdict in enumerate(verdicts) if verdict.came_up] == ups


def test_a_site_is_down_since_the_first_look_that_failed() -> None:
    verdict = follow(site(retries=2), "+---")[-1]
    assert (verdict.went_down, verdict.state_since, verdict.failures) == (True, minute(1), 3)


def test_a_site_that_failed_is_looked_at_again_soon_only_while_it_has_retries_left() -> None:
    assert [verdict.retry for verdict in follow(site(retries=2), "+-----")] == [False, True, True, False, False, False]


def test_a_state_that_stays_keeps_its_beginning() -> None:
    assert [verdict.state_since for verdict in follow(site(), "+++--")] == [minute(0)] * 3 + [minute(3)] * 2
