"""The figures as tables of Markdown, for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench.requests.contestants import CONTESTANTS, STACK
from tests.bench.requests.figures import MB, Bar, Results, Sample, Spread, bars, median_of, ratios
from tests.bench.requests.workloads import WORKLOADS, Workload

NONE = "-"
WRONG = " (!)"  # marks what had errors
VERDICT = {True: "met", False: "NOT MET", None: "not measured"}


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a table, the first one its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def number(value: float) -> str:
    """A figure with three digits that say something, or whole."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(found: Spread | None, form: Callable[[float], str] = number) -> str:
    """A median and how far its values lie apart."""
    if found is None:
        return NONE
    return f"{form(found.median)} [{form(found.least)}..{form(found.most)}]"


def text(results: Results) -> str:
    """All tables and the verdict."""
    parts = {
        "Requests a second, closed loop, median [least..most] of the rounds": rates(results),
        f"Errors, marked{WRONG} above": failures(results),
        "The same as ratios: this stack's to each contestant's, by round, their median": quotients(results),
        "Latency at half that rate, open loop, ms: p50 / p99": latencies(results),
        "Cost": costs(results),
        "Bars": verdicts(bars(results)),
    }
    return "\n\n".join(f"{title}\n\n{said}" for title, said in parts.items() if said)


def _by_contestant(results: Results, cell: Callable[[str, Workload], str], *, ratio: bool = False) -> str:
    """A row for each workload, a column for each contestant that has figures."""
    names = [one.name for one in CONTESTANTS if not (ratio and one.name == STACK)]
    cells = {(name, workload.name): cell(name, workload) for name in names for workload in WORKLOADS}
    columns = [name for name in names if any(cells[name, workload.name] != NONE for workload in WORKLOADS)]
    rows = [["", *columns]]
    for workload in WORKLOADS:
        row = [cells[name, workload.name] for name in columns]
        if set(row) - {NONE}:
            rows.append([workload.title, *row])
    return table(rows) if len(rows) > 1 else ""


def rates(results: Results) -> str:
    """Requests a second."""

    def cell(name: str, workload: Workload) -> str:
        found = spread(Spread.of(results.rates(name, workload.name).values()))
        return found + WRONG if results.errors(name, workload.name) else found

    return _by_contestant(results, cell)


def quotients(results: Results) -> str:
    """How many times as fast this stack is."""

    def cell(name: str, workload: Workload) -> str:
        return spread(ratios(results.rates(STACK, workload.name), results.rates(name, workload.name)))

    return _by_contestant(results, cell, ratio=True)


def latencies(results: Results) -> str:
    """The open loop's."""

    def cell(name: str, workload: Workload) -> str:
        samples = results.of(name, workload.name).values()
        p50, p99 = median_of(samples, lambda one: one.p50), median_of(samples, lambda one: one.p99)
        return NONE if p50 is None or p99 is None else f"{number(p50.median)} / {spread(p99)}"

    return _by_contestant(results, cell)


def costs(results: Results) -> str:
    """Memory, CPU time and start of each contestant."""
    rows = [
        ["", "MB at rest", "MB under load", "CPU s for 1,000 reads: server", "nginx", "database", "s to 1st answer"]
    ]
    in_mb: Callable[[float], str] = lambda value: f"{value / MB:.0f}"  # noqa: E731 - a name for the table's sake
    for contestant in CONTESTANTS:
        name = contestant.name
        samples = list(results.of(name, "read").values())
        if not samples:
            continue
        cpu = [spread(median_of(samples, _cpu_of(part))) for part in ("server", "nginx", "database")]
        memory = [spread(found, in_mb) for found in (results.rest(name), results.load(name))]
        rows.append([name, *memory, *cpu, spread(results.start(name))])
    return table(rows) if len(rows) > 1 else ""


def _cpu_of(part: str) -> Callable[[Sample], float | None]:
    return lambda sample: sample.cpu.get(part)


def failures(results: Results) -> str:
    """What went wrong, a line for each marked cell."""
    lines = []
    for contestant in CONTESTANTS:
        for workload in WORKLOADS:
            if errors := results.errors(contestant.name, workload.name):
                told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(errors.items()))
                lines.append(f"- {contestant.name}, {workload.title}: {told}")
    return "\n".join(lines)


def verdicts(found: Sequence[Bar]) -> str:
    """Each bar with what was measured, and whether it is met."""
    titles = {workload.name: workload.title for workload in WORKLOADS}
    rows = [["", "against", "bar", "measured", ""]]
    for bar in found:
        said = f"{VERDICT[bar.met]}, {bar.errors:,} errors" if bar.errors else VERDICT[bar.met]
        limit = f"{'at most' if bar.at_most else 'at least'} {bar.bar:g}{bar.unit}"
        rows.append([titles.get(bar.workload, bar.workload), bar.title, limit, spread(bar.spread), said])
    return table(rows)


def news(sample: Sample) -> str:
    """One sample in a line."""
    latency = "" if sample.p99 is None else f", p99 {number(sample.p99)} ms at half of it"
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(sample.errors.items()))
    return (
        f"{sample.contestant:15} {sample.workload:16} {sample.rate:10,.0f}/s{latency}{f'  ERRORS: {told}' * bool(told)}"
    )
