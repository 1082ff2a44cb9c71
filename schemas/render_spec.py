"""All that decides the pixels of one image, and the digest that names it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Frozen
from schemas.canonical import digest
from schemas.request import MAX_SEED, ControlKind, Format

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

#: What version 1 did not know; its specs keep the digests they were given.
_SINCE_2 = {"image", "mask", "strength", "control"}


class UsedControl(Frozen):
    """The lines that the picture follows; `image` is the digest of the bytes that the request brought."""

    kind: ControlKind
    image: Sha256
    weight: float


class UsedAdapter(Frozen):
    """An adapter as it was when the request was planned; `digest` is that of its adapter.json, which names the weights by theirs."""

    name: str
    weight: float
    digest: Sha256


class RenderSpec(Frozen):
    """Everything that decides the bytes of one image; equal specs give equal digests and equal images."""

    version: Literal[1, 2] = 2
    model: str
    #: Digest of the model card, which covers every weight file.
    model_digest: Sha256
    prompt: str
    negative_prompt: str = ""
    seed: int = Field(ge=0, le=MAX_SEED)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    steps: int = Field(gt=0)
    guidance: float = Field(ge=0)
    adapters: tuple[UsedAdapter, ...] = ()
    #: Digests of the bytes that the request brought, as they came.
    image: Sha256 | None = None
    mask: Sha256 | None = None
    strength: float | None = None
    control: tuple[UsedControl, ...] = ()
    format: Format = "png"
    quality: int | None = None
    policy_digest: Sha256

    @property
    def digest(self) -> str:
        """The render digest: SHA-256 over the RFC 8785 JSON of this spec."""
        return digest(self.model_dump(mode="json", exclude=_SINCE_2 if self.version == 1 else None))

    @property
    def inputs(self) -> dict[str, str]:
        """The digest of each picture that the request brought, by its field in the request."""
        named = {"image": self.image, "mask": self.mask}
        named |= {f"control.{place}.image": one.image for place, one in enumerate(self.control)}
        return {field: sha256 for field, sha256 in named.items() if sha256 is not None}

    @property
    def batch_key(self) -> str:
        """What must be equal for two images to share a microbatch; prompt, seed, guidance, inputs and adapters do not split it."""
        return f"{self.model}@{self.model_digest[:12]}/{self.width}x{self.height}/{self.steps}"


def derive_seed(tenant: str, recipe: str, row_key: str, shot: int) -> int:
    """The seed of an image that was given none: a re-run of the same row names the same image."""
    text = "\x1f".join((tenant, recipe, row_key, str(shot)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") & MAX_SEED
