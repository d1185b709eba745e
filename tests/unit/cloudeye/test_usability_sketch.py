"""Latencies in a few characters: how exact, how large, and that parts make the whole."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest

from cloudeye.services.usability.sketch import ACCURACY, BINS, LEAST, MOST, Sketch

SHARES = (0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    "even": lambda chance: chance.uniform(1, 500),
    "skewed": lambda chance: chance.lognormvariate(4.5, 0.8),
    "normal": lambda chance: max(LEAST, chance.gauss(120, 30)),
    "long tail": lambda chance: min(MOST, 20 * chance.paretovariate(1.1)),
    "two humps": lambda chance: chance.choice([chance.gauss(30, 2), chance.gauss(2000, 100)]),
    "hardly any spread": lambda chance: 80 + chance.random() / 100,
    "always the same": lambda chance: 42.0,
    "on the edges of bins": lambda chance: LEAST * ((1 + ACCURACY) / (1 - ACCURACY)) ** chance.randrange(600),
    "as short as they get": lambda chance: chance.uniform(LEAST, 3 * LEAST),
}


def sketch_of(values: Sequence[float]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


def exact(values: Sequence[float], share: float) -> float:
    """The least value that at least this share of all does not exceed."""
    ordered = sorted(values)
    return next(value for rank, value in enumerate(ordered, 1) if rank >= share * len(ordered) - 1e-9)


@pytest.mark.parametrize("number", [1, 2, 3, 60, 4321])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_quantiles_are_within_the_accuracy(name: str, number: int) -> None:
    chance = random.Random(f"{name} {number}")
    values = [DISTRIBUTIONS[name](chance) for _ in range(number)]
    found = sketch_of(values).quantiles(SHARES)
    for share, value in zip(SHARES, found, strict=True):
        assert value == pytest.approx(exact(values, share), rel=ACCURACY * (1 + 1e-9)), share


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_parts_that_were_written_down_make_the_whole(name: str) -> None:
    chance = random.Random(name)
    values = [DISTRIBUTIONS[name](chance) for _ in range(3000)]
    texts = [str(sketch_of(values[start : start + 137])) for start in range(0, 3000, 137)]
    whole = sketch_of(values)
    assert str(Sketch(*texts)) == str(whole) == str(Sketch(str(whole)))
    assert Sketch("".join(texts)).quantiles(SHARES) == whole.quantiles(SHARES)
    merged = sketch_of(values[:1000])
    merged.merge(sketch_of(values[1000:]))
    assert str(merged) == str(whole)
    assert len(whole) == 3000


def test_nothing_has_no_quantiles_and_no_text() -> None:
    empty = Sketch()
    empty.merge(None)
    assert (str(empty), len(empty), empty.quantiles([0.5, 0.99])) == ("", 0, [None, None])


@pytest.mark.parametrize(
    ("value", "counts_as"), [(0.0, LEAST), (-5.0, LEAST), (1e-9, LEAST), (1e9, MOST), (math.inf, MOST)]
)
def test_what_no_probe_takes_counts_as_the_nearest_that_one_does(value: float, counts_as: float) -> None:
    assert sketch_of([value]).quantiles([0.5])[0] == pytest.approx(counts_as, rel=2 * ACCURACY)


@pytest.mark.parametrize("value", [math.nan, "12", None])
def test_what_is_no_number_is_refused(value: object) -> None:
    sketch = Sketch()
    with pytest.raises((TypeError, ValueError)):
        sketch.add(value)  # type: ignore[arg-type]
    assert len(sketch) == 0


def test_it_has_a_bound_however_much_was_counted() -> None:
    chance = random.Random(1)
    sketch = sketch_of([math.exp(chance.uniform(math.log(LEAST / 10), math.log(MOST * 10))) for _ in range(200_000)])
    # Two characters for each bin, and for every 94 values in it two more.
    assert len(str(sketch)) <= 2 * (BINS + 200_000 / 94)
    assert len({*str(sketch)[::2]}) <= BINS


def test_an_hour_of_a_site_takes_a_hundred_bytes_or_so() -> None:
    chance = random.Random(1)
    sizes = [len(str(sketch_of([chance.lognormvariate(4.5, 0.25) for _ in range(60)])).encode()) for _ in range(200)]
    assert sum(sizes) / len(sizes) < 120


def test_its_text_is_printable_and_what_was_written_today_can_be_read_for_good() -> None:
    text = str(sketch_of([0.2, 80.0, 80.3, 80.3, 4000.0] + [100.0] * 95))
    assert text.isprintable()
    assert text == '\u0146!\u0271!\u0272"\u027d~\u027d!\u0335!'
    assert Sketch(text).quantiles([0.5]) == [pytest.approx(100, rel=ACCURACY)]
