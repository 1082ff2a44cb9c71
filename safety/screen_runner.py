"""Running classifiers over pictures of one stage and weighing what they find by its thresholds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from safety.image_screen import ImageScreen, Pixels, checked_scores
from safety.patience import Overdue, PatientCaller
from safety.policy import Policy, Stage
from safety.severity import worst
from schemas.verdict import CategoryScore, Check, Decision, Verdict


@dataclass(kw_only=True)
class Findings:
    """What has been found about one picture so far."""

    decisions: list[Decision] = field(default_factory=list)
    categories: dict[str, CategoryScore] = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)
    checks: list[Check] = field(default_factory=list)
    #: An operator has waived something that the policy requires.
    degraded: bool = False

    def fail(self, reason: str) -> None:
        self.decisions.append(Decision.ERROR)
        self.reasons.add(reason)


class ScreenRunner:
    """Asks every classifier about a batch of pictures, one call each, and fails closed where one has no answer."""

    def __init__(
        self,
        *,
        policy: Policy,
        stage: Stage,
        screens: Sequence[ImageScreen],
        timeout_seconds: float = 30.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.policy, self.stage, self._clock = policy, stage, clock
        self._screens = tuple((screen, PatientCaller(timeout_seconds)) for screen in screens)

    @property
    def screens(self) -> tuple[ImageScreen, ...]:
        return tuple(screen for screen, _ in self._screens)

    def run(self, images: Sequence[Pixels], found: Sequence[Findings]) -> None:
        """Adds every classifier's scores, decisions and check to the findings about each picture; never raises."""
        if not images:
            return
        for screen, caller in self._screens:
            self._ask(screen, caller, images, found)

    def fail_missing(self, one: Findings, names: Sequence[str]) -> None:
        """The checks of these names were required and nobody made them."""
        for name in names:
            one.fail(f"{self.stage}.check_missing")
            one.checks.append(Check(name=name, version="", milliseconds=0, status="missing"))

    def check_of(
        self, name: str, version: str, sha256: str | None, started: float, status: Any, shared_by: int = 1
    ) -> Check:
        """The record of a check that began at `started` of the clock and was shared by some pictures."""
        spent = max(0.0, (self._clock() - started) * 1000 / shared_by)
        return Check(name=name, version=version, model_sha256=sha256, milliseconds=spent, status=status)

    def verdict(self, one: Findings) -> Verdict:
        return Verdict(
            stage=self.stage,
            decision=worst(one.decisions),
            categories=one.categories,
            reasons=tuple(sorted(one.reasons)),
            policy=self.policy.name,
            policy_digest=self.policy.digest,
            checks=tuple(one.checks),
            degraded=one.degraded,
        )

    def _ask(
        self, screen: ImageScreen, caller: PatientCaller, images: Sequence[Pixels], found: Sequence[Findings]
    ) -> None:
        started, status = self._clock(), "ok"
        answers: list[dict[str, float] | None] = [None] * len(images)
        try:
            # An overdue classifier may still read when the pictures have moved on: what can be written to is copied.
            fixed = [image.copy() if image.flags.writeable else image for image in images]
            answers = checked_scores(caller.call(lambda: screen.check(fixed)), len(images), screen.categories)
        except Overdue:
            status = "timeout"
        except Exception:  # whatever a classifier raises, it gave no answer
            status = "error"
        for one, scores in zip(found, answers, strict=True):
            self._weigh(screen, one, scores)
            own = "error" if status == "ok" and scores is None else status
            one.checks.append(
                self.check_of(screen.name, screen.version, screen.model_sha256, started, own, len(images))
            )

    def _weigh(self, screen: ImageScreen, one: Findings, scores: dict[str, float] | None) -> None:
        if scores is None:
            one.fail(f"{self.stage}.screen_failed")
            return
        for category, score in scores.items():
            threshold = self.policy.threshold(self.stage, category)
            decision = threshold.decide(score)
            one.decisions.append(decision)
            limit = threshold.block_at if decision is Decision.BLOCK else threshold.review_at
            if category not in one.categories or one.categories[category].score < score:
                one.categories[category] = CategoryScore(score=score, threshold=limit, source=screen.name)
            if decision is not Decision.ALLOW:
                one.reasons.add(f"{self.stage}.classified")


def missing_categories(policy: Policy, stage: Stage, screens: Sequence[ImageScreen]) -> list[str]:
    """The categories that the policy requires of pictures at this stage and no screen covers.

    A screen that only knows listed pictures says so by an empty `covers`: what it may find, it does not look for.
    """
    covered = {category for screen in screens for category in getattr(screen, "covers", screen.categories)}
    return [category for category in policy.rules(stage).required_categories if category not in covered]
