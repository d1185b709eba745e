"""Charts, as shapes; and times in words beside them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lxml import html

from cloudeye.pages.charts import latency_chart
from cloudeye.pages.site import duration
from tests.integration.world import World

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def points(*medians: float | None, every: timedelta = timedelta(minutes=1)) -> list[dict[str, Any]]:
    return [
        {"time": (NOON + number * every).isoformat(), "p50_ms": value, "p95_ms": value, "down": int(value is None),
         "maintenance": 0}
        for number, value in enumerate(medians)
    ]  # fmt: skip


def drawn(given: list[dict[str, Any]]) -> Any:
    chart = latency_chart(
        given, NOON, NOON + timedelta(hours=1), title="t", said="<s>", clock=lambda time: f"{time:%H:%M}"
    )
    return html.fromstring(str(chart))


def test_a_line_breaks_where_the_site_was_down() -> None:
    tree = drawn(points(10, 20, None, 30, 40, None, 50))
    assert len(tree.xpath("//*[local-name()='polyline'][@class='p50']")) == 2
    assert len(tree.xpath("//*[local-name()='circle'][@class='p50']")) == 1
    assert len(tree.xpath("//*[local-name()='rect'][@class='down']")) == 2


def test_a_line_breaks_where_nobody_looked() -> None:
    given = points(10, 20, 30, 40)
    given[2:] = [{**point, "time": (NOON + timedelta(minutes=40 + n)).isoformat()} for n, point in enumerate(given[2:])]
    assert len(drawn(given).xpath("//*[local-name()='polyline'][@class='p50']")) == 2


@pytest.mark.parametrize(
    ("largest", "top"), [(0.0, "1"), (0.4, "1"), (1, "1"), (3, "4"), (81, "100"), (120, "200"), (4001, "10000")]
)
def test_the_scale_ends_above_the_largest_value_in_a_round_number(largest: float, top: str) -> None:
    marks = drawn(points(largest, largest / 2)).xpath("//*[local-name()='text'][@class='left']")
    assert marks[-1].text_content() == f"{float(top):g} ms"


def test_nothing_is_drawn_outside_and_texts_are_no_markup() -> None:
    tree = drawn(points(*range(0, 6000, 10)))
    for line in tree.xpath("//*[local-name()='polyline']/@points"):
        for place in line.split():
            left, height = map(float, place.split(","))
            assert 0 <= left <= 720
            assert 0 <= height <= 200
    assert tree.xpath("//*[local-name()='svg']/@aria-label | ./@aria-label")[0] == "<s>"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h")]
)
def test_a_time_is_said_in_two_units(world: World, seconds: int, said: str) -> None:
    with world.app.test_request_context():
        assert duration(NOON, NOON + timedelta(seconds=seconds), NOON) == said
        assert duration(NOON, None, NOON + timedelta(seconds=seconds)) == said
