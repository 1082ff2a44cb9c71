"""Each picture meets the screen of its own policy."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from microbatches import a_spec, a_task, a_verdict

from schemas.errors import ScreenMissing
from schemas.render_spec import RenderSpec
from schemas.verdict import Decision, Verdict
from workers.null_renderer import pattern
from workers.policy_screens import PolicyScreens
from workers.ports import OutputScreen, Pixels


def always(decision: Decision) -> OutputScreen:
    def screen(pixels: Sequence[Pixels], specs: Sequence[RenderSpec]) -> list[Verdict]:
        assert len(pixels) == len(specs)
        return [a_verdict(decision) for _ in specs]

    return screen


def test_mixed_policies_keep_their_order() -> None:
    """A microbatch of two policies gets each picture's verdict from its own policy, in the order of the pictures."""
    screens = PolicyScreens({"b" * 64: always(Decision.ALLOW), "c" * 64: always(Decision.BLOCK)})
    other = a_spec(2).model_copy(update={"policy_digest": "c" * 64})
    specs = [a_spec(1), other, a_spec(3)]
    verdicts = screens([pattern(a_task(number)) for number in range(3)], specs)
    assert [verdict.decision for verdict in verdicts] == [Decision.ALLOW, Decision.BLOCK, Decision.ALLOW]


def test_unknown_policy_is_an_error() -> None:
    """No screen of another policy stands in for one that is not known."""
    with pytest.raises(ScreenMissing):
        PolicyScreens({})([pattern(a_task(1))], [a_spec(1)])
