"""Screening rendered pictures: sanity first, then every classifier, under one policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from safety import output_sanity
from safety.image_screen import ImageScreen, checked_scores
from safety.patience import Overdue, PatientCaller
from safety.policy import Policy
from safety.severity import worst
from schemas.errors import ScreenMissing
from schemas.render_spec import RenderSpec
from schemas.verdict import CategoryScore, Check, Decision, Verdict

SANITY = "output_sanity"
SCREENS = "image_screens"
CLOSED_DOMAIN = "closed_domain"


@dataclass(kw_only=True)
class _Findings:
    """What has been found about one picture so far."""

    decisions: list[Decision] = field(default_factory=list)
    categories: dict[str, CategoryScore] = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)
    checks: list[Check] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        self.decisions.append(Decision.ERROR)
        self.reasons.add(reason)


class OutputScreen:
    """Checks final pixels under one policy, fail closed: no answer, no picture.

    In a closed domain the declaration in the model's card covers the policy's image categories, and each verdict names
    it as a check with the card's digest; classifiers that are installed all the same still run and still count.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        screens: Sequence[ImageScreen],
        domain: Literal["open", "closed"],
        card_digest: str | None = None,
        timeout_seconds: float = 30.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if domain == "closed" and card_digest is None:
            raise ScreenMissing(
                "a closed domain needs the digest of the model card that declares it", field="card_digest"
            )
        self.policy, self._card_digest, self._clock = policy, card_digest, clock
        self._closed = domain == "closed"
        self._screens = tuple((screen, PatientCaller(timeout_seconds)) for screen in screens)

    def check(self, pixels: Sequence[Any], specs: Sequence[RenderSpec]) -> list[Verdict]:
        """One verdict per spec, in order, whatever happens; `pixels` are (height, width, 3) uint8 arrays.

        A broken picture (blank, NaN, wrong size) is ERROR: a failed render, not a refused one.
        """
        found = [_Findings() for _ in specs]
        if len(pixels) != len(specs):
            for one in found:
                one.fail("output.count_mismatch")
            return [self._verdict(one) for one in found]
        self._check_sanity(pixels, specs, found)
        sane = [number for number, one in enumerate(found) if not one.reasons]
        images = [pixels[number] for number in sane]
        for screen, caller in self._screens:
            self._run_screen(screen, caller, images, [found[number] for number in sane])
        for one in found:
            self._check_complete(one)
        return [self._verdict(one) for one in found]

    def _check_sanity(
        self, pixels: Sequence[Any], specs: Sequence[RenderSpec], found: Sequence[_Findings]
    ) -> None:
        for picture, spec, one in zip(pixels, specs, found, strict=True):
            started, status = self._clock(), "ok"
            try:
                reasons = output_sanity.inspect(picture, width=spec.width, height=spec.height)
            except Exception:  # an array that cannot even be looked at
                reasons, status = ("output.screen_failed",), "error"
            if spec.policy_digest != self.policy.digest:
                reasons = (*reasons, "output.policy_mismatch")
            for reason in reasons:
                one.fail(reason)
            one.checks.append(self._check_of(SANITY, "1", None, started, status))

    def _run_screen(
        self, screen: ImageScreen, caller: PatientCaller, images: list[Any], found: Sequence[_Findings]
    ) -> None:
        if not images:
            return
        started, status = self._clock(), "ok"
        answers: list[dict[str, float] | None] = [None] * len(images)
        try:
            # Copies, because an overdue classifier may still read them when the pictures have moved on.
            copies = [np.array(image) for image in images]
            answers = checked_scores(
                caller.call(lambda: screen.check(copies)), len(images), screen.categories
            )
        except Overdue:
            status = "timeout"
        except Exception:  # whatever a classifier raises, it gave no answer
            status = "error"
        for one, scores in zip(found, answers, strict=True):
            self._judge(screen, one, scores)
            own = "error" if status == "ok" and scores is None else status
            one.checks.append(
                self._check_of(screen.name, screen.version, screen.model_sha256, started, own, len(images))
            )

    def _judge(self, screen: ImageScreen, one: _Findings, scores: dict[str, float] | None) -> None:
        if scores is None:
            one.fail("output.screen_failed")
            return
        for category, score in scores.items():
            threshold = self.policy.threshold("output", category)
            decision = threshold.decide(score)
            one.decisions.append(decision)
            limit = threshold.block_at if decision is Decision.BLOCK else threshold.review_at
            if category not in one.categories or one.categories[category].score < score:
                one.categories[category] = CategoryScore(score=score, threshold=limit, source=screen.name)
            if decision is not Decision.ALLOW:
                one.reasons.add("output.classified")

    def _check_complete(self, one: _Findings) -> None:
        """Adds the domain's declaration, and whatever the policy requires and nobody did."""
        if self._closed:
            one.checks.append(
                Check(
                    name=CLOSED_DOMAIN,
                    version="1",
                    model_sha256=self._card_digest,
                    milliseconds=0,
                    status="ok",
                )
            )
        known = {SANITY, SCREENS, *(check.name for check in one.checks)}
        missing = [name for name in self.policy.rules("output").required_checks if name not in known]
        if not self._closed:
            missing += [
                f"image_screen:{category}" for category in missing_categories(self.policy, self.screens)
            ]
            missing += [SCREENS] if not self._screens else []
        for name in missing:
            one.fail("output.check_missing")
            one.checks.append(Check(name=name, version="", milliseconds=0, status="missing"))

    @property
    def screens(self) -> tuple[ImageScreen, ...]:
        return tuple(screen for screen, _ in self._screens)

    def _check_of(
        self, name: str, version: str, sha256: str | None, started: float, status: Any, shared_by: int = 1
    ) -> Check:
        spent = max(0.0, (self._clock() - started) * 1000 / shared_by)
        return Check(name=name, version=version, model_sha256=sha256, milliseconds=spent, status=status)

    def _verdict(self, found: _Findings) -> Verdict:
        return Verdict(
            stage="output",
            decision=worst(found.decisions),
            categories=found.categories,
            reasons=tuple(sorted(found.reasons)),
            policy=self.policy.name,
            policy_digest=self.policy.digest,
            checks=tuple(found.checks),
        )


def missing_categories(policy: Policy, screens: Sequence[ImageScreen]) -> list[str]:
    """The categories that the policy requires of pictures and no screen covers."""
    covered = {category for screen in screens for category in screen.categories}
    return [category for category in policy.rules("output").required_categories if category not in covered]
