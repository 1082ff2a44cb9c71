"""The outlines of the twelve products, as parts drawn back to front in [-0.5, 0.5]^2 (y down).

Poses are fixed on purpose (handle right, hands at ten past ten): a random handle side makes an under-trained model draw
both. No stroke is thinner than about 0.05, which is 2 px in the smallest product of a 128 px picture; thinner ones are
lost by the autoencoder.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Literal, TypeAlias

import skia

Point: TypeAlias = tuple[float, ...]
Finish: TypeAlias = Literal["body", "flat", "ring", "sole", "pages", "face"]


@dataclass(frozen=True)
class Part:
    """One outline; `shade` multiplies the product colour, above 1.2 it is a light accent.

    Only a body shows the material; a ring is stroked; sole, pages and face have colours of their own.
    """

    path: skia.Path
    shade: float = 1.0
    finish: Finish = "body"


def draw_parts(kind: str, rng: Random) -> list[Part]:
    """Parts of one product with its proportions drawn from `rng`."""
    return _SHAPES[kind](rng)


def base_of(kind: str) -> float:
    """Height of the product's lowest line, where its shadow lies."""
    return _BASES.get(kind, 0.5)


def polygon(*points: Point) -> skia.Path:
    """Closed path; a point of two numbers is a line, of four a quadratic and of six a cubic curve."""
    path = skia.Path()
    path.moveTo(*points[0])
    for point in points[1:]:
        {2: path.lineTo, 4: path.quadTo, 6: path.cubicTo}[len(point)](*point)
    path.close()
    return path


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


def _mug(rng: Random) -> list[Part]:
    w, h = rng.uniform(0.27, 0.33), rng.uniform(0.33, 0.41)
    return [
        Part(oval(w + 0.04, 0.03, 0.15, 0.19), 0.75, "ring"),
        Part(polygon((-w, -h), (-w, h), (-w, 0.5, 0, 0.5), (w, 0.5, w, h), (w, -h))),
        Part(oval(0, -h, w, 0.085), 0.62, "flat"),
        Part(oval(0, -h + 0.015, w * 0.86, 0.058), 0.32, "flat"),
    ]


def _bottle(rng: Random) -> list[Part]:
    w, n = rng.uniform(0.17, 0.22), rng.uniform(0.07, 0.085)
    shoulder = (
        (-n, -0.42),
        (-n, -0.2),
        (-w, -0.14, -w, 0),
        (-w, 0.44),
        (-w, 0.5, -w + 0.06, 0.5),
        (w - 0.06, 0.5),
    )
    return [
        Part(polygon(*shoulder, (w, 0.5, w, 0.44), (w, 0), (w, -0.14, n, -0.2), (n, -0.42))),
        Part(box(-n * 1.3, -0.5, n * 2.6, 0.12, 0.02), 0.5),
        Part(box(-w, 0.06, w * 2, 0.22, 0.005), 1.6, "flat"),
    ]


def _vase(rng: Random) -> list[Part]:
    w, n = rng.uniform(0.26, 0.33), rng.uniform(0.11, 0.15)
    left = ((-n, -0.48), (-n * 0.7, -0.3, -w * 0.8, -0.12), (-w * 1.3, 0.15, -n * 1.1, 0.5))
    right = ((n * 1.1, 0.5), (w * 1.3, 0.15, w * 0.8, -0.12), (n * 0.7, -0.3, n, -0.48))
    return [Part(polygon(*left, *right)), Part(oval(0, -0.47, n, 0.045), 0.4, "flat")]


def _lamp(rng: Random) -> list[Part]:
    w, t = rng.uniform(0.32, 0.4), rng.uniform(0.13, 0.19)
    return [
        Part(box(-0.035, -0.1, 0.07, 0.56, 0.01), 0.6),
        Part(oval(0, 0.45, 0.21, 0.055), 0.7),
        Part(polygon((-t, -0.5), (-w, -0.02), (0, 0.05, w, -0.02), (t, -0.5))),
    ]


def _chair(rng: Random) -> list[Part]:
    top = rng.uniform(-0.5, -0.45)
    return [
        Part(box(-0.21, 0.1, 0.08, 0.32, 0.01), 0.42, "flat"),
        Part(box(0.13, 0.1, 0.08, 0.32, 0.01), 0.42, "flat"),
        Part(box(-0.35, 0.08, 0.1, 0.42, 0.015), 0.8),
        Part(box(0.25, 0.08, 0.1, 0.42, 0.015), 0.8),
        Part(box(-0.27, top, 0.54, 0.44, 0.07), 0.9),
        Part(polygon((-0.28, -0.03), (0.28, -0.03), (0.38, 0.14), (-0.38, 0.14)), 1.12),
    ]


def _bag(rng: Random) -> list[Part]:
    w = rng.uniform(0.33, 0.4)
    body = (
        (-w * 0.82, -0.14),
        (-w, 0.44),
        (-w, 0.5, -w + 0.06, 0.5),
        (w - 0.06, 0.5),
        (w, 0.5, w, 0.44),
        (w * 0.82, -0.14),
    )
    flap = ((-w * 0.84, -0.14), (w * 0.84, -0.14), (w * 0.9, 0.06), (0, 0.2, -w * 0.9, 0.06))
    return [
        Part(oval(0, -0.17, 0.19, 0.27), 0.7, "ring"),
        Part(polygon(*body)),
        Part(polygon(*flap), 0.72, "flat"),
        Part(oval(0, 0.12, 0.045, 0.045), 2.2, "flat"),
    ]


def _watch(rng: Random) -> list[Part]:
    w = rng.uniform(0.13, 0.15)
    strap = (
        (-w * 0.8, -0.5),
        (-w, -0.2),
        (-w, 0.2),
        (-w * 0.8, 0.5),
        (w * 0.8, 0.5),
        (w, 0.2),
        (w, -0.2),
        (w * 0.8, -0.5),
    )
    return [
        Part(polygon(*strap), 0.62),
        Part(box(0.25, -0.045, 0.08, 0.09, 0.02), 0.5),
        Part(oval(0, 0, 0.29, 0.29)),
        Part(oval(0, 0, 0.215, 0.215), 0, "face"),
    ]


def _sneaker(rng: Random) -> list[Part]:
    stretch = rng.uniform(0.92, 1.02)

    def stretched(*points: Point) -> skia.Path:
        return polygon(
            *[tuple(v * stretch if i % 2 == 0 else v for i, v in enumerate(point)) for point in points]
        )

    upper = ((-0.48, 0.2), (-0.48, -0.2), (-0.44, -0.26, -0.36, -0.24), (-0.28, -0.12, -0.14, -0.2))
    toe = ((-0.06, -0.1, 0.1, 0.02), (0.3, 0.06, 0.42, 0.1), (0.5, 0.14, 0.5, 0.26), (-0.48, 0.26))
    sole = ((-0.5, 0.21), (0.5, 0.21), (0.52, 0.35, 0.46, 0.35), (-0.48, 0.35), (-0.52, 0.32, -0.5, 0.21))
    return [
        Part(stretched(*upper, *toe)),
        Part(stretched(*sole), 0, "sole"),
        Part(stretched((-0.15, -0.19), (0.1, 0.01), (0.02, 0.09), (-0.24, -0.11)), 1.8, "flat"),
        Part(stretched((-0.37, 0.21), (-0.17, -0.02), (-0.04, 0.05), (-0.2, 0.21)), 1.8, "flat"),
    ]


def _hat(rng: Random) -> list[Part]:
    h = rng.uniform(0.3, 0.4)
    crown = (
        (-0.27, 0.2),
        (-0.27, -h, -0.1, -h),
        (0, -h + 0.05, 0.1, -h),
        (0.27, -h, 0.27, 0.2),
        (0, 0.3, -0.27, 0.2),
    )
    return [
        Part(oval(0, 0.2, 0.5, 0.13), 0.8),
        Part(polygon(*crown)),
        Part(
            polygon((-0.272, 0.06), (0, 0.17, 0.272, 0.06), (0.27, 0.19), (0, 0.29, -0.27, 0.19)),
            0.35,
            "flat",
        ),
    ]


def _book(rng: Random) -> list[Part]:
    w = rng.uniform(0.3, 0.35)
    return [
        Part(polygon((w, -0.44), (w + 0.09, -0.38), (w + 0.09, 0.5), (w, 0.44)), 0, "pages"),
        Part(polygon((-w, 0.43), (w, 0.43), (w + 0.09, 0.5), (-w + 0.09, 0.5)), 0, "pages"),
        Part(box(-w, -0.46, 2 * w, 0.9, 0.02)),
        Part(box(-w, -0.46, 0.09, 0.9, 0.01), 0.6, "flat"),
        Part(box(-w + 0.17, -0.3, w * 1.2, 0.15, 0.01), 1.7, "flat"),
    ]


def _sofa(rng: Random) -> list[Part]:
    h = rng.uniform(0.26, 0.33)
    return [
        Part(box(-0.43, 0.27, 0.1, 0.11, 0.01), 0.35, "flat"),
        Part(box(0.33, 0.27, 0.1, 0.11, 0.01), 0.35, "flat"),
        Part(box(-0.41, -h, 0.82, 0.45, 0.08), 0.85),
        Part(box(-0.37, 0.0, 0.74, 0.18, 0.04), 1.15),
        Part(box(-0.42, 0.14, 0.84, 0.17, 0.03), 0.8),
        Part(box(-0.5, -0.08, 0.15, 0.4, 0.06)),
        Part(box(0.35, -0.08, 0.15, 0.4, 0.06)),
    ]


def _shirt(rng: Random) -> list[Part]:
    w = rng.uniform(0.27, 0.32)
    left = (
        (-0.16, -0.44),
        (-0.5, -0.22),
        (-0.4, -0.0),
        (-w, -0.1),
        (-w, 0.46),
        (-w, 0.5, -w + 0.04, 0.5),
        (w - 0.04, 0.5),
    )
    right = ((w, 0.5, w, 0.46), (w, -0.1), (0.4, -0.0), (0.5, -0.22), (0.16, -0.44), (0, -0.3, -0.16, -0.44))
    collar = ((-0.17, -0.44), (0, -0.27, 0.17, -0.44), (0.12, -0.465), (0, -0.36, -0.12, -0.465))
    return [
        Part(polygon(*left, *right)),
        Part(polygon(*collar), 0.5, "flat"),
        Part(box(0.06, -0.12, 0.15, 0.16, 0.02), 0.68, "flat"),
    ]


_BASES = {"sneaker": 0.35, "hat": 0.29, "sofa": 0.38}

_SHAPES: Mapping[str, Callable[[Random], list[Part]]] = MappingProxyType(
    {
        "mug": _mug,
        "sneaker": _sneaker,
        "lamp": _lamp,
        "chair": _chair,
        "bottle": _bottle,
        "bag": _bag,
        "watch": _watch,
        "vase": _vase,
        "hat": _hat,
        "book": _book,
        "sofa": _sofa,
        "shirt": _shirt,
    }
)
