"""All pairs of hashes within a Hamming distance, none missed, in constant memory.

Multi-index hashing (Norouzi, Punjani and Fleet 2012, arXiv:1307.2982): two hashes that differ in at most r of their bits
differ in at most r // m bits of one of m bands. Hashes are sorted by one band after the other, in files, and only those
whose bands are that close are compared. With r = m q + a, bands up to the a-th are searched within q bits, the others
within q - 1: the proposition's sharper form.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Words: TypeAlias = npt.NDArray[np.uint64]
Rows: TypeAlias = npt.NDArray[np.int64]

BAND_BITS = 16
BANDS_PER_WORD = 64 // BAND_BITS
KEYS = 1 << BAND_BITS
#: hashes handled at once while sorting
ROWS_AT_ONCE = 1 << 16
#: comparisons done at once: some 60 bytes of memory each
PAIRS_AT_ONCE = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of rows, `first` < `second` in a search among themselves, with their distances; all of equal length."""

    first: Rows
    second: Rows
    distance: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Sorted:
    """Hashes in the order of one band: key k stands from starts[k] to starts[k + 1]."""

    words: list[Words]
    rows: Rows
    starts: Rows


def near_pairs(
    words: Words, radius: int, folder: Path, *, others: Words | None = None, threads: int = 1
) -> Iterator[Pairs]:
    """Every pair of hashes (N, W) at most `radius` apart, each once, in no promised order.

    With `others` (M, W), pairs of one of `words` with one of `others` instead of pairs among `words`. `folder` holds
    the sorted copies meanwhile, about 8 W + 8 bytes per hash and thread. Radius up to 3 bits per band, minus one.
    """
    bands = words.shape[1] * BANDS_PER_WORD
    if not 0 <= radius < 3 * bands:
        raise ValueError(f"hashes of {bands * BAND_BITS} bits can be searched within {3 * bands - 1} bits")
    budgets = [_budget(band, bands, radius) for band in range(bands)]
    search = _Search(words=words, others=others, radius=radius, budgets=budgets, folder=folder)
    searched = [band for band in range(bands) if budgets[band] >= 0]
    if threads == 1:
        for band in searched:
            yield from search.band(band)
        return
    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(lambda band: list(search.band(band)), searched):
            yield from found


def _budget(band: int, bands: int, radius: int) -> int:
    """Bits by which this band may differ; below zero it need not be looked at."""
    each, rest = divmod(radius, bands)
    return each if band <= rest else each - 1


@dataclass(frozen=True, kw_only=True)
class _Search:
    words: Words
    others: Words | None
    radius: int
    budgets: list[int]
    folder: Path

    def band(self, band: int) -> Iterator[Pairs]:
        left = _sort(self.words, band, self.folder / f"band-{band}-left")
        right = left if self.others is None else _sort(self.others, band, self.folder / f"band-{band}-right")
        alone = self.others is None
        try:
            for mask in _masks(self.budgets[band]):
                for first, second in _candidates(left, right, mask, alone=alone):
                    yield from self._compare(left, right, first, second, band)
        finally:
            for path in self.folder.glob(f"band-{band}-*"):
                path.unlink()

    def _compare(
        self, left: _Sorted, right: _Sorted, first: Rows, second: Rows, band: int
    ) -> Iterator[Pairs]:
        # The band's own word is compared last: by its making it is closer than chance and tells least.
        count = len(left.words)
        order = [(band // BANDS_PER_WORD + 1 + step) % count for step in range(count)]
        distance = np.zeros(len(first), np.uint8)
        for step, word in enumerate(order):
            distance = distance + np.bitwise_count(left.words[word][first] ^ right.words[word][second])
            if step and step + 1 < count:
                close = np.flatnonzero(distance <= self.radius)
                if not len(close):
                    return
                first, second, distance = first[close], second[close], distance[close]
        close = np.flatnonzero(distance <= self.radius)
        close = close[self._is_new(left, right, first[close], second[close], band)]
        if len(close):
            yield _pairs(
                left.rows[first[close]], right.rows[second[close]], distance[close], self.others is None
            )

    def _is_new(
        self, left: _Sorted, right: _Sorted, first: Rows, second: Rows, band: int
    ) -> npt.NDArray[np.bool_]:
        """Whether no earlier band has found the pair already."""
        new = np.ones(len(first), np.bool_)
        for earlier in range(band):
            word, shift = divmod(earlier, BANDS_PER_WORD)
            changed = (left.words[word][first] ^ right.words[word][second]) >> np.uint64(shift * BAND_BITS)
            new &= np.bitwise_count(changed & np.uint64(KEYS - 1)) > self.budgets[earlier]
        return new


def _pairs(first: Rows, second: Rows, distance: npt.NDArray[np.uint8], alone: bool) -> Pairs:
    if alone:
        first, second = np.minimum(first, second), np.maximum(first, second)
    return Pairs(first=first, second=second, distance=distance.astype(np.int64))


def _masks(bits: int) -> list[int]:
    """Every change of at most so many bits of a band."""
    places = range(BAND_BITS)
    chosen = itertools.chain.from_iterable(itertools.combinations(places, count) for count in range(bits + 1))
    return [sum(1 << place for place in places) for places in chosen]


def _sort(words: Words, band: int, path: Path) -> _Sorted:
    """Counting sort by one band, in files, a block at a time."""
    count, width = words.shape
    word, shift = divmod(band, BANDS_PER_WORD)

    def keys(block: slice) -> npt.NDArray[np.int64]:
        column = np.asarray(words[block, word]) >> np.uint64(shift * BAND_BITS)
        return (column & np.uint64(KEYS - 1)).astype(np.int64)

    starts = np.zeros(KEYS + 1, np.int64)
    for block in _blocks(count):
        starts[1:] += np.bincount(keys(block), minlength=KEYS)
    np.cumsum(starts, out=starts)
    columns = [_scratch(f"{path}-word-{place}", np.uint64, count) for place in range(width)]
    rows = _scratch(f"{path}-rows", np.int64, count)
    filled = starts[:-1].copy()
    for block in _blocks(count):
        key = keys(block)
        order = np.argsort(key, kind="stable")
        key = key[order]
        same = np.arange(len(key)) - np.searchsorted(key, key)  # place among equal keys of this block
        places = filled[key] + same
        rows[places] = order + block.start
        for place, column in enumerate(columns):
            column[places] = words[block, place][order]
        filled += np.bincount(key, minlength=KEYS)
    return _Sorted(words=columns, rows=rows, starts=starts)


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, ROWS_AT_ONCE):
        yield slice(start, min(start + ROWS_AT_ONCE, count))


def _scratch(path: str, dtype: Any, count: int) -> npt.NDArray[Any]:
    if count == 0:
        return np.zeros(0, dtype)  # an empty file cannot be mapped
    return np.memmap(path, dtype, mode="w+", shape=(count,))


def _candidates(left: _Sorted, right: _Sorted, mask: int, *, alone: bool) -> Iterator[tuple[Rows, Rows]]:
    """Places in both orders whose bands differ by exactly `mask`, at most PAIRS_AT_ONCE at a time."""
    keys = np.arange(KEYS)
    partner = keys ^ mask
    begin, end = right.starts[partner], right.starts[partner + 1]
    if alone and mask:
        end = np.where(keys < partner, end, begin)  # each pair from one side only
    sizes = np.diff(left.starts)
    after: Callable[[Rows], Rows] | None = (lambda places: places + 1) if alone and not mask else None
    total = np.concatenate([[0], np.cumsum(sizes * (end - begin))])
    start = 0
    while start < KEYS:
        stop = int(np.searchsorted(total, total[start] + PAIRS_AT_ONCE, side="right")) - 1
        stop = min(max(stop, start + 1), KEYS)
        if total[stop] > total[start]:
            yield from _crossed(
                left.starts, begin[start:stop], end[start:stop], sizes[start:stop], start, after
            )
        start = stop


def _crossed(
    starts: Rows, begin: Rows, end: Rows, sizes: Rows, start: int, after: Callable[[Rows], Rows] | None
) -> Iterator[tuple[Rows, Rows]]:
    """Each place of a run of keys with every place of its window, cut into pieces where a key is crowded."""
    lefts = np.arange(starts[start], starts[start] + sizes.sum())
    lower = np.repeat(begin, sizes) if after is None else after(lefts)
    lengths = np.repeat(end, sizes) - lower
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    for piece in range(0, int(offsets[-1]), PAIRS_AT_ONCE):
        stop = min(piece + PAIRS_AT_ONCE, int(offsets[-1]))
        from_row = int(np.searchsorted(offsets, piece, side="right")) - 1
        to_row = int(np.searchsorted(offsets, stop, side="left"))
        part = np.minimum(offsets[from_row + 1 : to_row + 1], stop) - np.maximum(
            offsets[from_row:to_row], piece
        )
        first = np.repeat(lefts[from_row:to_row], part)
        shift = lower[from_row:to_row] - offsets[from_row:to_row]
        second = np.repeat(shift, part) + np.arange(piece, stop)
        yield first, second
