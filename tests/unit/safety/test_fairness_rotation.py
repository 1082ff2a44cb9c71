"""Rotation keeps its shares by counting."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from safety.fairness.rotation import CYCLE, largest_remainder, value_at
from schemas.fairness import VALUES, Rules

weights = st.dictionaries(
    st.sampled_from(VALUES["visible_disability"]), st.integers(0, 50), min_size=1
).filter(lambda table: sum(table.values()) > 0)


@given(table=weights, seed=st.integers(0, 2**32 - 1), start=st.integers(0, 5000))
def test_any_hundred_in_a_row_hit_the_target(table: dict[str, int], seed: int, start: int) -> None:
    """Wherever a batch begins, a hundred of its people hold each share within one person."""
    rules = Rules(attributes={"visible_disability": table}, seed=seed)
    counts = Counter(value_at(rules, "visible_disability", start + turn) for turn in range(CYCLE))

    for value, share in rules.shares("visible_disability").items():
        assert abs(counts[value] - share * CYCLE) < 1


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 40))
def test_a_small_batch_is_even_too(seed: int, count: int) -> None:
    """From the beginning of a rotation, three equal values are never more than two people off their share."""
    rules = Rules(attributes={"age_band": "uniform"}, seed=seed)
    counts = Counter(value_at(rules, "age_band", turn) for turn in range(count))

    assert all(abs(counts[value] - count / 3) <= 2 for value in VALUES["age_band"])


def test_attributes_do_not_go_hand_in_hand() -> None:
    """Over a cycle every pair of values of two attributes is seen."""
    rules = Rules()
    pairs = {(value_at(rules, "age_band", turn), value_at(rules, "skin_tone", turn)) for turn in range(CYCLE)}

    assert len(pairs) == 9


def test_a_seed_changes_the_order_alone() -> None:
    """The same rules give the same turns; another seed gives another order of the same shares."""
    first, second = Rules(seed=1), Rules(seed=2)
    turns = [
        [value_at(rules, "skin_tone", turn) for turn in range(CYCLE)]
        for rules in (first, second, Rules(seed=1))
    ]

    assert turns[0] == turns[2] != turns[1]
    assert Counter(turns[0]) == Counter(turns[1])


@given(table=weights, count=st.integers(0, 1000))
def test_largest_remainder_is_whole_and_near(table: dict[str, int], count: int) -> None:
    """Whole numbers that sum to the count, none a whole person away from its share."""
    total = sum(table.values())
    shares = {value: weight / total for value, weight in table.items()}
    counts = largest_remainder(shares, count)

    assert sum(counts.values()) == count
    assert all(abs(counts[value] - share * count) < 1 for value, share in shares.items())


@pytest.mark.parametrize(
    "attributes",
    [
        {"visible_disability": "uniform"},
        {"age_band": {"0_17": 1}},
        {"age_band": {"18_34": -1, "35_54": 2}},
        {"age_band": {"18_34": 0}},
        {"race": "uniform"},
        {},
    ],
)
def test_rules_that_cannot_be_kept_are_refused(attributes: dict[str, object]) -> None:
    """Children are no value, weights are positive, and a disability is never drawn by a uniform share."""
    with pytest.raises(ValidationError):
        Rules.model_validate({"attributes": attributes})
