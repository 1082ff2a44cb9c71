"""Whether a rendered picture is a picture at all."""

from __future__ import annotations

from typing import Any

import numpy as np

NOT_AN_ARRAY = "output.not_an_array"
NOT_FINITE = "output.not_finite"
WRONG_DTYPE = "output.wrong_dtype"
WRONG_SHAPE = "output.wrong_shape"
WRONG_SIZE = "output.wrong_size"
BLANK = "output.blank"
NEAR_CONSTANT = "output.near_constant"

#: A picture is near constant when fewer than this share of its pixels differ from its median colour ...
_MIN_DIFFERENT_SHARE = 0.0005
#: ... by more than this many levels of 255.
_DIFFERENT_LEVELS = 8
_MEDIAN_PIXELS = 16384


def inspect(pixels: Any, *, width: int, height: int) -> tuple[str, ...]:
    """Reason codes of what is wrong with a (height, width, 3) uint8 picture; empty when nothing is.

    Floating samples are only looked at for NaN and infinity, which quantisation to uint8 would hide: a pipeline that
    finds any hands the samples over unquantised.
    """
    if not isinstance(pixels, np.ndarray):
        return (NOT_AN_ARRAY,)
    if np.issubdtype(pixels.dtype, np.floating):
        return (WRONG_DTYPE,) if np.isfinite(pixels).all() else (NOT_FINITE,)
    if pixels.dtype != np.uint8:
        return (WRONG_DTYPE,)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        return (WRONG_SHAPE,)
    if pixels.shape[:2] != (height, width):
        return (WRONG_SIZE,)
    return _flatness(pixels)


def _flatness(pixels: np.ndarray[Any, Any]) -> tuple[str, ...]:
    first = pixels[0, 0]
    if (pixels == first).all():
        return (BLANK,)
    flat = pixels.reshape(-1, 3)
    # The median of evenly spread pixels: of all of them it would cost more than a small classifier.
    middle = np.median(flat[:: max(1, len(flat) // _MEDIAN_PIXELS)], axis=0)
    low, high = np.maximum(middle - _DIFFERENT_LEVELS, 0), np.minimum(middle + _DIFFERENT_LEVELS, 255)
    outside = (pixels < low.astype(np.uint8)) | (pixels > high.astype(np.uint8))
    different = outside[..., 0] | outside[..., 1] | outside[..., 2]
    return (NEAR_CONSTANT,) if float(different.mean()) < _MIN_DIFFERENT_SHARE else ()
