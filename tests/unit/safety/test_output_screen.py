"""The output screen: fail closed for every way in which a check can go wrong."""

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety.output_screen import OutputScreen
from safety.policy import NEVER, STANDARD, STRICT, Policy
from schemas.errors import ScreenMissing
from schemas.render_spec import RenderSpec
from schemas.verdict import Decision, Verdict

CARD = "c" * 64
RNG = np.random.default_rng(3)
#: Without classifiers the policy "standard" is complete once "sexual" is covered.
Answer = Callable[[Sequence[Any]], Any]


class Scripted:
    """A classifier whose answer the test writes."""

    version, model_sha256 = "1", "a" * 64

    def __init__(
        self, answer: Answer, name: str = "scripted", categories: tuple[str, ...] = ("sexual",)
    ) -> None:
        self.answer, self.name, self.categories = answer, name, categories
        self.seen: list[int] = []

    def self_test(self) -> None:
        return None

    def check(self, images: Sequence[Any]) -> Sequence[Mapping[str, float]]:
        self.seen.append(len(images))
        return self.answer(images)  # type: ignore[no-any-return]


def scores(*values: float) -> Answer:
    return lambda images: [{"sexual": value} for value in values[: len(images)]]


def picture(width: int = 64, height: int = 64) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def spec(policy: Policy = STANDARD, width: int = 64) -> RenderSpec:
    return RenderSpec(
        model="m", model_digest="b" * 64, prompt="a mug", seed=1, width=width, height=64, steps=8, guidance=1,
        policy_digest=policy.digest,
    )  # fmt: skip


def open_screen(*screens: Scripted, policy: Policy = STANDARD, timeout_seconds: float = 60) -> OutputScreen:
    return OutputScreen(policy=policy, screens=screens, domain="open", timeout_seconds=timeout_seconds)


def statuses(verdict: Verdict) -> dict[str, str]:
    return {check.name: check.status for check in verdict.checks}


def test_a_harmless_picture_is_allowed() -> None:
    """Sanity and classifier both answered, and the verdict says so."""
    (verdict,) = open_screen(Scripted(scores(0.01))).check([picture()], [spec()])

    assert verdict.decision is Decision.ALLOW
    assert statuses(verdict) == {"output_sanity": "ok", "scripted": "ok"}
    assert verdict.categories["sexual"].score == 0.01
    assert verdict.policy_digest == STANDARD.digest


@pytest.mark.parametrize(
    ("score", "decision"),
    [(0.59, "allow"), (0.6, "review"), (0.69, "review"), (0.7, "block"), (1.0, "block")],
)
def test_thresholds(score: float, decision: str) -> None:
    """Scores meet the policy's thresholds at their exact values."""
    (verdict,) = open_screen(Scripted(scores(score))).check([picture()], [spec()])

    assert verdict.decision == decision


def test_each_picture_has_its_own_verdict() -> None:
    """One refused picture takes nobody with it, and the classifier is called once for all."""
    classifier = Scripted(scores(0.0, 0.9, 0.0))
    verdicts = open_screen(classifier).check([picture() for _ in range(3)], [spec()] * 3)

    assert [verdict.decision for verdict in verdicts] == ["allow", "block", "allow"]
    assert classifier.seen == [3]


def test_the_worst_of_two_classifiers_counts() -> None:
    """Two classifiers of one category: the higher score decides and is named."""
    screen = open_screen(Scripted(scores(0.1)), Scripted(scores(0.9), name="second"))
    (verdict,) = screen.check([picture()], [spec()])

    assert verdict.decision is Decision.BLOCK
    assert verdict.categories["sexual"].source == "second"


def _raise(_: object) -> Any:
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    "answer",
    [
        _raise,
        scores(float("nan")),
        scores(float("inf")),
        scores(1.01),
        scores(-0.5),
        lambda _: None,
        lambda _: [],
        lambda _: [{}],
        lambda _: [{"sexual": 0.0, "unheard_of": 0.0}],
        lambda _: [{"violence_graphic": 0.0}],
        lambda _: [{"sexual": 0.0}] * 2,
        lambda _: [{"sexual": "low"}],
    ],
)
def test_no_usable_answer_is_an_error(answer: Answer) -> None:
    """Exception, NaN, unknown label, wrong count: ERROR, and the check says it failed."""
    (verdict,) = open_screen(Scripted(answer)).check([picture()], [spec()])

    assert verdict.decision is Decision.ERROR
    assert statuses(verdict)["scripted"] == "error"
    assert "output.screen_failed" in verdict.reasons


def test_one_unusable_score_is_one_error() -> None:
    """NaN for one picture leaves the verdict of its neighbour alone."""
    verdicts = open_screen(Scripted(scores(float("nan"), 0.0))).check([picture(), picture()], [spec()] * 2)

    assert [verdict.decision for verdict in verdicts] == ["error", "allow"]


def test_a_hanging_classifier_times_out() -> None:
    """A classifier that never answers is a timeout, and so is the next call while it still hangs."""
    release = threading.Event()
    screen = open_screen(Scripted(lambda images: release.wait(120)), timeout_seconds=0.05)
    try:
        verdicts = [screen.check([picture()], [spec()])[0] for _ in range(2)]
    finally:
        release.set()

    assert [verdict.decision for verdict in verdicts] == ["error", "error"]
    assert [statuses(verdict)["scripted"] for verdict in verdicts] == ["timeout", "timeout"]


def test_missing_screens_are_errors() -> None:
    """An open domain without a classifier, or without one for a required category, allows nothing."""
    (nothing,) = open_screen().check([picture()], [spec()])
    (partly,) = open_screen(Scripted(scores(0.0)), policy=STRICT).check([picture()], [spec(STRICT)])

    assert nothing.decision is partly.decision is Decision.ERROR
    assert statuses(nothing)["image_screens"] == "missing"
    assert statuses(partly)["image_screen:violence_graphic"] == "missing"
    assert "output.check_missing" in nothing.reasons


def test_a_required_check_that_nobody_does() -> None:
    """A policy may require a check by name, and its absence is an ERROR, in a closed domain too."""
    stages = tuple(
        rules.model_copy(update={"required_checks": (*rules.required_checks, "guard")})
        if rules.stage == "output"
        else rules
        for rules in STANDARD.stages
    )
    policy = STANDARD.model_copy(update={"stages": stages})
    screen = OutputScreen(policy=policy, screens=[], domain="closed", card_digest=CARD)

    assert screen.check([picture()], [spec(policy)])[0].decision is Decision.ERROR
    assert (
        open_screen(Scripted(scores(0.0), name="guard"), policy=policy)
        .check([picture()], [spec(policy)])[0]
        .decision
        is Decision.ALLOW
    )


def test_a_closed_domain_says_so() -> None:
    """A closed-domain model needs no classifier; the verdict names the declaration and the card's digest."""
    screen = OutputScreen(policy=STRICT, screens=[], domain="closed", card_digest=CARD)
    (verdict,) = screen.check([picture()], [spec(STRICT)])

    assert verdict.decision is Decision.ALLOW
    assert [(check.name, check.model_sha256) for check in verdict.checks] == [
        ("output_sanity", None),
        ("closed_domain", CARD),
    ]


def test_a_closed_domain_still_listens() -> None:
    """A classifier that is installed counts in a closed domain too, and a broken one is an error there too."""
    for answer, decision in ((scores(0.9), Decision.BLOCK), (_raise, Decision.ERROR)):
        screen = OutputScreen(policy=STRICT, screens=[Scripted(answer)], domain="closed", card_digest=CARD)
        assert screen.check([picture()], [spec(STRICT)])[0].decision is decision


def test_a_closed_domain_needs_its_card() -> None:
    """Nobody can claim a closed domain without naming the card that declares it."""
    with pytest.raises(ScreenMissing):
        OutputScreen(policy=STRICT, screens=[], domain="closed")


def test_broken_pictures_are_errors_and_not_classified() -> None:
    """Blank and NaN pictures are failed renders; the classifier sees only the sound one."""
    classifier = Scripted(scores(0.0))
    blank, broken = np.zeros((64, 64, 3), dtype=np.uint8), np.full((64, 64, 3), np.nan)
    verdicts = open_screen(classifier).check([blank, broken, picture(), "no picture"], [spec()] * 4)

    assert [verdict.decision for verdict in verdicts] == ["error", "error", "allow", "error"]
    assert [verdict.reasons for verdict in verdicts] == [
        ("output.blank",), ("output.not_finite",), (), ("output.not_an_array",),
    ]  # fmt: skip
    assert classifier.seen == [1]


def test_another_policy_is_an_error() -> None:
    """A picture planned under another policy than the screen's is not published."""
    (verdict,) = open_screen(Scripted(scores(0.0))).check([picture()], [spec(STRICT)])

    assert verdict.decision is Decision.ERROR
    assert "output.policy_mismatch" in verdict.reasons


@pytest.mark.parametrize("pictures", [0, 1, 3])
def test_counts_must_match(pictures: int) -> None:
    """More or fewer pictures than specs: an ERROR for every spec."""
    verdicts = open_screen(Scripted(scores(0.0))).check([picture()] * pictures, [spec()] * 2)

    assert [verdict.decision for verdict in verdicts] == ["error", "error"]


def test_hard_floor_in_pictures() -> None:
    """A hard-floor score that an ordinary category could have is blocked under any policy."""
    loose = STANDARD.loosen("output", "sexual", review_at=NEVER, block_at=NEVER)
    screen = Scripted(
        lambda images: [{"sexual": 1.0, "sexual_minors": 0.4}], categories=("sexual", "sexual_minors")
    )

    (verdict,) = open_screen(screen, policy=loose).check([picture()], [spec(loose)])
    assert verdict.decision is Decision.BLOCK


def test_times_come_from_the_clock() -> None:
    """Milliseconds are measured by the clock given, the classifier's shared among its pictures."""
    ticks = itertools.count()
    screen = OutputScreen(
        policy=STANDARD, screens=[Scripted(scores(0.0, 0.0))], domain="open", clock=lambda: float(next(ticks))
    )
    verdicts = screen.check([picture(), picture()], [spec()] * 2)

    assert all(check.milliseconds > 0 for verdict in verdicts for check in verdict.checks)


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=4))
def test_nothing_but_a_clear_answer_is_allowed(values: list[float]) -> None:
    """Whatever a classifier says, ALLOW needs a finite score from 0 to below the threshold."""
    verdicts = open_screen(Scripted(scores(*values))).check(
        [picture() for _ in values], [spec()] * len(values)
    )

    for value, verdict in zip(values, verdicts, strict=True):
        assert (verdict.decision is Decision.ALLOW) == (0 <= value < 0.6)
