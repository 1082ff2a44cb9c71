"""Pictures a customer sends, brought to the size of the shot."""

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

Pixels: TypeAlias = npt.NDArray[np.uint8]
Fit: TypeAlias = Literal["cover", "contain"]


def fit_to(pixels: Pixels, width: int, height: int, mode: Fit = "cover") -> Pixels:
    """Resize a picture (H, W, 3) or a mask (H, W) to `width` x `height` without distortion.

    Pictures by Lanczos, masks by the mean over each pixel. "cover" cuts off what is too long, half on either side;
    "contain" keeps everything and fills up: pictures with the colours of their border, masks with 0. Take one mode for
    all pictures of a shot and they stay aligned.
    """
    method = Image.Resampling.BOX if pixels.ndim == 2 else Image.Resampling.LANCZOS
    picture = Image.fromarray(pixels)
    if mode == "cover":
        return np.array(ImageOps.fit(picture, (width, height), method))
    scale = min(width / picture.width, height / picture.height)
    inner = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    resized = np.array(picture.resize(inner, method))
    above, before = (height - inner[1]) // 2, (width - inner[0]) // 2
    room = [(above, height - inner[1] - above), (before, width - inner[0] - before), (0, 0)]
    return np.pad(resized, room[: pixels.ndim], mode="edge" if pixels.ndim == 3 else "constant")


def fit_lines(pixels: Pixels, width: int, height: int, mode: Fit = "cover") -> Pixels:
    """`fit_to` for a drawing (H, W, 3): strokes thinner than a new pixel stay visible, dark or light; the result is gray.

    While it shrinks, of each block the tone furthest from the paper is kept, where a mean would wash it out.
    """
    gray = np.array(Image.fromarray(pixels).convert("L"))
    ratios = (gray.shape[0] / height, gray.shape[1] / width)
    factor = int(min(ratios) if mode == "cover" else max(ratios))
    if factor > 1:
        gray = _strongest(gray, factor)
    return fit_to(np.repeat(gray[..., None], 3, axis=2), width, height, mode)


def _strongest(gray: Pixels, factor: int) -> Pixels:
    """Of each block of `factor` x `factor` tones the one furthest from the median."""
    paper = int(np.median(gray))
    rows, columns = -(-gray.shape[0] // factor), -(-gray.shape[1] // factor)
    room = ((0, rows * factor - gray.shape[0]), (0, columns * factor - gray.shape[1]))
    blocks = np.pad(gray, room, mode="edge").reshape(rows, factor, columns, factor)
    darkest, lightest = blocks.min(axis=(1, 3)), blocks.max(axis=(1, 3))
    strongest: Pixels = np.where(
        paper - darkest.astype(int) >= lightest.astype(int) - paper, darkest, lightest
    )
    return strongest
