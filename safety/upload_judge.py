"""Verdicts about clean uploads, under whichever policy a request asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safety.image_screen import ImageScreen
from safety.input_image import PictureReader
from safety.upload_screen import UploadScreen
from schemas.errors import ScreenMissing
from schemas.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class UploadJudge:
    """Judges PNGs of our own making; thread-safe. ScreenMissing says what to install where no upload can pass."""

    #: By policy digest.
    screens: Mapping[str, UploadScreen]
    default: str
    #: What there is to judge by (`installed`): with other screens, verdicts of before do not count.
    installed: str

    def mark(self, policy_digest: str | None) -> str:
        """Names a policy together with the screens that are installed."""
        return f"{policy_digest or self.default}.{self.installed[:16]}"

    def check(self, png: bytes, policy_digest: str | None) -> Verdict:
        """The verdict of stage upload."""
        screen = self.screens.get(policy_digest or self.default)
        if screen is None:
            raise ScreenMissing("the policy of this request is not installed here any more", field="policy")
        if screen.unavailable:
            raise ScreenMissing(screen.unavailable)
        (verdict,) = screen.check([PictureReader().decode(png)])
        return verdict


def installed(screens: Sequence[ImageScreen], mode: str) -> str:
    """A digest of the classifiers and lists in use, and of whether the operator makes do with them."""
    parts = sorted(f"{one.name} {one.version} {one.model_sha256}" for one in screens)
    return hashlib.sha256("\n".join((mode, *parts)).encode()).hexdigest()
