"""The output screen of whichever policy an image was asked under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.errors import PolicyWithdrawn, ScreenMissing
from schemas.render_spec import RenderSpec
from schemas.verdict import Verdict
from workers.ports import OutputScreen, Pixels


class PolicyScreens:
    """Sends each picture to the screen of its policy digest; a microbatch may mix policies."""

    def __init__(
        self,
        by_policy_digest: Mapping[str, OutputScreen],
        *,
        unready: Mapping[str, ScreenMissing] | None = None,
    ) -> None:
        #: `unready`: what an installed policy lacks here.
        self._screens, self._unready = dict(by_policy_digest), dict(unready or {})

    def __call__(self, pixels: Sequence[Pixels], specs: Sequence[RenderSpec]) -> list[Verdict]:
        """One verdict per spec, in their order; ScreenMissing for a policy that cannot be served here.

        PolicyWithdrawn for one that is not installed, or not any more: its name may now stand for another.
        """
        verdicts: dict[int, Verdict] = {}
        for digest in dict.fromkeys(spec.policy_digest for spec in specs):
            chosen = [number for number, spec in enumerate(specs) if spec.policy_digest == digest]
            judged = self._of(digest)(
                [pixels[number] for number in chosen], [specs[number] for number in chosen]
            )
            verdicts |= dict(zip(chosen, judged, strict=True))
        return [verdicts[number] for number in range(len(specs))]

    def _of(self, digest: str) -> OutputScreen:
        if digest in self._unready:
            raise self._unready[digest]
        if digest not in self._screens:
            raise PolicyWithdrawn(field="policy_digest")
        return self._screens[digest]
