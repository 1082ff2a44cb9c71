"""Uploads are screened fail closed, and a model's closed domain says nothing about them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from safety.policy import STANDARD, STRICT, Policy
from safety.screen_runner import missing_categories
from safety.upload_screen import UploadScreen, uncovered
from schemas.verdict import Decision, Verdict

RNG = np.random.default_rng(5)
STRICT_NEEDS = ("sexual", "violence_graphic", "hate_symbols")


class Scripted:
    """A classifier that gives every picture the same scores, or raises."""

    name, version, model_sha256 = "scripted", "1", "a" * 64

    def __init__(
        self, scores: dict[str, float] | Exception, categories: tuple[str, ...] | None = None
    ) -> None:
        self._scores = scores
        self.categories = categories or (tuple(scores) if isinstance(scores, dict) else ("sexual",))

    def self_test(self) -> None:
        return None

    def check(self, images: Sequence[Any]) -> Sequence[Mapping[str, float]]:
        if isinstance(self._scores, Exception):
            raise self._scores
        return [self._scores for _ in images]


def picture() -> np.ndarray:
    return RNG.integers(0, 256, (40, 30, 3), dtype=np.uint8)


def judged(*screens: Scripted, policy: Policy = STANDARD, screening: Any = "required") -> Verdict:
    (verdict,) = UploadScreen(policy=policy, screens=screens, screening=screening).check([picture()])
    return verdict


@pytest.mark.parametrize(("score", "decision"), [(0.1, "allow"), (0.65, "review"), (0.9, "block")])
def test_scores_decide(score: float, decision: str) -> None:
    """The policy's thresholds of the upload stage decide, and the verdict names stage, score and check."""
    verdict = judged(Scripted({"sexual": score}))

    assert (verdict.stage, verdict.decision) == ("upload", decision)
    assert verdict.categories["sexual"].score == score
    assert [check.name for check in verdict.checks] == ["scripted"]
    assert verdict.reasons == (() if decision == "allow" else ("upload.classified",))
    assert not verdict.degraded


@pytest.mark.parametrize("policy", [STRICT, STANDARD])
def test_nothing_installed_nothing_passes(policy: Policy) -> None:
    """Without a classifier no upload passes, and the sentence for the operator says what to install."""
    screen = UploadScreen(policy=policy, screens=[])

    (verdict,) = screen.check([picture()])
    assert verdict.decision is Decision.ERROR
    assert verdict.reasons == ("upload.check_missing",)
    assert {check.status for check in verdict.checks} == {"missing"}
    assert "aquatint safety install nsfwjs" in screen.unavailable
    assert "AQUATINT_UPLOAD_SCREENING" in screen.unavailable


def test_a_category_that_nobody_covers() -> None:
    """Strict wants more than sexual content found: with a classifier for that alone, uploads are still refused."""
    lacking = UploadScreen(policy=STRICT, screens=[Scripted({"sexual": 0.0})])
    whole = UploadScreen(policy=STRICT, screens=[Scripted(dict.fromkeys(STRICT_NEEDS, 0.0))])

    assert lacking.check([picture()])[0].decision is Decision.ERROR
    assert "violence_graphic, hate_symbols" in lacking.unavailable
    assert whole.check([picture()])[0].decision is Decision.ALLOW
    assert whole.unavailable == ""


def test_the_operator_may_make_do_and_the_verdict_says_so() -> None:
    """Waived categories pass, marked as degraded; what an installed classifier finds counts all the same."""
    waived = judged(policy=STRICT, screening="installed")
    found = judged(Scripted({"sexual": 0.99}), policy=STRICT, screening="installed")
    complete = judged(Scripted({"sexual": 0.0}), screening="installed")

    assert (waived.decision, waived.degraded) == (Decision.ALLOW, True)
    assert "operator_waiver" in {check.name for check in waived.checks}
    assert (found.decision, found.degraded) == (Decision.BLOCK, True)
    assert (complete.decision, complete.degraded) == (Decision.ALLOW, False)
    assert UploadScreen(policy=STRICT, screens=[], screening="installed").unavailable == ""


@pytest.mark.parametrize("screening", ["required", "installed"])
@pytest.mark.parametrize(
    "answer", [{"sexual": float("nan")}, {}, {"sexual": 0.1, "surprise": 0.1}, RuntimeError()], ids=repr
)
def test_a_broken_classifier_lets_nothing_pass(answer: Any, screening: str) -> None:
    """NaN, a missing or an unknown category, an exception: no answer, whatever the operator waived."""
    verdict = judged(Scripted(answer, ("sexual",)), screening=screening)

    assert verdict.decision is Decision.ERROR
    assert "upload.screen_failed" in verdict.reasons


@pytest.mark.parametrize(
    "broken",
    [
        None,
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["none", "grey", "alpha", "floats", "empty"],
)
def test_what_is_no_picture_takes_nobody_with_it(broken: Any) -> None:
    """A thing that is no decoded picture is an error of its own; its neighbours are judged."""
    first, second = UploadScreen(policy=STANDARD, screens=[Scripted({"sexual": 0.0})]).check(
        [broken, picture()]
    )

    assert first.decision is Decision.ERROR
    assert "upload.not_a_picture" in first.reasons
    assert second.decision is Decision.ALLOW


def test_a_list_of_known_pictures_covers_no_category() -> None:
    """A screen that says it covers nothing does not stand in for a classifier, though what it finds counts."""
    listed = Scripted({"sexual": 0.0})
    listed.covers = ()  # type: ignore[attr-defined]

    assert missing_categories(STANDARD, "upload", [listed]) == ["sexual"]
    assert uncovered(STANDARD, [listed]) == ["image_screen:sexual"]
    assert judged(listed).decision is Decision.ERROR
