"""What the handlers know of a model: enough to plan, nothing to render."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Frozen


class ModelOffer(Frozen):
    """A model as the planner sees it; `deploy/` reads it from the model's card."""

    name: str
    digest: str
    #: (width, height) pairs in pixels; the first is the default.
    sizes: tuple[tuple[int, int], ...] = Field(min_length=1)
    default_steps: int
    max_steps: int
    default_guidance: float
    max_prompt_tokens: int
    #: A closed-domain model can draw only what its card lists.
    domain: Literal["open", "closed"]
    domain_note: str = ""
    #: What it can do beyond text to image: "image_to_image", "inpainting", "control:KIND", "adapters".
    features: tuple[str, ...] = ()
    #: Controls that one request may name.
    max_controls: int = 1
    #: Adapters that one request may name, the sum of their ranks, and the digest that they must have been made for.
    max_adapters: int = 0
    max_adapter_rank: int = 0
    base_digest: str = ""
    #: Seconds of a microbatch of n images: fixed + per_image * n.
    fixed_seconds: float = 0.0
    seconds_per_image: float = 1.0
