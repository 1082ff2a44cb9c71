"""Images that look nearly alike are grouped, none is missed, and a batch of copies costs no more than it must."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from handlers.near_duplicates import RADIUS, near_groups


def changed(value: int, bits: int, rng: random.Random) -> int:
    for place in rng.sample(range(256), bits):
        value ^= 1 << place
    return value


def as_text(values: dict[str, int]) -> dict[str, str]:
    return {name: f"{value:064x}" for name, value in values.items()}


@given(st.integers(0, 2**32), st.integers(2, 40))
def test_it_finds_what_comparing_all_finds(seed: int, count: int) -> None:
    """Two images are in one group exactly when a chain of near ones joins them."""
    rng, values = random.Random(seed), dict[str, int]()
    for number in range(count):
        near = values and rng.random() < 0.6
        base = rng.choice(list(values.values())) if near else rng.getrandbits(256)
        values[f"img_{number:03d}"] = changed(base, rng.randint(0, RADIUS + 3), rng)
    parents = {name: name for name in values}

    def root(name: str) -> str:
        return name if parents[name] == name else root(parents[name])

    for one in values:
        for other in values:
            if (values[one] ^ values[other]).bit_count() <= RADIUS:
                parents[root(one)] = root(other)
    expected: dict[str, list[str]] = {}
    for name in values:
        expected.setdefault(root(name), []).append(name)
    wanted = sorted(sorted(group) for group in expected.values() if len(group) > 1)
    assert sorted(near_groups(as_text(values))) == wanted


def test_the_largest_group_comes_first() -> None:
    """Then by name, so that the report is the same each time it is written."""
    rng = random.Random(3)
    one, other, alone = (rng.getrandbits(256) for _ in range(3))
    values = {"d": one, "a": alone, "c": other, "b": other, "e": changed(other, RADIUS, rng), "f": one}
    assert near_groups(as_text(values)) == [["b", "c", "e"], ["d", "f"]]


def test_thousands_of_near_copies_are_one_group() -> None:
    """A batch that came out all alike is found out without comparing each with each."""
    rng = random.Random(5)
    base = rng.getrandbits(256)
    values = {f"{number:04d}": changed(base, 3, rng) for number in range(3000)}
    assert [len(group) for group in near_groups(as_text(values))] == [3000]


def test_nothing_alike_is_no_group() -> None:
    """No images, one image, different images."""
    rng = random.Random(7)
    for count in (0, 1, 500):
        assert near_groups(as_text({str(number): rng.getrandbits(256) for number in range(count)})) == []
