"""Stratified rotation: which value is whose turn, so that shares are kept by counting and not by luck."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from random import Random

from schemas.fairness import Attribute, Rules

#: Length of a cycle: any 100 turns in a row hold every share to the hundredth.
CYCLE = 100


def value_at(rules: Rules, attribute: Attribute, place: int) -> str:
    """The value of an attribute for the one whose place it is; the same for the same rules, for ever."""
    return _cycle(tuple(rules.shares(attribute).items()), attribute, rules.seed)[place % CYCLE]


def largest_remainder(shares: Mapping[str, float], count: int) -> dict[str, int]:
    """Whole numbers that sum to `count`, each less than 1 from its share of it (Hamilton's method)."""
    exact = {value: share * count for value, share in shares.items()}
    counts = {value: int(number) for value, number in exact.items()}
    by_remainder = sorted(exact, key=lambda value: counts[value] - exact[value])
    for value in by_remainder[: count - sum(counts.values())]:
        counts[value] += 1
    return counts


@lru_cache(maxsize=256)
def _cycle(shares: tuple[tuple[str, float], ...], attribute: str, seed: int) -> tuple[str, ...]:
    counts = largest_remainder(dict(shares), CYCLE)
    even = _spread(counts)
    width = _window(min(count for count in counts.values() if count))
    random = Random(hashlib.sha256(f"{seed}/{attribute}".encode()).digest())  # noqa: S311  (an order, not a secret)
    turns: list[str] = []
    # Shuffled a little at a time: small batches stay even, and no attribute goes hand in hand with another.
    for start in range(0, CYCLE, width):
        part = even[start : start + width]
        random.shuffle(part)
        turns += part
    return tuple(turns)


def _spread(counts: Mapping[str, int]) -> list[str]:
    """Every value as evenly over the cycle as whole turns allow: no beginning strays by 1 (Tijdeman, 1980)."""
    shares = {value: count / CYCLE for value, count in counts.items() if count}
    slack = 1 - 1 / (2 * len(shares) - 2) if len(shares) > 1 else 0.0
    given = dict.fromkeys(shares, 0)
    turns = []
    for turn in range(1, CYCLE + 1):
        due = {value: share * turn - given[value] for value, share in shares.items()}
        ready = [value for value in shares if due[value] >= 1 - slack - 1e-9] or list(shares)
        chosen = min(ready, key=lambda value: (slack - due[value]) / shares[value])
        given[chosen] += 1
        turns.append(chosen)
    return turns


def _window(rarest: int) -> int:
    """The shortest divisor of a cycle in which the rarest value has its turn."""
    return next(width for width in (1, 2, 4, 5, 10, 20, 25, 50, 100) if width * rarest >= CYCLE)
