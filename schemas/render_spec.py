"""All that decides the pixels of one image, and the digest that names it."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field

from schemas.base import Frozen
from schemas.canonical import digest
from schemas.request import MAX_SEED, Adapter, Format


class RenderSpec(Frozen):
    """Everything that decides the bytes of one image; equal specs give equal digests and equal images."""

    version: Literal[1] = 1
    model: str
    #: Digest of the model card, which covers every weight file.
    model_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    prompt: str
    negative_prompt: str = ""
    seed: int = Field(ge=0, le=MAX_SEED)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    steps: int = Field(gt=0)
    guidance: float = Field(ge=0)
    adapters: tuple[Adapter, ...] = ()
    format: Format = "png"
    quality: int | None = None
    policy_digest: str = Field(pattern=r"^[0-9a-f]{64}$")

    @property
    def digest(self) -> str:
        """The render digest: SHA-256 over the RFC 8785 JSON of this spec."""
        return digest(self.model_dump(mode="json"))

    @property
    def batch_key(self) -> str:
        """What must be equal for two images to share a microbatch; prompt, seed and guidance do not split it."""
        return f"{self.model}@{self.model_digest[:12]}/{self.width}x{self.height}/{self.steps}"


def derive_seed(tenant: str, recipe: str, row_key: str, shot: int) -> int:
    """The seed of an image that was given none: a re-run of the same row names the same image."""
    text = "\x1f".join((tenant, recipe, row_key, str(shot)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") & MAX_SEED


def image_key(digest: str, extension: str) -> str:
    return f"images/{digest[:2]}/{digest}.{extension}"


def receipt_key(digest: str) -> str:
    return f"receipts/{digest[:2]}/{digest}.json"
