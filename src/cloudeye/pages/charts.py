"""Charts, drawn here as SVG: shapes and classes alone, so that neither a script nor a style in the page is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from markupsafe import Markup, escape

from cloudeye.turns import Turns

WIDTH, HEIGHT = 720, 200
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 26
MARKS = 4  # lines with a number, above the lowest
TIMES = 3  # that are written below
GAP = 3  # of the usual distance between two points: a line goes over no more


def latency_chart(
    points: Sequence[dict[str, Any]],
    since: datetime,
    until: datetime,
    *,
    title: str,
    said: str,
    clock: Callable[[datetime], str],
) -> Markup:
    """Draw how fast a site answered: the median as a line, and where there are several probes in a point, the 95th
    percentile above it; times in which it was down, and maintenance, as bars behind.

    Args:
        points: of services.usability.history, the earliest first.
        since: the left edge.
        until: the right edge.
        title: the chart's name.
        said: what it shows, for those who do not see it.
        clock: writes a moment.
    """
    turns = Turns.of_page()
    times = [datetime.fromisoformat(point["time"]).timestamp() for point in points]
    start, span = since.timestamp(), max(1.0, (until - since).total_seconds())
    usual = _usual_distance(times, span)
    top = _round_up(max((point["p95_ms"] or 0.0 for point in points), default=0.0))

    def x(time: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, (time - start) / span)), 1)

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top), 1)

    parts = [Markup('<line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(LEFT, y(0), WIDTH - RIGHT, y(0))]
    for mark in range(MARKS + 1):
        value = top * mark / MARKS
        parts.append(
            Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/><text class="left" x="{}" y="{}">{} ms</text>')
            .format(LEFT, y(value), WIDTH - RIGHT, y(value), LEFT - 6, y(value) + 4, f"{value:g}")
        )  # fmt: skip
    for number in range(TIMES):
        moment = since + (until - since) * number / (TIMES - 1)
        place = ("first", "", "last")[number]
        parts.append(
            Markup('<text class="below {}" x="{}" y="{}">{}</text>')
            .format(place, x(moment.timestamp()), HEIGHT - 8, clock(moment))
        )  # fmt: skip
    for name in ("maintenance", "down"):
        parts.append(_bars(name, points, times, usual, x))
        turns.rest()
    for name in ("p95_ms", "p50_ms"):
        parts.append(_line(name, points, times, usual, x, y))
        turns.rest()
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, said)
    return head + Markup("<title>") + escape(title) + Markup("</title>") + Markup("").join(parts) + Markup("</svg>")


def _usual_distance(times: Sequence[float], span: float) -> float:
    distances = sorted(after - before for before, after in pairwise(times))
    return distances[len(distances) // 2] if distances else span / 100


def _round_up(value: float) -> float:
    """Return the least of 1, 2, 4 or 10 times a power of ten that is not below a value."""
    scale = 1.0
    while scale * 10 < value:
        scale *= 10
    return next(scale * step for step in (1, 2, 4, 10) if scale * step >= value)


def _bars(
    name: str, points: Sequence[dict[str, Any]], times: Sequence[float], usual: float, x: Callable[[float], float]
) -> Markup:
    drawn = []
    for point, time in zip(points, times, strict=True):
        if point[name]:
            left, right = x(time), x(time + usual)
            drawn.append(
                Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
                    name, left, TOP, max(1.5, round(right - left, 1)), HEIGHT - TOP - BOTTOM
                )
            )
    return Markup("").join(drawn)


def _line(
    name: str,
    points: Sequence[dict[str, Any]],
    times: Sequence[float],
    usual: float,
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> Markup:
    """Draw a value as lines that break where there is none."""
    runs: list[list[tuple[float, float]]] = []
    last: float | None = None
    for point, time in zip(points, times, strict=True):
        if point[name] is None:
            last = None
            continue
        if last is None or time - last > GAP * usual:
            runs.append([])
        runs[-1].append((x(time), y(point[name])))
        last = time
    return Markup("").join(_shape(name.removesuffix("_ms"), run) for run in runs)


def _shape(name: str, run: Iterable[tuple[float, float]]) -> Markup:
    places = list(run)
    if len(places) == 1:
        return Markup('<circle class="{}" cx="{}" cy="{}" r="2"/>').format(name, *places[0])
    path = " ".join(f"{left},{height}" for left, height in places)
    return Markup('<polyline class="{}" points="{}"/>').format(name, path)
