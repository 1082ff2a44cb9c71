"""The JSON beside each image: all that is needed to render it again, and who checked what."""

from __future__ import annotations

from typing import Literal

from schemas.base import Frozen
from schemas.render_spec import RenderSpec
from schemas.verdict import Verdict


class RenderedWith(Frozen):
    """What drew the picture."""

    aquatint: str
    runtime: str
    precision: str
    device: str


class UsedFile(Frozen):
    """A file that went into the picture, and where it lies in the tenant's results store."""

    #: Its field in the request: "image", "mask", "control.0.image" or "adapters.0".
    field: str
    key: str
    sha256: str


class Receipt(Frozen):
    """Written under `receipts/{digest[:2]}/{digest}.json`, before the outcome is reported.

    It depends on the spec and the picture alone, never on a job or a clock: whoever renders the digest again writes
    the same receipt.
    """

    version: Literal[1, 2] = 2
    digest: str
    spec: RenderSpec
    inputs: tuple[UsedFile, ...] = ()
    adapters: tuple[UsedFile, ...] = ()
    image_key: str
    image_sha256: str
    image_bytes: int
    media_type: str
    alt: str
    lang: str
    verdicts: tuple[Verdict, ...]
    rendered_with: RenderedWith
