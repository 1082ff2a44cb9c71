"""The parts products are made of, and the few ways to draw an outline, in [-0.5, 0.5]^2 (y down)."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import skia

Point: TypeAlias = tuple[float, ...]
Finish: TypeAlias = Literal["body", "flat", "light", "face", "dark", "lens", "flame"]


@dataclass(frozen=True)
class Part:
    """One outline, filled, or stroked where `stroke` is a width; `shade` multiplies the product colour.

    A shade above 1.2 is a light accent. A body shows the material, a flat part only the colour; the other finishes have
    colours of their own. `gleam` is where light from the left is mirrored, as fractions of the part's box.
    """

    path: skia.Path
    shade: float = 1.0
    finish: Finish = "body"
    stroke: float = 0.0
    gleam: tuple[float, float] = (0.27, 0.34)


def polygon(*points: Point) -> skia.Path:
    """Closed path; a point of two numbers is a line, of four a quadratic and of six a cubic curve."""
    path = line(*points)
    path.close()
    return path


def line(*points: Point) -> skia.Path:
    """Open path through points as in `polygon`."""
    path = skia.Path()
    path.moveTo(*points[0])
    for point in points[1:]:
        {2: path.lineTo, 4: path.quadTo, 6: path.cubicTo}[len(point)](*point)
    return path


def symmetric(*points: Point) -> skia.Path:
    """Closed path from its right half, told from top to bottom."""
    back = []
    for before, point in zip(points[-2::-1], points[:0:-1], strict=True):
        pairs = [point[i : i + 2] for i in range(0, len(point) - 2, 2)]
        back.append(tuple(v for x, y in [*reversed(pairs), before[-2:]] for v in (-x, y)))
    x, y = points[-1][-2:]
    return polygon(*points, (-x, y), *back)


def box(x: float, y: float, width: float, height: float, radius: float) -> skia.Path:
    """Rectangle with round corners, (x, y) its upper left."""
    path = skia.Path()
    path.addRoundRect(skia.Rect.MakeXYWH(x, y, width, height), radius, radius)
    return path


def oval(x: float, y: float, radius_x: float, radius_y: float) -> skia.Path:
    """Ellipse around (x, y)."""
    path = skia.Path()
    path.addOval(skia.Rect.MakeXYWH(x - radius_x, y - radius_y, 2 * radius_x, 2 * radius_y))
    return path
