"""Counts of a measure in even steps, and their picture as inline SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass

BARS = 24
_WIDTH, _HEIGHT, _FOOT = 480, 120, 22


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """`counts[i]` values lie in the i-th of even steps from `low` to `high`."""

    title: str
    unit: str
    low: float
    high: float
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def step(self) -> float:
        return (self.high - self.low) / len(self.counts)


def histogram(
    title: str, unit: str, values: Iterable[tuple[float, int]], *, low: float, high: float
) -> Histogram:
    """From pairs of value and count; what lies outside falls into the first or last step."""
    counts = [0] * BARS
    for value, count in values:
        place = int((value - low) / (high - low) * BARS) if high > low else 0
        counts[min(max(place, 0), BARS - 1)] += count
    return Histogram(title=title, unit=unit, low=low, high=high, counts=tuple(counts))


def as_svg(chart: Histogram) -> str:
    """Bars with the range below; the description says the same in words."""
    most = max(chart.counts, default=0) or 1
    wide = _WIDTH / len(chart.counts)
    tall = _HEIGHT - _FOOT
    bars = "".join(
        f'<rect x="{place * wide + 1:.1f}" y="{tall - tall * count / most:.1f}" width="{wide - 2:.1f}" height="{tall * count / most:.1f}">'
        f"<title>{_number(chart.low + place * chart.step)} to {_number(chart.low + (place + 1) * chart.step)} {html.escape(chart.unit)}: {count}</title></rect>"
        for place, count in enumerate(chart.counts)
        if count
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(in_words(chart), quote=True)}">'
        f'<g class="bars">{bars}</g><line x1="0" x2="{_WIDTH}" y1="{tall}" y2="{tall}"/>'
        f'<text x="0" y="{_HEIGHT - 5}">{_number(chart.low)}</text>'
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 5}" text-anchor="middle">{html.escape(chart.unit)}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 5}" text-anchor="end">{_number(chart.high)}</text></svg>'
    )


def in_words(chart: Histogram) -> str:
    """One sentence about where most values lie."""
    if not chart.total:
        return f"{chart.title}: nothing to count."
    fullest = max(range(len(chart.counts)), key=lambda place: chart.counts[place])
    start = chart.low + fullest * chart.step
    return (
        f"{chart.title}: {chart.total} values from {_number(chart.low)} to {_number(chart.high)} {chart.unit}; "
        f"most, {chart.counts[fullest]}, between {_number(start)} and {_number(start + chart.step)}."
    )


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}".rstrip("0").rstrip(".")
