"""Keeping a picture that a person has to look at, with all that publishing it later takes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from safety.allow_token import pixels_sha256
from safety.human_review import on_hard_floor
from schemas.base import Frozen
from schemas.errors import SealBroken
from schemas.microbatch import ImageTask
from schemas.outcome import QuarantineRef
from schemas.provenance import Watermark
from schemas.receipt import RenderedWith
from schemas.verdict import Verdict
from storage.quarantine import FACTS, PICTURE, PREVIEW, Vault, quarantine_key
from workers.ports import Pixels

#: Pixels of the longer side of the preview, and of the blur's radius: shapes and colours remain, no detail does.
PREVIEW_SIDE = 256
PREVIEW_BLUR = 10


class Facts(Frozen):
    """What lies beside a held picture."""

    task: ImageTask
    verdict: Verdict
    rendered_with: RenderedWith
    watermark: Watermark | None = None
    quarantined: QuarantineRef


class Quarantine:
    """Held pictures in a vault: kept by workers, taken out by whoever publishes what a reviewer has released."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def keep(
        self,
        task: ImageTask,
        pixels: Pixels,
        verdict: Verdict,
        *,
        rendered_with: RenderedWith,
        watermark: Watermark | None = None,
    ) -> QuarantineRef:
        """Seals the final pixels, (height, width, 3) uint8, and a blurred preview unless the hard floor is touched.

        Of two workers with the same image the first one's picture stays. Durable when it returns; raises what the
        store raises.
        """
        tenant, key = task.tenant, quarantine_key(task.tenant, task.image)
        lying = _decoded(self._vault.keep(tenant, key, PICTURE, _png(Image.fromarray(pixels, "RGB"))))
        shown = not on_hard_floor(verdict)
        if shown:
            self._vault.keep(tenant, key, PREVIEW, _preview(lying))
        facts = Facts(
            task=task,
            verdict=verdict,
            rendered_with=rendered_with,
            watermark=watermark,
            quarantined=QuarantineRef(
                key=key,
                sha256=pixels_sha256(lying),
                preview_key=f"{key}/{PREVIEW}" if shown else None,
            ),
        )
        # Last: whoever finds the facts finds the picture.
        kept = self._vault.keep(tenant, key, FACTS, facts.model_dump_json().encode())
        return Facts.model_validate_json(kept).quarantined

    def take(self, tenant: str, quarantined: QuarantineRef) -> tuple[Facts, Pixels]:
        """The facts and the pixels of a held picture; it stays where it is until it is discarded.

        Raises ObjectMissing, and SealBroken when it is not the picture that was reported.
        """
        facts = Facts.model_validate_json(self._vault.open(tenant, quarantined.key, FACTS))
        pixels = _decoded(self._vault.open(tenant, quarantined.key, PICTURE))
        if facts.quarantined != quarantined or pixels_sha256(pixels) != quarantined.sha256:
            raise SealBroken("the quarantined picture is not the one that was held")
        return facts, pixels


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=3)
    return file.getvalue()


def _decoded(data: bytes) -> Pixels:
    # Sealed by ourselves and authenticated: nobody else's bytes are decoded here.
    with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
        return np.asarray(picture.convert("RGB"))


def _preview(pixels: Pixels) -> bytes:
    picture = Image.fromarray(pixels, "RGB")
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return _png(picture.filter(ImageFilter.GaussianBlur(PREVIEW_BLUR)))
