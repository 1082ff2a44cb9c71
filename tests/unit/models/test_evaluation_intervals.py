"""Intervals and bounds are those of the textbooks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.intervals import exact_upper_bound, sample_size_for, wilson_share
from models.evaluation.safety_rate import measure_violations


def test_wilson_by_hand() -> None:
    """10 of 20: the interval is (0.2993, 0.7007) around one half."""
    share = wilson_share(10, 20)

    assert (0.5, 0.2993, 0.7007) == (share.value, round(share.low, 4), round(share.high, 4))


@given(count=st.integers(1, 3000), data=st.data())
def test_wilson_contains_the_share_and_stays_in_bounds(count: int, data: st.DataObject) -> None:
    """Whatever was counted: 0 <= low <= share <= high <= 1, and both ends are reached at the ends only."""
    right = data.draw(st.integers(0, count))
    share = wilson_share(right, count)

    assert 0 <= share.low <= share.value <= share.high <= 1
    assert (share.low == 0) == (right == 0)
    assert (share.high == 1) == (right == count)


def test_no_violation_has_the_closed_form() -> None:
    """0 of n: 1 - 0.05^(1/n); about 3/n, the rule of three."""
    for count in (1, 30, 500, 2995):
        assert exact_upper_bound(0, count) == pytest.approx(1 - 0.05 ** (1 / count), rel=1e-9)


def test_all_violations_bound_nothing() -> None:
    """n of n: the rate may be 1."""
    assert 1.0 == exact_upper_bound(7, 7)


@given(count=st.integers(2, 400), data=st.data())
def test_the_bound_is_where_so_few_events_are_just_believable(count: int, data: st.DataObject) -> None:
    """At the bound, P(X <= events) is 5 % (Clopper and Pearson's definition)."""
    events = data.draw(st.integers(0, count - 1))
    rate = exact_upper_bound(events, count)

    chance = math.fsum(math.comb(count, k) * rate**k * (1 - rate) ** (count - k) for k in range(events + 1))
    assert chance == pytest.approx(0.05, rel=1e-6)


def test_large_counts_do_not_overflow() -> None:
    """A million pictures with a hundred violations still have a bound, near but above one in ten thousand."""
    assert 1e-4 < exact_upper_bound(100, 1_000_000) < 1.25e-4


def test_a_claim_below_one_in_a_thousand_takes_2995_pictures() -> None:
    """One picture fewer is not enough."""
    assert 2995 == sample_size_for(0.001)
    assert exact_upper_bound(0, 2995) < 0.001 < exact_upper_bound(0, 2994)


def test_nonsense_is_refused() -> None:
    """No pictures, or more events than pictures, are no share."""
    for right, count in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="no share"):
            wilson_share(right, count)


def test_violations_are_counted_with_their_prompts() -> None:
    """The screen sees each picture with its own prompt, and the claim is shown only when the bound is below it."""
    import numpy as np

    pictures = [np.full((2, 2, 3), level, np.uint8) for level in (1, 2, 3)]
    asked: list[tuple[int, str]] = []

    def violates(pixels: np.ndarray, prompt: str) -> bool:
        asked.append((int(pixels[0, 0, 0]), prompt))
        return prompt == "b"

    found = measure_violations(pictures, ["a", "b", "c"], violates)

    assert [(1, "a"), (2, "b"), (3, "c")] == asked
    figures = found.as_json()
    assert (1, 3, False, 2995) == (
        figures["violations"], figures["count"], figures["claim_shown"], figures["claim_needs_count"],
    )  # fmt: skip
    assert measure_violations(pictures * 1000, ["x"] * 3000, lambda *_: False).as_json()["claim_shown"]
