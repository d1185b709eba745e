"""The distribution of latencies in a few characters: two of them are merged by writing one after the other.

After DDSketch (Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees", 2019): a value falls into a bin whose upper end is GAMMA times its lower one, so that whichever value of
its bin is named, it is at most ACCURACY off. Unlike there the bins are fixed. A probe takes neither less than LEAST nor
longer than MOST, so there are BINS of them and none need ever be thrown together.

As text each bin with something in it is two characters, one for the bin and one for the count; a count that one
character cannot say takes further pairs of the same bin.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

ACCURACY = 0.01  # relative error of a quantile
LEAST, MOST = 0.05, 300_000.0  # milliseconds; values outside of them count as these

GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = math.log(GAMMA)
BINS = math.ceil(math.log(MOST / LEAST) / _LOG_GAMMA) + 1
# Bins are written from the first letter after Latin-1 on, two bytes in UTF-8; counts as printable ASCII.
_FIRST_BIN, _COUNT, _MOST_COUNT = 0x100, 0x20, 0x5E


class Sketch:
    """Counts of values by bin. Empty, or of texts that were written down before."""

    __slots__ = ("_counts",)

    def __init__(self, *texts: str) -> None:
        self._counts: dict[str, int] = {}
        for text in texts:
            self.merge(text)

    def add(self, value: float) -> None:
        """Count one value, in milliseconds.

        Raises:
            TypeError, ValueError: it is no number.
        """
        place = 0
        if value > LEAST:
            place = math.ceil(math.log(min(value, MOST) / LEAST) / _LOG_GAMMA)
        elif value != value:
            raise ValueError("not a number")
        name = chr(_FIRST_BIN + place)
        self._counts[name] = self._counts.get(name, 0) + 1

    def merge(self, other: Sketch | str | None) -> None:
        """Count everything that another one counted; None counts nothing."""
        counts = self._counts
        if isinstance(other, Sketch):
            for name, count in other._counts.items():
                counts[name] = counts.get(name, 0) + count
        elif other:
            for name, count_name in zip(other[::2], other[1::2], strict=True):
                counts[name] = counts.get(name, 0) + ord(count_name) - _COUNT

    def __len__(self) -> int:
        """How many values were counted."""
        return sum(self._counts.values())

    def __str__(self) -> str:
        """Write it down; empty for nothing."""
        parts = []
        for name, count in sorted(self._counts.items()):
            full, rest = divmod(count, _MOST_COUNT)
            parts.append((name + chr(_COUNT + _MOST_COUNT)) * full)
            if rest:
                parts.append(name + chr(_COUNT + rest))
        return "".join(parts)

    def quantiles(self, shares: Iterable[float]) -> list[float | None]:
        """Return, for each share, the least value that at least this share of all values does not exceed.

        Args:
            shares: between 0 and 1, ascending.

        Returns:
            Milliseconds, at most ACCURACY (relative) from the exact value as long as that lies between LEAST and
            MOST; None for each when nothing was counted.
        """
        total = len(self)
        if not total:
            return [None for _ in shares]
        found: list[float | None] = []
        ordered = iter(sorted(self._counts.items()))
        name, seen = next(ordered)
        for share in shares:
            # Nearest rank; what floating point adds to a product that is whole must not make it the next one.
            rank = min(total, max(1, math.ceil(share * total - 1e-9)))
            while seen < rank:
                name, count = next(ordered)
                seen += count
            found.append(_value(name))
        return found


def _value(name: str) -> float:
    """The value that is as far from its bin's ends, each relative to itself."""
    return 2 * LEAST * GAMMA ** (ord(name) - _FIRST_BIN) / (GAMMA + 1)
