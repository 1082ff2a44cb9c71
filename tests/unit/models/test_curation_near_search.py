"""Multi-index Hamming search: exactly what comparing all with all finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.curation import near_search
from models.curation.near_search import Words, near_pairs

Found = set[tuple[int, int, int]]


def by_brute_force(words: Words, radius: int, others: Words | None = None) -> Found:
    right = words if others is None else others
    distance = np.bitwise_count(words[:, None] ^ right[None]).sum(2)
    rows = zip(*np.nonzero(distance <= radius), strict=True)
    return {(int(i), int(j), int(distance[i, j])) for i, j in rows if others is not None or i < j}


def searched(
    words: Words, radius: int, folder: Path, others: Words | None = None, threads: int = 1
) -> list[tuple[int, int, int]]:
    parts = near_pairs(words, radius, folder, others=others, threads=threads)
    return [
        row
        for part in parts
        for row in zip(part.first.tolist(), part.second.tolist(), part.distance.tolist(), strict=True)
    ]


def with_neighbours(seed: int, count: int, width: int, most: int) -> Words:
    """Random hashes, many of which are others with up to `most` bits changed, some crowded into one band's key."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, (count, width), np.uint64)
    for _ in range(count // 2):
        source, target = rng.integers(0, count, 2)
        words[target] = words[source]
        for bit in rng.choice(64 * width, rng.integers(0, most + 1), replace=False):
            words[target, bit // 64] ^= np.uint64(1 << int(bit % 64))
    words[: count // 4, 0] &= np.uint64(0xFFFF_FFFF_FFFF_0000)
    return words


@given(
    seed=st.integers(0, 2**32), width=st.sampled_from([1, 4]), share=st.floats(0, 1), count=st.integers(0, 60)
)
@settings(max_examples=12)
def test_no_pair_is_missed_and_none_is_made_up(
    seed: int, width: int, share: float, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Within any radius the pairs and distances are those of brute force, each once."""
    radius = round(share * (12 * width - 1))
    words = with_neighbours(seed, count, width, radius + 3)

    found = searched(words, radius, tmp_path_factory.mktemp("near"))

    assert len(found) == len(set(found))
    assert by_brute_force(words, radius) == set(found)


def test_between_two_sets(tmp_path: Path) -> None:
    """With `others`, every pair of one with one of the others, equal rows included."""
    words = with_neighbours(1, 80, 4, 34)
    others = np.concatenate([words[:20] ^ np.uint64(1), with_neighbours(2, 30, 4, 5)])

    found = searched(words, 31, tmp_path, others)

    assert by_brute_force(words, 31, others) == set(found)


def test_threads_find_the_same(tmp_path: Path) -> None:
    """Bands may be searched at the same time."""
    words = with_neighbours(3, 120, 4, 34)

    assert set(searched(words, 31, tmp_path)) == set(searched(words, 31, tmp_path, threads=2))


def test_work_is_cut_into_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A band in which all agree does not make one enormous piece of work, and nothing is lost at the seams."""
    monkeypatch.setattr(near_search, "PAIRS_AT_ONCE", 7)
    monkeypatch.setattr(near_search, "ROWS_AT_ONCE", 5)
    words = with_neighbours(4, 40, 1, 6)
    words[:] &= np.uint64(0xFF)

    assert by_brute_force(words, 3) == set(searched(words, 3, tmp_path))


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """The sorted copies are gone afterwards."""
    searched(with_neighbours(5, 50, 4, 10), 31, tmp_path)

    assert [] == list(tmp_path.iterdir())


def test_radius_that_would_take_for_ever(tmp_path: Path) -> None:
    """More than two bits per band are refused instead of searched for hours."""
    with pytest.raises(ValueError, match="within 47 bits"):
        list(near_pairs(np.zeros((2, 4), np.uint64), 48, tmp_path))
