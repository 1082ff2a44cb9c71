"""Screening pictures that customers bring.

A model's closed domain says what the model can draw, and nothing about what somebody uploads: there is no exemption
here. Where the classifiers that are installed do not cover what the policy requires, uploads are refused, unless the
operator has said that what is installed is enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from safety.image_screen import ImageScreen, Pixels
from safety.policy import Policy
from safety.screen_runner import Findings, ScreenRunner, missing_categories
from schemas.verdict import Check, Verdict

#: required: all that the policy requires must be covered; installed: the operator waives what is not.
UploadScreening = Literal["required", "installed"]

SCREENS = "image_screens"
WAIVER = "operator_waiver"


class UploadScreen:
    """Checks decoded uploads under one policy, fail closed."""

    def __init__(
        self,
        *,
        policy: Policy,
        screens: Sequence[ImageScreen],
        screening: UploadScreening = "required",
        timeout_seconds: float = 30.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._runner = ScreenRunner(
            policy=policy, stage="upload", screens=screens, timeout_seconds=timeout_seconds, clock=clock
        )
        self._missing = uncovered(policy, screens)
        self._waived = screening == "installed"

    @property
    def policy(self) -> Policy:
        return self._runner.policy

    @property
    def unavailable(self) -> str:
        """Why no upload can pass here, and what would change that; empty when one can."""
        return "" if self._waived or not self._missing else what_to_install(self.policy, self._missing)

    def check(self, pixels: Sequence[Any]) -> list[Verdict]:
        """One verdict per picture, in order, whatever happens; pictures are (height, width, 3) uint8 in sRGB."""
        found = [Findings() for _ in pixels]
        whole = [number for number, picture in enumerate(pixels) if _is_picture(picture)]
        for number in set(range(len(pixels))) - set(whole):
            found[number].fail("upload.not_a_picture")
        images: list[Pixels] = [pixels[number] for number in whole]
        self._runner.run(images, [found[number] for number in whole])
        for one in found:
            self._complete(one)
        return [self._runner.verdict(one) for one in found]

    def _complete(self, one: Findings) -> None:
        if self._missing and self._waived:
            one.degraded = True
            one.checks.append(Check(name=WAIVER, version="1", milliseconds=0, status="ok"))
            return
        known = {SCREENS, *(check.name for check in one.checks)}
        required = [name for name in self.policy.rules("upload").required_checks if name not in known]
        self._runner.fail_missing(one, required + self._missing)


def uncovered(policy: Policy, screens: Sequence[ImageScreen]) -> list[str]:
    """The checks of uploads that the policy requires and these classifiers do not make, by name; empty when all are.

    The same holds of a picture that was made out of an upload, whatever the domain of the model.
    """
    rules = policy.rules("upload")
    missing = [f"image_screen:{category}" for category in missing_categories(policy, "upload", screens)]
    wanted = SCREENS in rules.required_checks and not screens
    return missing + ([SCREENS] if wanted else [])


def what_to_install(policy: Policy, missing: Sequence[str]) -> str:
    """One sentence for whoever runs the installation."""
    categories = [name.partition(":")[2] for name in missing if ":" in name]
    what = ", ".join(categories) or "any category"
    return (
        f"pictures that a request brings cannot be screened here: policy {policy.name!r} requires an image screen for "
        f"{what}; `aquatint safety install nsfwjs` covers sexual, a vision-language guard (AQUATINT_IMAGE_GUARD_URL) "
        "covers the others; or AQUATINT_UPLOAD_SCREENING=installed makes do with what is there"
    )


def _is_picture(picture: Any) -> bool:
    return (
        isinstance(picture, np.ndarray)
        and picture.dtype == np.uint8
        and picture.ndim == 3
        and picture.shape[2] == 3
        and picture.size > 0
    )
