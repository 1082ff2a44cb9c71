"""Images of a batch that look nearly alike: a report about its variety, not a finding about its safety."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

#: Bits of 256 by which two hashes (PDQ) may differ, and the least quality at which likeness means anything.
RADIUS, LEAST_QUALITY = 10, 50
#: More are not compared: the report then says how many were.
MOST_COMPARED = 200_000
#: Two hashes that differ in at most 10 bits are equal in at least one of 11 bands.
_BANDS = RADIUS + 1
_BITS = 256
#: Within one band's equals, each is compared with so many that follow it: enough unless thousands are nearly alike,
#: and then they are joined one through the other.
_FOLLOWING = 200


def near_groups(hashes: Mapping[str, str]) -> list[list[str]]:
    """Groups of at least two names whose hashes (64 hexadecimal digits) are near, directly or through others.

    Largest first; names in each in their order.
    """
    alike: dict[int, list[str]] = defaultdict(list)
    for name, text in hashes.items():
        alike[int(text, 16)].append(name)
    distinct = list(alike)
    roots = list(range(len(distinct)))
    for one, other in _near_pairs(distinct):
        roots[_root(roots, one)] = _root(roots, other)
    groups: dict[int, list[str]] = defaultdict(list)
    for place, value in enumerate(distinct):
        groups[_root(roots, place)] += alike[value]
    found = [sorted(group) for group in groups.values() if len(group) > 1]
    return sorted(found, key=lambda group: (-len(group), group))


def _near_pairs(values: Sequence[int]) -> Iterator[tuple[int, int]]:
    for band in range(_BANDS):
        low, high = band * _BITS // _BANDS, (band + 1) * _BITS // _BANDS
        mask = (1 << (high - low)) - 1
        equal: dict[int, list[int]] = defaultdict(list)
        for place, value in enumerate(values):
            equal[value >> low & mask].append(place)
        for places in equal.values():
            for one, other in _compared(places):
                if (values[one] ^ values[other]).bit_count() <= RADIUS:
                    yield one, other


def _compared(places: Sequence[int]) -> Iterable[tuple[int, int]]:
    if len(places) <= _FOLLOWING:
        return combinations(places, 2)
    return (
        (one, other)
        for start, one in enumerate(places)
        for other in places[start + 1 : start + 1 + _FOLLOWING]
    )


def _root(roots: list[int], place: int) -> int:
    while roots[place] != place:
        roots[place] = roots[roots[place]]
        place = roots[place]
    return place
