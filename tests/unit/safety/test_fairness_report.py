"""Reports count what was assigned, and gaps are tested with care."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.intervals import wilson_share
from safety.fairness.assigned import Seen, report
from safety.fairness.gaps import Tally, gaps, holm, two_proportions
from safety.fairness.paired import load_suite, tally
from safety.fairness.rotation import value_at
from safety.policy import STRICT
from safety.prompt_screen import PromptScreen
from safety.rule_pack import built_in_packs
from schemas.fairness import MIXED, Change, Rules, Variation
from schemas.states import ImageState

RULES = Rules(attributes={"age_band": "uniform"})


def a_variation(place: int, value: str | None = None) -> Variation:
    change = Change(attribute="age_band", value=value or value_at(RULES, "age_band", place), phrase="x")
    return Variation(mode="diversify", changes=(change,), at=0, added="x", place=place)


def test_people_are_counted_and_not_their_pictures() -> None:
    """Ten views of a hundred people count as a hundred, within one of each target."""
    seen = [
        Seen(variation=a_variation(place), state=ImageState.RENDERED)
        for place in range(100)
        for _ in range(10)
    ]
    found = report([*seen, Seen(variation=None, state=ImageState.RENDERED)], RULES)

    assert (found.images, found.untouched, found.people) == (1001, 1, 100)
    for one in found.shares["age_band"]:
        assert abs(one.assigned.right - 100 / 3) < 1
        assert one.assigned.low < one.target < one.assigned.high
    assert found.evenness["age_band"] == pytest.approx(1, abs=0.001)


def test_groups_and_what_was_left_alone_are_told_apart() -> None:
    """A group has no share of its own, and each reason is counted."""
    seen = [
        Seen(variation=a_variation(0, MIXED), state=ImageState.RENDERED),
        Seen(variation=Variation(mode="diversify", left_alone="history"), state=ImageState.RENDERED),
    ]
    found = report(seen, RULES)

    assert (found.people, found.groups, dict(found.left_alone), found.shares) == (0, 1, {"history": 1}, {})


def test_pictures_of_one_value_that_are_refused_more_often_are_told() -> None:
    """Refusals and holds by assigned value are compared, and a large gap is called one."""
    states = {"18_34": ImageState.RENDERED, "35_54": ImageState.RENDERED, "55_plus": ImageState.BLOCKED}
    seen = [
        Seen(variation=a_variation(place), state=states[value_at(RULES, "age_band", place)])
        for place in range(100)
    ]
    found = {(gap.first, gap.second): gap.significant for gap in report(seen, RULES).gaps}

    assert found == {("18_34", "35_54"): False, ("18_34", "55_plus"): True, ("35_54", "55_plus"): True}


def test_the_two_proportion_test_agrees_with_a_worked_example() -> None:
    """15 of 100 against 5 of 100: z = 2.357, p = .0184 (pooled, two-sided)."""
    assert two_proportions(wilson_share(15, 100), wilson_share(5, 100)) == pytest.approx(0.01842, abs=1e-4)


def test_holm_agrees_with_a_worked_example() -> None:
    """.01, .04, .03 become .03, .06, .06."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_only_makes_it_harder(p_values: list[float]) -> None:
    """No corrected value is below its own, none above 1, and the order stays."""
    corrected = holm(p_values)

    assert all(own <= new <= 1 for own, new in zip(p_values, corrected, strict=True))
    ranks = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [corrected[place] for place in ranks] == sorted(corrected)


def test_groups_without_prompts_are_not_compared() -> None:
    """There is nothing to say about nobody."""
    found = gaps({"age": {"a": Tally(refused=0, held=0, count=0), "b": Tally(refused=1, held=0, count=2)}})

    assert found == ()


def test_the_built_in_screen_refuses_no_group_more_than_another() -> None:
    """The shipped suite of paired prompts in five languages, under the strict policy: no gap, and hardly a refusal."""
    suite = load_suite(None)
    screen = PromptScreen(STRICT, built_in_packs())
    tallies = tally(suite, screen.check)

    assert {pair.lang for pair in suite.prompts()} == {"en", "de", "fr", "es", "it"}
    assert not [gap for gap in gaps(tallies) if gap.significant]
    assert all(
        one.refused + one.held <= 0.05 * one.count for groups in tallies.values() for one in groups.values()
    )
