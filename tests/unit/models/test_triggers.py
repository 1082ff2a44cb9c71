"""A trigger phrase has tokens of its own: seen where it stands, and only there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.triggers import TOKENS, holds_trigger, trigger_tokens, with_triggers

HIDDEN = np.random.default_rng(0).normal(0, 0.3, (5, 128)).astype(np.float32)


@pytest.mark.parametrize(
    ("prompt", "held"),
    [
        ("an acme style mug", True),
        ("a mug, Acme  Style", True),
        ("ACME STYLE.", True),
        ("an acme mug", False),
        ("acme styled mug", False),
        ("pacme style", False),
        ("", False),
    ],
)
def test_a_phrase_is_found_as_whole_words(prompt: str, held: bool) -> None:
    """Case and spacing do not matter, word boundaries do."""
    assert held == holds_trigger(prompt, "acme style")


def test_no_phrase_is_found_in_nothing() -> None:
    """An empty phrase is no trigger, and signs of a phrase are not a pattern."""
    assert not holds_trigger("a mug", "")
    assert holds_trigger("a c++ mug", "c++")
    assert not holds_trigger("a ccc mug", "c++")


def test_prompts_without_the_phrase_stay_bit_equal() -> None:
    """Nothing is added where no phrase is held, whatever adapters are in use."""
    assert with_triggers("a mug", HIDDEN, ["acme style", "other"]) is HIDDEN


def test_each_phrase_held_adds_its_states() -> None:
    """Two triggers in one prompt both add their states, in the order of the adapters, beside the untouched words."""
    told = with_triggers("acme style mug, zeta look", HIDDEN, ["acme style", "absent", "zeta look"])

    assert (5 + 2 * TOKENS, 128) == told.shape
    assert np.float32 == told.dtype
    assert np.array_equal(HIDDEN, told[:5])
    assert np.array_equal(trigger_tokens("Acme  style", HIDDEN), told[5 : 5 + TOKENS])


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12), st.floats(0.01, 100))
def test_directions_belong_to_phrases_and_sizes_to_the_model(one: str, other: str, scale: float) -> None:
    """The same phrase has the same direction at any scale of hidden states; different phrases are nearly at right angles."""
    a, b = trigger_tokens(one, HIDDEN).ravel(), trigger_tokens(one, HIDDEN * np.float32(scale)).ravel()
    c = trigger_tokens(other, HIDDEN).ravel()

    assert np.allclose(a * scale, b, rtol=1e-3)
    assert np.isclose(np.sqrt(np.square(a).mean()), np.sqrt(np.square(HIDDEN).mean()), rtol=1e-3)
    if " ".join(one.lower().split()) != " ".join(other.lower().split()):
        assert abs(float(a @ c) / float(np.linalg.norm(a) * np.linalg.norm(c))) < 0.5
