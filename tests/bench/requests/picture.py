"""The rates as a picture: an SVG of bars, one panel for each workload, light enough for a page of documentation."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from tests.bench.requests.contestants import CONTESTANTS, STACK
from tests.bench.requests.figures import Results, Spread
from tests.bench.requests.report import number
from tests.bench.requests.workloads import WORKLOADS, Workload

COLUMNS = 2
WIDTH, NAMES, VALUES, LINE, HEAD, GAP = 470, 112, 96, 18, 30, 16  # pixels; of a panel, of its parts, between panels
# Readable on white and on black: the picture has no background of its own.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #57606a } .title { font-weight: 600; font-size: 13px }
.own { fill: #1a7f5a } .other { fill: #8b98a5 } .wrong { fill: #d97757 } .spread { stroke: #3d444d; stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #b1bac4 } .spread { stroke: #e6edf3 } }
"""


def draw(results: Results) -> str:
    """Draw what is asked of more than one contestant."""
    panels = [(workload, found) for workload in WORKLOADS if len(found := _bars(results, workload)) > 1]
    heights = [HEAD + LINE * len(found) + GAP for _, found in panels]
    rows = [heights[start : start + COLUMNS] for start in range(0, len(heights), COLUMNS)]
    tops = [sum(max(row) for row in rows[:place]) for place in range(len(rows))]
    parts = [
        _panel(workload, found, place % COLUMNS * (WIDTH + GAP), tops[place // COLUMNS])
        for place, (workload, found) in enumerate(panels)
    ]
    width, height = COLUMNS * (WIDTH + GAP), sum(max(row) for row in rows)
    label = quoteattr("Requests a second of each contestant, by workload: medians, and least to most of the rounds")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label={label}>\n<style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _bars(results: Results, workload: Workload) -> list[tuple[str, Spread, bool]]:
    """Name, rate and whether there were errors, of each that has figures."""
    found = []
    for contestant in CONTESTANTS:
        rate = Spread.of(results.rates(contestant.name, workload.name).values())
        if rate is not None:
            found.append((contestant.name, rate, bool(results.errors(contestant.name, workload.name))))
    return found


def _panel(workload: Workload, found: list[tuple[str, Spread, bool]], left: int, top: int) -> str:
    most = max(rate.most for _, rate, _ in found) or 1.0
    room = WIDTH - NAMES - VALUES
    parts = [f'<text class="title" x="{left}" y="{top + 18}">{escape(workload.title)}, requests/s</text>']
    for place, (name, rate, wrong) in enumerate(found):
        y = top + HEAD + place * LINE
        begin = left + NAMES
        kind = "own" if name == STACK else "wrong" if wrong else "other"
        wide = room * rate.median / most
        low, high = (begin + room * value / most for value in (rate.least, rate.most))
        shown = number(rate.median) + (" (errors)" if wrong else "")
        parts += [
            f'<text x="{begin - 6}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{begin}" y="{y + 2}" width="{wide:.1f}" height="{LINE - 5}"/>',
            f'<path class="spread" d="M{low:.1f} {y + LINE / 2 - 0.5}H{high:.1f}"/>',
            f'<text x="{max(high, begin) + 6:.1f}" y="{y + 12}">{escape(shown)}</text>',
        ]
    return "\n".join(parts)
