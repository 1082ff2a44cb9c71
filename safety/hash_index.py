"""All hashes of a large list within a few bits of a given one, without looking at most of them.

Multi-index hashing (Norouzi, Punjani and Fleet 2012, arXiv:1307.2982): two hashes that differ in at most r bits differ in
at most r // m bits of one of m bands. With r = m q + a, bands up to the a-th are searched within q bits, the others
within q - 1. `models/curation/near_search.py` finds all pairs of a list by the same rule, from files; this answers
single questions from memory.
"""

from __future__ import annotations

import itertools
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

#: (N, W): hashes of 64 W bits.
Words: TypeAlias = npt.NDArray[np.uint64]
Rows: TypeAlias = npt.NDArray[np.int32]

_BAND_BITS = 16
_BANDS_PER_WORD = 64 // _BAND_BITS
_KEYS = 1 << _BAND_BITS
#: Compared at once: lists in which many hashes share a band cost time and no memory.
_COMPARED_AT_ONCE = 1 << 18


class HashIndex:
    """Holds some 16 bytes per hash and word besides the hashes; read-only after its making, so safe to share."""

    def __init__(self, words: Words, radius: int) -> None:
        """`radius` in bits, below twice the number of bands."""
        bands = words.shape[1] * _BANDS_PER_WORD
        if not 0 <= radius < 2 * bands:
            raise ValueError(f"hashes of {bands * _BAND_BITS} bits are searched within {2 * bands - 1} bits")
        self._words, self.radius = words, radius
        self._bands = [_Band(words, band, _budget(band, bands, radius)) for band in range(bands)]

    def __len__(self) -> int:
        return len(self._words)

    def near(self, word: Words) -> tuple[Rows, npt.NDArray[np.uint8]]:
        """Rows of all hashes within the radius of one (W,), ascending, and their distances in bits."""
        spans = np.concatenate([band.spans(word) for band in self._bands])
        orders = [band.order for band in self._bands]
        found = [self._compared(orders, part, word) for part in _parts(spans)]
        rows, first = np.unique(np.concatenate([rows for rows, _ in found]), return_index=True)
        return rows, np.concatenate([distances for _, distances in found])[first]

    def _compared(
        self, orders: list[Rows], spans: npt.NDArray[np.int64], word: Words
    ) -> tuple[Rows, npt.NDArray[np.uint8]]:
        pieces = [orders[band][start:stop] for band, start, stop in spans]
        rows = np.concatenate(pieces) if pieces else np.zeros(0, np.int32)
        distances = np.bitwise_count(self._words[rows] ^ word).sum(axis=1, dtype=np.uint16)
        near = distances <= self.radius
        return rows[near], distances[near].astype(np.uint8)


class _Band:
    """The list in the order of one band of its bits."""

    def __init__(self, words: Words, band: int, budget: int) -> None:
        self._number, self._column = band, band // _BANDS_PER_WORD
        self._shift = np.uint64(band % _BANDS_PER_WORD * _BAND_BITS)
        keys = (words[:, self._column] >> self._shift).astype(np.uint16)
        self.order = np.argsort(keys, kind="stable").astype(np.int32)
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=_KEYS))])
        self._masks = np.array(_masks(budget), np.int64)

    def spans(self, word: Words) -> npt.NDArray[np.int64]:
        """(K, 3): the band, and where in its order the hashes begin and end whose band is close enough."""
        key = int(word[self._column] >> self._shift) & (_KEYS - 1)
        keys = key ^ self._masks
        starts, stops = self._starts[keys], self._starts[keys + 1]
        filled = np.flatnonzero(stops > starts)
        numbers = np.full(len(filled), self._number, np.int64)
        return np.stack([numbers, starts[filled], stops[filled]], axis=1)


def _budget(band: int, bands: int, radius: int) -> int:
    """Bits by which this band may differ; below zero it need not be looked at."""
    each, rest = divmod(radius, bands)
    return each if band <= rest else each - 1


def _masks(bits: int) -> list[int]:
    """Every change of at most so many bits of a band."""
    places = range(_BAND_BITS)
    chosen = itertools.chain.from_iterable(itertools.combinations(places, count) for count in range(bits + 1))
    return [sum(1 << place for place in some) for some in chosen]


def _parts(spans: npt.NDArray[np.int64]) -> list[npt.NDArray[Any]]:
    """The spans in groups of limited total length; at least one group."""
    if not len(spans):
        return [spans]
    group = np.cumsum(spans[:, 2] - spans[:, 1]) // _COMPARED_AT_ONCE
    return [spans[group == number] for number in np.unique(group)]
