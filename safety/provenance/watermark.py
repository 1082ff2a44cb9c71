"""Marks in the pixels that outlive a screenshot or a re-save, which metadata does not."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from schemas.provenance import Watermark

#: (height, width, 3), RGB.
Pixels = npt.NDArray[np.uint8]


class Watermarker(Protocol):
    """Writes and finds one kind of watermark; safe to share between threads.

    There is no default: without one, the second of the two machine-readable marks that the EU's Code of Practice asks
    for is missing, and `aquatint doctor` says so.
    """

    @property
    def name(self) -> str:
        """Its algorithm in the C2PA list of soft bindings, e.g. "com.adobe.trustmark.Q"."""

    def mark(self, pixels: Pixels, digest: str) -> tuple[Pixels, Watermark]:
        """A marked copy of the picture; `digest` (hexadecimal, 64 characters) decides the payload."""

    def read(self, pixels: Pixels) -> Watermark | None:
        """The mark in a picture, None when there is none."""
