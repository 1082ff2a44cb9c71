"""Small picture files for tests."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def a_picture(width: int = 40, height: int = 24, mode: str = "RGB", seed: int = 7) -> Image.Image:
    """Noise, so that a file is as long as its pixels ask."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def a_mask(width: int = 40, height: int = 24) -> Image.Image:
    """White in its right half."""
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (width // 2, 0, width, height))
    return mask


def as_file(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
