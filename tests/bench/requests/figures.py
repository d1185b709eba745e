"""From samples to medians, ratios and bars. Nothing here measures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.requests.contestants import CONNECTIONS, CONTESTANTS, LIMIT, REWRITE, STACK
from tests.bench.requests.workloads import WAIT_MS

MB = 1_000_000
REST_BAR = 450 * MB


@dataclass(frozen=True)
class Spread:
    """The median of some values, and how far they lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Of no values there is none."""
        found = list(values)
        return cls(statistics.median(found), min(found), max(found)) if found else None


@dataclass(frozen=True)
class Sample:
    """One contestant under one workload in one round. CPU is in seconds, memory in bytes, latencies in milliseconds."""

    contestant: str
    workload: str
    round: int
    rate: float  # good answers a second, closed loop
    errors: dict[str, int]  # of closed and open loop
    memory: int  # PSS of all its processes, nginx's among them, halfway through
    cpu: dict[str, float]  # for 1,000 answers: `server`, `nginx`, `database`
    p50: float | None = None  # open loop, at half that rate
    p99: float | None = None
    late_p99: float | None = None  # of the generator, between a request's time and its sending


@dataclass(frozen=True)
class Start:
    """How a contestant started in one round: seconds until its first answer, and its memory then, in bytes."""

    contestant: str
    round: int
    seconds: float
    memory: int


@dataclass
class Results:
    """All that was measured."""

    samples: list[Sample] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)

    def of(self, contestant: str, workload: str) -> dict[int, Sample]:
        """The samples of one cell of the table by their round."""
        wanted = contestant, workload
        return {one.round: one for one in self.samples if (one.contestant, one.workload) == wanted}

    def rates(self, contestant: str, workload: str) -> dict[int, float]:
        """Answers a second by round."""
        return {number: sample.rate for number, sample in self.of(contestant, workload).items()}

    def errors(self, contestant: str, workload: str) -> dict[str, int]:
        """What failed in all rounds, by kind."""
        total: dict[str, int] = {}
        for sample in self.of(contestant, workload).values():
            for kind, count in sample.errors.items():
                total[kind] = total.get(kind, 0) + count
        return total

    def rest(self, contestant: str) -> Spread | None:
        """Memory after the start."""
        return Spread.of(start.memory for start in self.starts if start.contestant == contestant)

    def load(self, contestant: str) -> Spread | None:
        """The most memory in each round under load."""
        most: dict[int, int] = {}
        for sample in self.samples:
            if sample.contestant == contestant:
                most[sample.round] = max(most.get(sample.round, 0), sample.memory)
        return Spread.of(most.values())

    def start(self, contestant: str) -> Spread | None:
        """Seconds from start to first answer."""
        return Spread.of(start.seconds for start in self.starts if start.contestant == contestant)


def ratios(above: Mapping[int, float], below: Mapping[int, float]) -> Spread | None:
    """The ratio in each round that has both, and then their median: what disturbs a round disturbs both."""
    return Spread.of(above[number] / below[number] for number in sorted(above) if below.get(number))


@dataclass(frozen=True)
class Bar:
    """One of the bars that must be met: a spread that is at least, or for costs at most, `bar`."""

    workload: str
    title: str
    bar: float
    spread: Spread | None  # None: it was not measured
    at_most: bool = False
    errors: int = 0  # of this stack, where none are allowed
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is met; None: it was not measured."""
        if self.spread is None:
            return None
        good = self.spread.median <= self.bar if self.at_most else self.spread.median >= self.bar
        return good and not self.errors


def bars(results: Results) -> list[Bar]:
    """All bars of the issue that asked for this benchmark, in its order.

    "Against the best of some contestants" is against each of them, by its own median ratio: to take whoever was best in
    each round would count their luck.
    """
    return [
        _against(results, "ping", "gunicorn and uWSGI", 1.0, _kinds("gunicorn", "uwsgi")),
        _against(results, "ping", "granian", 0.9, _kinds("granian")),
        _against(results, "ping", "FastAPI", 1.0, [REWRITE]),
        *(
            bar
            for workload in ("read", "list")
            for bar in (
                _against(results, workload, "the same app", 1.0, _kinds("gunicorn", "uwsgi", "granian")),
                _against(results, workload, "FastAPI", 1.3, [REWRITE]),
            )
        ),
        _against(results, "create", "all", 1.0, [*_kinds("gunicorn", "uwsgi", "granian"), REWRITE]),
        *(_possible(results, clients, bar) for clients, bar in ((64, 0.95), (256, 0.9), (1000, 0.9))),
        Bar(
            "status",
            "nginx's constant",
            0.6,
            ratios(results.rates(STACK, "status"), results.rates(LIMIT, "constant")),
        ),
        *(_beside(results, name) for name in ("idle", "slow")),
        Bar("memory", "MB at rest", REST_BAR / MB, _in_mb(results.rest(STACK)), at_most=True, unit=" MB"),
    ]


def _kinds(*kinds: str) -> list[str]:
    return [contestant.name for contestant in CONTESTANTS if contestant.kind in kinds]


def _against(results: Results, workload: str, title: str, bar: float, others: Sequence[str]) -> Bar:
    own = results.rates(STACK, workload)
    found = [(ratios(own, results.rates(other, workload)), other) for other in others]
    measured = [(spread, other) for spread, other in found if spread is not None]
    if not measured:
        return Bar(workload, title, bar, None)
    closest, name = min(measured, key=lambda pair: pair[0].median)
    return Bar(workload, f"{title}: {name}" if len(others) > 1 else title, bar, closest)


def _possible(results: Results, clients: int, bar: float) -> Bar:
    """A query that waits, against what is possible: as many at once as there are clients and connections.

    But at most this stack's own rate for that query without the wait.
    """
    name = f"wait-{clients}"
    most = min(clients, CONNECTIONS) / (WAIT_MS / 1000)
    without = results.rates(STACK, "query")
    possible = {number: min(most, rate) for number, rate in without.items()}
    spread = ratios(results.rates(STACK, name), possible)
    return Bar(name, "the possible", bar, spread, errors=sum(results.errors(STACK, name).values()))


def _beside(results: Results, name: str) -> Bar:
    """Busy clients with others beside them, against without: the mean of before and after."""
    before, after = results.rates(STACK, "busy"), results.rates(STACK, "busy-again")
    alone = {number: (before[number] + after[number]) / 2 for number in before if number in after}
    return Bar(name, "without them", 0.95, ratios(results.rates(STACK, name), alone))


def _in_mb(spread: Spread | None) -> Spread | None:
    return None if spread is None else Spread(*(value / MB for value in (spread.median, spread.least, spread.most)))


def median_of(samples: Iterable[Sample], value: Callable[[Sample], float | None]) -> Spread | None:
    """The spread of a value of samples, those without it left out."""
    return Spread.of(found for sample in samples if (found := value(sample)) is not None)
