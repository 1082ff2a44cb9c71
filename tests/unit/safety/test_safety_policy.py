"""Policies: immutable, hashed, and never below the hard floor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from safety.categories import CATEGORIES, HARD_FLOOR, HARD_FLOOR_BLOCK_AT, is_category, is_hard_floor
from safety.policy import BUILT_IN, NEVER, STANDARD, STRICT, Policy, Stage, StageRules, Threshold, built_in
from schemas.errors import OutOfRange
from schemas.verdict import Decision

STAGES = st.sampled_from(["prompt", "upload", "output"])
OPEN_CATEGORIES = st.sampled_from(sorted(set(CATEGORIES) - HARD_FLOOR))
FLOOR_CATEGORIES = st.sampled_from(sorted(HARD_FLOOR))
SCORES = st.floats(0.01, NEVER)


def test_published_ids_stay() -> None:
    """Category ids are part of receipts: none of these may disappear."""
    assert set(CATEGORIES) >= {
        "sexual", "sexual_minors", "ncii_real_person", "minors_present", "violence_graphic", "self_harm", "hate_symbols",
        "extremism", "illicit", "real_person", "ip_logo", "medical_graphic", "spam_text",
    }  # fmt: skip
    assert HARD_FLOOR == {"sexual_minors", "ncii_real_person", "extremism"}
    assert is_category("policy_custom:our-mascot")
    assert not is_category("policy_custom:") and not is_category("nonsense")
    assert not is_hard_floor("sexual")


@pytest.mark.parametrize("policy", BUILT_IN, ids=lambda policy: policy.name)
def test_policy_survives_json(policy: Policy) -> None:
    """A policy read back from its JSON is equal and has the same digest."""
    again = Policy.model_validate_json(policy.model_dump_json())

    assert again == policy
    assert again.digest == policy.digest
    assert len(policy.digest) == 64


def test_digest_covers_everything() -> None:
    """Each derived policy has a digest of its own; the order in which thresholds are given does not matter."""
    tighter = STANDARD.tighten("prompt", "sexual", block_at=0.5)
    prompt = STANDARD.rules("prompt")
    reordered = StageRules(
        stage="prompt", thresholds=prompt.thresholds[::-1], required_checks=prompt.required_checks
    )

    assert len({STRICT.digest, STANDARD.digest, tighter.digest}) == 3
    assert reordered == prompt


def test_policies_are_immutable() -> None:
    """A field of a policy cannot be set, and deriving leaves the original alone."""
    before = STANDARD.digest
    STANDARD.tighten("output", "sexual", block_at=0.2)

    with pytest.raises(ValidationError):
        STANDARD.name = "other"  # type: ignore[misc]
    assert STANDARD.digest == before
    assert STANDARD.threshold("output", "sexual").block_at == 0.7


@given(STAGES, FLOOR_CATEGORIES, SCORES)
def test_hard_floor_cannot_be_loosened(stage: Stage, category: str, score: float) -> None:
    """Loosening a hard-floor category is refused with the field and the limit."""
    with pytest.raises(OutOfRange) as refusal:
        STANDARD.loosen(stage, category, block_at=score)

    assert refusal.value.field == f"{stage}.{category}"
    assert refusal.value.limit == HARD_FLOOR_BLOCK_AT


@given(STAGES, FLOOR_CATEGORIES, st.floats(HARD_FLOOR_BLOCK_AT + 0.01, NEVER))
def test_hard_floor_cannot_be_written_around(stage: Stage, category: str, block_at: float) -> None:
    """A policy built by hand with a hard-floor category above the floor, or without it, is not a policy."""
    for replaced in ([Threshold(category=category, review_at=block_at, block_at=block_at)], []):
        stages = tuple(
            rules.model_copy(
                update={
                    "thresholds": (*(one for one in rules.thresholds if one.category != category), *replaced)
                }
            )
            if rules.stage == stage
            else rules
            for rules in STANDARD.stages
        )
        with pytest.raises(ValidationError):
            Policy(name="custom", version=1, stages=stages, person_generation="all")


@given(STAGES, st.sampled_from(CATEGORIES), st.floats(0.01, 1), st.floats(0, 1))
def test_tightening_never_lets_more_through(stage: Stage, category: str, factor: float, score: float) -> None:
    """Whatever a tightened policy allows, the original allowed too."""
    order = list(Decision)
    tight = STANDARD.tighten(stage, category, block_at=STANDARD.threshold(stage, category).block_at * factor)

    before = STANDARD.threshold(stage, category).decide(score)
    assert order.index(tight.threshold(stage, category).decide(score)) >= order.index(before)


@given(STAGES, st.sampled_from(CATEGORIES))
def test_tightening_upwards_is_refused(stage: Stage, category: str) -> None:
    """A "tighter" threshold above the old one is a typed error."""
    with pytest.raises(OutOfRange):
        STRICT.tighten(stage, category, block_at=STRICT.threshold(stage, category).block_at + 0.1)


@given(STAGES, OPEN_CATEGORIES)
def test_loosening_what_may_be_loosened(stage: Stage, category: str) -> None:
    """An ordinary category can be switched off for a custom policy."""
    custom = STRICT.loosen(stage, category, review_at=NEVER, block_at=NEVER, name="ours")

    assert custom.name == "ours"
    assert custom.threshold(stage, category).decide(1.0) is Decision.ALLOW


def test_derived_policies_can_be_chained() -> None:
    """Deriving twice keeps both changes."""
    custom = STANDARD.tighten("prompt", "illicit", block_at=0.4).loosen(
        "prompt", "ip_logo", review_at=NEVER, block_at=NEVER
    )

    assert custom.threshold("prompt", "illicit").block_at == 0.4
    assert custom.threshold("prompt", "ip_logo").block_at == NEVER


@pytest.mark.parametrize(("stage", "category"), [("prompt", "nonsense"), ("output", "policy_custom:")])
def test_unknown_categories_are_refused(stage: Stage, category: str) -> None:
    """A threshold for something that is not a category is a typed error."""
    with pytest.raises(OutOfRange):
        STANDARD.loosen(stage, category, block_at=1.0)


def test_an_unnamed_category_is_blocked() -> None:
    """What a policy does not know, a custom category of a classifier for instance, it does not let through."""
    assert STANDARD.threshold("output", "policy_custom:our-mascot").decide(0.5) is Decision.BLOCK


def test_person_generation() -> None:
    """People and minors follow person_generation."""
    nobody = STANDARD.model_copy(update={"person_generation": "none"})

    assert STANDARD.threshold("prompt", "minors_present").decide(1.0) is Decision.ALLOW
    assert STRICT.threshold("prompt", "minors_present").decide(0.7) is Decision.BLOCK
    assert STRICT.threshold("prompt", "person").decide(1.0) is Decision.ALLOW
    assert nobody.threshold("prompt", "person").decide(0.7) is Decision.BLOCK
    assert nobody.digest != STANDARD.digest


def test_a_copy_is_validated() -> None:
    """Copying with changes is no way around the validators."""
    with pytest.raises(ValidationError):
        STANDARD.model_copy(update={"stages": STANDARD.stages[:2]})


def test_errors_are_never_allowed() -> None:
    """on_error knows no "allow"."""
    with pytest.raises(ValidationError):
        Policy.model_validate({**STANDARD.model_dump(), "on_error": "allow"})


def test_built_in_by_name() -> None:
    """Built-in policies are found by name; another name is a typed error that lists them."""
    assert built_in("strict") is STRICT
    with pytest.raises(OutOfRange) as refusal:
        built_in("lenient")
    assert refusal.value.limit == ["strict", "standard"]
