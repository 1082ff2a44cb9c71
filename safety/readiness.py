"""Whether what a policy requires of pictures is there before the first one is drawn."""

from __future__ import annotations

from collections.abc import Sequence

from safety.image_screen import ImageScreen
from safety.output_screen import missing_categories
from safety.policy import Policy
from schemas.errors import ScreenMissing
from schemas.model_offer import ModelOffer


def ensure_ready(policy: Policy, screens: Sequence[ImageScreen], model_offer: ModelOffer) -> None:
    """ScreenMissing, in one sentence that says what to do, unless every picture of the model can be screened.

    A closed-domain model needs no classifier; one that is installed must pass its self-test all the same.
    """
    for screen in screens:
        _self_test(screen)
    missing = missing_categories(policy, screens)
    if model_offer.domain == "closed" or (screens and not missing):
        return
    what = ", ".join(missing) or "any category"
    raise ScreenMissing(
        f"model {model_offer.name!r} can draw anything and policy {policy.name!r} requires an image screen for {what}: "
        "install an ONNX classifier with a card that covers it, and set AQUATINT_IMAGE_SCREEN to its path and "
        "AQUATINT_IMAGE_SCREEN_SHA256 to its digest",
        field="image_screen",
        limit=missing,
    )


def _self_test(screen: ImageScreen) -> None:
    try:
        screen.self_test()
    except Exception as error:  # whatever it raises, it is not ready
        raise ScreenMissing(
            f"the image screen {screen.name!r} fails its self-test ({error}): install its model file again",
            field="image_screen",
        ) from error
