"""The output screen of whichever policy an image was asked under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.errors import ScreenMissing
from schemas.render_spec import RenderSpec
from schemas.verdict import Verdict
from workers.ports import OutputScreen, Pixels


class PolicyScreens:
    """Sends each picture to the screen of its policy digest; a microbatch may mix policies."""

    def __init__(self, by_policy_digest: Mapping[str, OutputScreen]) -> None:
        self._screens = dict(by_policy_digest)

    def __call__(self, pixels: Sequence[Pixels], specs: Sequence[RenderSpec]) -> list[Verdict]:
        """One verdict per spec, in their order; raises `ScreenMissing` for a policy that is not known here."""
        verdicts: dict[int, Verdict] = {}
        for digest in dict.fromkeys(spec.policy_digest for spec in specs):
            chosen = [number for number, spec in enumerate(specs) if spec.policy_digest == digest]
            screen = self._screens.get(digest)
            if screen is None:
                raise ScreenMissing(
                    "this worker does not know the policy of the image", field="policy_digest"
                )
            judged = screen([pixels[number] for number in chosen], [specs[number] for number in chosen])
            verdicts |= dict(zip(chosen, judged, strict=True))
        return [verdicts[number] for number in range(len(specs))]
