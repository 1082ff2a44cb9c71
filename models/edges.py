"""Outlines of a picture, and the lines of a drawing, in one form: thin strokes of ones on zeros.

The transformer was trained on `edge_map` of its pictures; a customer may give a picture (`edge_map`) or draw the lines
himself (`sketch_map`). Both are exact integer or elementwise arithmetic, so every machine finds the same lines.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Lines = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]
_Bools = npt.NDArray[np.bool_]

#: shorter side, in pixels, for which the smoothing below was chosen; it grows in proportion
_BASE_SIDE = 128
#: steepness, in levels per pixel at the base size, that is always an edge, and that may continue one
_STRONG, _WEAK = 14.0, 6.0
#: where a picture has no strong edge (white on white), this fraction of its steepest place is one
_STRONG_FRACTION, _WEAK_FRACTION = 0.5, 0.22
#: below this, in levels per pixel at the base size, nothing is an edge: light falling off over a wall
_FLOOR = 2.0
_REACH = 48  # pixels a weak edge may run on from a strong one
#: thicker than this fraction of the shorter side, ink is an area with an outline, not a stroke with a middle
_AREA_WIDTH = 1 / 10
_INK_CONTRAST = 20  # levels from the paper, at least


def edge_map(pixels: Pixels) -> Lines:
    """Find the outlines of a picture, in light or in colour alone; uint8 (H, W, 3) to uint8 (H, W) of 0 and 1.

    Steepness over all three channels after Di Zenzo 1986 ("A note on the gradient of a multi-image"), thinned along its
    direction and kept by two thresholds after Canny 1986 ("A computational approach to edge detection").
    """
    scale = max(1.0, min(pixels.shape[:2]) / _BASE_SIDE)
    smooth = _smooth(pixels, scale)  # (3, H, W)
    steepness, difference, cross = _steepness(smooth)  # (H, W) each
    steepness *= np.float32(scale)
    strong, weak = _thresholds(steepness)
    crest = _crest(steepness, difference, cross) & (steepness > weak)  # (H, W)
    return _grow(crest & (steepness > strong), crest, int(_REACH * scale)).astype(np.uint8)


def sketch_map(pixels: Pixels) -> Lines:
    """Find the lines of a drawing, dark on light or light on dark; uint8 (H, W, 3) to uint8 (H, W) of 0 and 1.

    Strokes of any width become their middle line (Zhang and Suen 1984, "A fast parallel algorithm for thinning digital
    patterns"); filled areas become their outline.
    """
    ink = _ink(pixels.astype(np.float32).mean(axis=2))  # (H, W)
    radius = max(2, round(min(ink.shape) * _AREA_WIDTH / 2))
    areas = _spread(~_spread(~ink, radius), radius + 1) & ink
    outlines = areas & _spread(~ink, 1)
    return (_thin(ink & ~areas) | outlines).astype(np.uint8)


def _smooth(pixels: Pixels, scale: float) -> _Floats:
    """Two box means each way; (3, H, W)."""
    width = 2 * round(scale) + 1
    planes = pixels.transpose(2, 0, 1).astype(np.int64)  # (3, H, W)
    for axis in (1, 2, 1, 2):
        planes = _box_sum(planes, width, axis)
    return planes.astype(np.float32) / np.float32(width**4)


def _box_sum(planes: npt.NDArray[np.int64], width: int, axis: int) -> npt.NDArray[np.int64]:
    half = width // 2
    room = [(half + 1, half) if i == axis else (0, 0) for i in range(3)]
    sums = np.pad(planes, room, mode="edge").cumsum(axis=axis)
    after = [slice(width, None) if i == axis else slice(None) for i in range(3)]
    before = [slice(None, -width) if i == axis else slice(None) for i in range(3)]
    total: npt.NDArray[np.int64] = sums[tuple(after)] - sums[tuple(before)]
    return total


def _steepness(planes: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Greatest rise per pixel, and the cosine and sine parts of twice its direction; (H, W) each."""
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) * np.float32(0.5)  # (3, H, W)
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) * np.float32(0.5)  # (3, H, W)
    xx, yy, xy = (across**2).sum(axis=0), (down**2).sum(axis=0), (across * down).sum(axis=0)  # (H, W) each
    difference, cross = xx - yy, 2 * xy
    rise = np.sqrt((xx + yy + np.sqrt(difference**2 + cross**2)) * np.float32(0.5))
    return rise, difference, cross


def _thresholds(steepness: _Floats) -> tuple[float, float]:
    """Levels above which a place is an edge, and above which it may continue one."""
    steepest = float(steepness.max())
    strong = max(_FLOOR, min(_STRONG, _STRONG_FRACTION * steepest))
    return strong, max(_FLOOR / 2, min(_WEAK, _WEAK_FRACTION * steepest))


def _crest(steepness: _Floats, difference: _Floats, cross: _Floats) -> _Bools:
    """Places steeper than their two neighbours in the direction of the rise; (H, W)."""
    ring = np.pad(steepness, 1)
    straight = np.abs(difference) >= np.abs(cross)

    def highest(rows: int, columns: int) -> _Bools:
        height, width = steepness.shape
        ahead = ring[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]
        behind = ring[1 - rows : 1 - rows + height, 1 - columns : 1 - columns + width]
        above: _Bools = (steepness > behind) & (steepness >= ahead)
        return above

    straights = np.where(difference > 0, highest(0, 1), highest(1, 0))
    slants = np.where(cross > 0, highest(1, 1), highest(1, -1))
    crest: _Bools = np.where(straight, straights, slants)
    return crest


def _grow(seeds: _Bools, within: _Bools, reach: int) -> _Bools:
    """Follow `within` from the seeds, at most `reach` pixels."""
    for _ in range(reach):
        grown = _spread(seeds, 1) & within
        if np.array_equal(grown, seeds):
            break
        seeds = grown
    return seeds


def _spread(marks: _Bools, radius: int) -> _Bools:
    """Marks and all places within `radius` of one, row- and column-wise."""
    for _ in range(radius):
        rows = np.pad(marks, ((1, 1), (0, 0)))
        marks = rows[:-2] | rows[1:-1] | rows[2:]
        columns = np.pad(marks, ((0, 0), (1, 1)))
        marks = columns[:, :-2] | columns[:, 1:-1] | columns[:, 2:]
    return marks


def _ink(light: _Floats) -> _Bools:
    """Which places of a drawing, lightness (H, W), are ink: those far from the paper, whichever of the two is darker."""
    paper = float(np.median(light))
    away = np.abs(light - paper)  # (H, W)
    furthest = float(away.max())
    if furthest < _INK_CONTRAST:
        return np.zeros(light.shape, bool)
    darker = float((paper - light).max()) >= float((light - paper).max())
    toward: _Floats = paper - light if darker else light - paper
    ink: _Bools = toward > max(_INK_CONTRAST, 0.4 * furthest)
    return ink


def _thin(ink: _Bools) -> _Bools:
    """Peel strokes from both sides until one pixel is left; (H, W)."""
    while True:
        before = ink
        for first in (True, False):
            ink = ink & ~_peelable(ink, first)
        if np.array_equal(ink, before):
            return ink


def _peelable(ink: _Bools, first: bool) -> _Bools:
    """Border places whose removal leaves a stroke whole and no shorter, on one side or the other."""
    ring = np.pad(ink, 1)
    north, south, west, east = ring[:-2, 1:-1], ring[2:, 1:-1], ring[1:-1, :-2], ring[1:-1, 2:]
    around = [
        north, ring[:-2, 2:], east, ring[2:, 2:], south, ring[2:, :-2], west, ring[:-2, :-2], north,
    ]  # fmt: skip
    count = np.sum(around[:8], axis=0)
    rises = np.sum([~a & b for a, b in pairwise(around)], axis=0)
    if first:
        free = ~(north & east & south) & ~(east & south & west)
    else:
        free = ~(north & east & west) & ~(north & south & west)
    peelable: _Bools = (count >= 2) & (count <= 6) & (rises == 1) & free
    return peelable
