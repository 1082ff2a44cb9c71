"""The JSON beside each image: all that is needed to render it again, and who checked what."""

from __future__ import annotations

from typing import Literal

from schemas.base import Frozen
from schemas.description import Description
from schemas.fairness import Note
from schemas.provenance import Pdq, Provenance
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

    It depends on the spec, the picture and its file, never on a clock: it holds no time, no job and no nonce.
    """

    version: Literal[1, 2, 3] = 3
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
    #: Since version 3: the picture in words, one for each language.
    descriptions: tuple[Description, ...] = ()
    #: Coarse, and of every stage since version 3; the output's is the last.
    verdicts: tuple[Verdict, ...]
    #: Since version 3.
    fairness: Note | None = None
    pdq: Pdq | None = None
    provenance: Provenance | None = None
    rendered_with: RenderedWith
