"""The JSON beside each kept picture: what came, what is kept of it, and what its screens said."""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal, Self

from pydantic import Field

from schemas.base import Frozen
from schemas.canonical import canonical
from schemas.input_image import CleanPicture, InputImage
from schemas.verdict import Verdict

_SHA256 = r"^[0-9a-f]{64}$"


class InputRecord(Frozen):
    """Sealed, because who owns the bucket could otherwise exchange a picture after it was screened.

    Its verdicts are coarse and without the time their checks took, as a receipt carries them.
    """

    version: Literal[1] = 1
    #: Of the file that came, which is not kept.
    facts: InputImage
    #: Of the PNG that is kept.
    kept_sha256: str = Field(pattern=_SHA256)
    kept_bytes: int = Field(gt=0)
    #: By what was asked: the policy and the screens that were installed.
    verdicts: dict[str, Verdict] = Field(default_factory=dict)
    #: HMAC-SHA256 over all of the above, in hexadecimal.
    seal: str = ""

    @classmethod
    def of(cls, picture: CleanPicture) -> Self:
        """Not sealed yet."""
        return cls(
            facts=picture.facts,
            kept_sha256=hashlib.sha256(picture.png).hexdigest(),
            kept_bytes=len(picture.png),
        )

    def sealed(self, key: bytes) -> InputRecord:
        return self.model_copy(update={"seal": self._mac(key)})

    def is_sealed(self, key: bytes) -> bool:
        return hmac.compare_digest(self.seal.encode(), self._mac(key).encode())

    def _mac(self, key: bytes) -> str:
        told = canonical(self.model_dump(mode="json", exclude={"seal"}))
        return hmac.new(key, told, hashlib.sha256).hexdigest()
