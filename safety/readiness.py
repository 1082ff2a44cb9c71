"""Whether what a policy requires of pictures is there before the first one is drawn."""

from __future__ import annotations

from collections.abc import Sequence

from safety.image_screen import ImageScreen
from safety.policy import Policy
from safety.screen_runner import missing_categories
from schemas.errors import ScreenMissing
from schemas.model_offer import ModelOffer

#: What the output screen and the prompt screen do of their own.
_BUILT_IN_CHECKS = frozenset({"output_sanity", "image_screens"})


def ensure_ready(policy: Policy, screens: Sequence[ImageScreen], model_offer: ModelOffer) -> None:
    """ScreenMissing, in one sentence that says what to do, unless every picture of the model can be screened.

    A closed-domain model needs no classifier; one that is installed must pass its self-test all the same.
    """
    for screen in screens:
        _self_test(screen)
    ensure_covered(policy, screens, model_offer)


def ensure_covered(policy: Policy, screens: Sequence[ImageScreen], model_offer: ModelOffer) -> None:
    """As `ensure_ready`, of screens whose self-tests have passed."""
    known = _BUILT_IN_CHECKS | {screen.name for screen in screens}
    unmade = sorted(set(policy.rules("output").required_checks) - known)
    if unmade:
        raise ScreenMissing(
            f"policy {policy.name!r} requires the check {unmade[0]!r}, and no installed screen has that name",
            field="image_screens",
            limit=unmade,
        )
    missing = missing_categories(policy, "output", screens)
    if model_offer.domain == "closed" or (screens and not missing):
        return
    what = ", ".join(missing) or "any category"
    raise ScreenMissing(
        f"model {model_offer.name!r} can draw anything and policy {policy.name!r} requires an image screen for {what}: "
        "`aquatint safety install nsfwjs` covers sexual; an ONNX classifier with a card (AQUATINT_IMAGE_SCREENS) or a "
        "vision-language guard (AQUATINT_IMAGE_GUARD_URL) covers the others",
        field="image_screens",
        limit=missing,
    )


def _self_test(screen: ImageScreen) -> None:
    try:
        screen.self_test()
    except Exception as error:  # whatever it raises, it is not ready
        raise ScreenMissing(
            f"the image screen {screen.name!r} fails its self-test ({error}): install its model file again",
            field="image_screens",
        ) from error
