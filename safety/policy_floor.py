"""Which of two policies is the laxer one."""

from __future__ import annotations

from collections.abc import Iterator

from safety.categories import CATEGORIES
from safety.policy import PersonGeneration, Policy, Stage

_STAGES: tuple[Stage, ...] = ("prompt", "upload", "output")
_PEOPLE: dict[PersonGeneration, int] = {"none": 0, "adult": 1, "all": 2}


def laxer_places(policy: Policy, floor: Policy) -> tuple[str, ...]:
    """Where `policy` would let more through than `floor`, as "stage.category" or the name of a field; empty when nowhere."""
    places = [place for stage in _STAGES for place in _laxer_in(stage, policy, floor)]
    if _PEOPLE[policy.person_generation] > _PEOPLE[floor.person_generation]:
        places.append("person_generation")
    return tuple(places)


def _laxer_in(stage: Stage, policy: Policy, floor: Policy) -> Iterator[str]:
    rules, least = policy.rules(stage), floor.rules(stage)
    named = {limit.category for one in (rules, least) for limit in one.thresholds}
    for category in sorted(named | set(CATEGORIES)):
        ours, theirs = policy.threshold(stage, category), floor.threshold(stage, category)
        if ours.review_at > theirs.review_at or ours.block_at > theirs.block_at:
            yield f"{stage}.{category}"
    for name in sorted(set(least.required_categories) - set(rules.required_categories)):
        yield f"{stage}.required_categories.{name}"
    for name in sorted(set(least.required_checks) - set(rules.required_checks)):
        yield f"{stage}.required_checks.{name}"
