"""Screening rendered pictures: sanity first, then every classifier, under one policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from safety import output_sanity
from safety.image_screen import ImageScreen
from safety.policy import Policy
from safety.screen_runner import Findings, ScreenRunner, missing_categories
from safety.upload_screen import WAIVER, UploadScreening, uncovered
from schemas.errors import ScreenMissing
from schemas.render_spec import RenderSpec
from schemas.verdict import Check, Decision, Verdict

SANITY = "output_sanity"
SCREENS = "image_screens"
CLOSED_DOMAIN = "closed_domain"


class OutputScreen:
    """Checks final pixels under one policy, fail closed: no answer, no picture.

    In a closed domain the declaration in the model's card covers the policy's image categories, and each verdict names
    it as a check with the card's digest; classifiers that are installed all the same still run and still count. What was
    made out of somebody's picture is not covered by it: the picture brought its own content.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        screens: Sequence[ImageScreen],
        domain: Literal["open", "closed"],
        card_digest: str | None = None,
        upload_screening: UploadScreening = "required",
        timeout_seconds: float = 30.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if domain == "closed" and card_digest is None:
            raise ScreenMissing(
                "a closed domain needs the digest of the model card that declares it", field="card_digest"
            )
        self.policy, self._card_digest, self._clock = policy, card_digest, clock
        self._closed, self._waived = domain == "closed", upload_screening == "installed"
        self._runner = ScreenRunner(
            policy=policy, stage="output", screens=screens, timeout_seconds=timeout_seconds, clock=clock
        )

    @property
    def screens(self) -> tuple[ImageScreen, ...]:
        return self._runner.screens

    def check(self, pixels: Sequence[Any], specs: Sequence[RenderSpec]) -> list[Verdict]:
        """One verdict per spec, in order, whatever happens; `pixels` are (height, width, 3) uint8 arrays.

        A broken picture (blank, NaN, wrong size) is ERROR: a failed render, not a refused one. So is a check without an
        answer, unless the policy has a person look instead.
        """
        found = [Findings() for _ in specs]
        if len(pixels) != len(specs):
            for one in found:
                one.fail("output.count_mismatch")
            return [self._runner.verdict(one) for one in found]
        self._check_sanity(pixels, specs, found)
        sane = [number for number, one in enumerate(found) if not one.reasons]
        self._runner.run([pixels[number] for number in sane], [found[number] for number in sane])
        for number, (spec, one) in enumerate(zip(specs, found, strict=True)):
            self._check_complete(spec, one)
            if number in sane:
                self._call_a_person(one)
        return [self._runner.verdict(one) for one in found]

    def _check_sanity(
        self, pixels: Sequence[Any], specs: Sequence[RenderSpec], found: Sequence[Findings]
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
            one.checks.append(self._runner.check_of(SANITY, "1", None, started, status))

    def _check_complete(self, spec: RenderSpec, one: Findings) -> None:
        """Adds the domain's declaration, and whatever the policy requires and nobody did."""
        known = {SANITY, SCREENS, *(check.name for check in one.checks)}
        missing = [name for name in self.policy.rules("output").required_checks if name not in known]
        if spec.image is not None:
            missing += self._uncovered_edit(one)
        elif self._closed:
            one.checks.append(_declared(CLOSED_DOMAIN, self._card_digest))
        else:
            missing += [
                f"image_screen:{category}"
                for category in missing_categories(self.policy, "output", self.screens)
            ]
            missing += [] if self.screens else [SCREENS]
        self._runner.fail_missing(one, missing)

    def _uncovered_edit(self, one: Findings) -> list[str]:
        """What nobody looks for in a picture made out of an upload; nothing, when the operator has waived it."""
        missing = uncovered(self.policy, self.screens)
        if missing and self._waived:
            one.degraded = True
            one.checks.append(_declared(WAIVER, None))
            return []
        return missing

    def _call_a_person(self, one: Findings) -> None:
        """Under a policy that says so, a check without an answer is a case for review; what was found still counts."""
        if self.policy.on_error == "review" and Decision.ERROR in one.decisions:
            others = (each for each in one.decisions if each is not Decision.ERROR)
            one.decisions, one.degraded = [*others, Decision.REVIEW], True


def _declared(name: str, sha256: str | None) -> Check:
    return Check(name=name, version="1", model_sha256=sha256, milliseconds=0, status="ok")
