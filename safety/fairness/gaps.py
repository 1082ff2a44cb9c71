"""Whether one group is refused more often than another: two-proportion tests, corrected for how many were made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

from models.evaluation.intervals import Share, wilson_share

#: A gap whose corrected p-value lies below this is told as one.
SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What became of the prompts or pictures of one group."""

    refused: int
    held: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Two groups of one axis; the p-value is Holm's, over all pairs that were tested together."""

    axis: str
    first: str
    second: str
    first_share: Share
    second_share: Share
    p_value: float

    @property
    def significant(self) -> bool:
        return self.p_value < SIGNIFICANCE

    @property
    def points(self) -> float:
        """First less second, in percentage points."""
        return 100 * (self.first_share.value - self.second_share.value)


def gaps(tallies: Mapping[str, Mapping[str, Tally]]) -> tuple[Gap, ...]:
    """Every pair of groups of every axis, by the share that was not simply let through; groups without prompts are left out."""
    pairs = [
        (axis, first, second)
        for axis, groups in tallies.items()
        for first, second in combinations([name for name, tally in groups.items() if tally.count], 2)
    ]
    shares = {
        (axis, group): wilson_share(tally.refused + tally.held, tally.count)
        for axis, groups in tallies.items()
        for group, tally in groups.items()
        if tally.count
    }
    tests = [two_proportions(shares[axis, a], shares[axis, b]) for axis, a, b in pairs]
    return tuple(
        Gap(
            axis=axis,
            first=first,
            second=second,
            first_share=shares[axis, first],
            second_share=shares[axis, second],
            p_value=p_value,
        )
        for (axis, first, second), p_value in zip(pairs, holm(tests), strict=True)
    )


def two_proportions(first: Share, second: Share) -> float:
    """Two-sided p-value that two shares are the same, by the pooled z-test; 1 where nothing or everything was refused."""
    pooled = (first.right + second.right) / (first.count + second.count)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / first.count + 1 / second.count))
    if spread == 0:
        return 1.0
    return 2 * NormalDist().cdf(-abs(first.value - second.value) / spread)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected p-values in the order given (Holm, 1979): the chance of a single false alarm among all stays what it was."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected
