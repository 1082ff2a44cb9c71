"""The outlines of the twenty products, as parts drawn back to front in [-0.5, 0.5]^2 (y down).

Poses are fixed on purpose (handle right, hands at ten past ten): a random handle side makes an under-trained model draw
both. No stroke is thinner than about 0.05, which is 2 px in the smallest product of a 128 px picture; thinner ones are
lost by the autoencoder.
"""

from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType

from models.training.outlines import Part, box, line, oval, polygon, symmetric


def draw_parts(kind: str, rng: Random) -> list[Part]:
    """Parts of one product with its proportions drawn from `rng`."""
    return _SHAPES[kind](rng)


def foot_of(kind: str) -> tuple[float, float]:
    """Height of the product's lowest line and half the width of what stands on the floor: where its shadow lies."""
    return _FEET[kind]


def _mug(rng: Random) -> list[Part]:
    w, h = rng.uniform(0.28, 0.33), rng.uniform(0.35, 0.41)
    return [
        Part(oval(w + 0.03, 0.05, 0.15, 0.19), 0.85, stroke=0.085),
        Part(symmetric((w, -h), (w, 0.34), (w, 0.5, w * 0.5, 0.5))),
        Part(oval(0, -h, w, 0.08), 1.1, "flat"),
        Part(oval(0, -h + 0.012, w * 0.86, 0.055), 0.42, "flat"),
    ]


def _sneaker(rng: Random) -> list[Part]:
    s = rng.uniform(0.94, 1.0)
    upper = ((-0.48, 0.24), (-0.48, -0.2), (-0.46, -0.3, -0.36, -0.27), (-0.28, -0.14, -0.13, -0.24))
    toe = ((-0.03, -0.1, 0.12, 0.0), (0.3, 0.03, 0.42, 0.09), (0.5, 0.14, 0.5, 0.26), (-0.48, 0.26))
    sole = ((-0.5, 0.2), (0.5, 0.2), (0.54, 0.36, 0.45, 0.36), (-0.46, 0.36), (-0.54, 0.34, -0.5, 0.2))
    lace = ((-0.13, -0.235), (0.12, 0.0), (0.04, 0.08), (-0.22, -0.15))
    upper_parts = [
        Part(polygon(*[_stretched(p, s) for p in (*upper, *toe)]), gleam=(0.14, 0.5)),
        Part(polygon(*[_stretched(p, s) for p in lace]), 1.8, "flat"),
    ]
    return [*upper_parts, Part(polygon(*[_stretched(p, s) for p in sole]), finish="light")]


def _lamp(rng: Random) -> list[Part]:
    w, t = rng.uniform(0.34, 0.4), rng.uniform(0.15, 0.19)
    return [
        Part(box(-0.04, -0.05, 0.08, 0.5, 0.01), 0.6, "flat"),
        Part(oval(0, 0.44, 0.23, 0.06), 0.8),
        Part(symmetric((t, -0.5), (w, 0.02), (0, 0.1, 0, 0.1)), gleam=(0.38, 0.48)),
    ]


def _chair(rng: Random) -> list[Part]:
    top = rng.uniform(-0.5, -0.46)
    return [
        Part(polygon((-0.2, 0.1), (-0.1, 0.1), (-0.1, 0.4), (-0.2, 0.4)), 0.45, "flat"),
        Part(polygon((0.1, 0.1), (0.2, 0.1), (0.2, 0.4), (0.1, 0.4)), 0.45, "flat"),
        Part(box(-0.28, top, 0.56, 0.5, 0.1), 0.95),
        Part(polygon((-0.35, 0.1), (-0.23, 0.1), (-0.26, 0.5), (-0.37, 0.5)), 0.75),
        Part(polygon((0.23, 0.1), (0.35, 0.1), (0.37, 0.5), (0.26, 0.5)), 0.75),
        Part(symmetric((0.27, -0.04), (0.4, 0.12), (0.4, 0.18, 0.34, 0.18)), 1.1),
    ]


def _bottle(rng: Random) -> list[Part]:
    w, n = rng.uniform(0.18, 0.22), rng.uniform(0.075, 0.09)
    return [
        Part(symmetric((n, -0.42), (n, -0.22), (w, -0.16, w, 0.0), (w, 0.44), (w, 0.5, w - 0.06, 0.5))),
        Part(box(-n * 1.3, -0.5, n * 2.6, 0.12, 0.02), 0.5, "flat"),
        Part(box(-w, 0.1, w * 2, 0.15, 0.005), finish="light"),
    ]


def _bag(rng: Random) -> list[Part]:
    w = rng.uniform(0.36, 0.42)
    return [
        Part(oval(0, -0.16, 0.19, 0.28), 0.75, stroke=0.075),
        Part(symmetric((w * 0.82, -0.16), (w, 0.42), (w, 0.5, w - 0.08, 0.5)), gleam=(0.26, 0.72)),
        Part(symmetric((w * 0.82, -0.16), (w * 0.88, 0.02), (w * 0.5, 0.13, 0, 0.13)), 0.78),
        Part(oval(0, 0.11, 0.055, 0.055), 2.2, "flat"),
    ]


def _watch(rng: Random) -> list[Part]:
    w = rng.uniform(0.15, 0.17)
    return [
        Part(symmetric((w * 0.8, -0.5), (w, -0.2), (w, 0.2), (w * 0.8, 0.5)), 0.85),
        Part(box(0.27, -0.05, 0.08, 0.1, 0.02), 0.5, "flat"),
        Part(oval(0, 0, 0.3, 0.3)),
        Part(oval(0, 0, 0.2, 0.2), finish="face"),
    ]


def _vase(rng: Random) -> list[Part]:
    w, n = rng.uniform(0.28, 0.33), rng.uniform(0.12, 0.15)
    outline = ((n, -0.48), (n * 0.7, -0.3, w * 0.8, -0.14), (w * 1.35, 0.13, n * 1.1, 0.5))
    return [Part(symmetric(*outline), gleam=(0.33, 0.52)), Part(oval(0, -0.475, n, 0.045), 0.4, "flat")]


def _hat(rng: Random) -> list[Part]:
    h = rng.uniform(0.32, 0.4)
    crown = ((0, -h + 0.06), (0.05, -h, 0.12, -h), (0.28, -h, 0.28, 0.2), (0.14, 0.27, 0, 0.27))
    band = ((0, 0.13), (0.14, 0.13, 0.276, 0.06), (0.28, 0.2), (0.14, 0.27, 0, 0.27))
    return [
        Part(oval(0, 0.2, 0.5, 0.14), 0.85),
        Part(symmetric(*crown)),
        Part(symmetric(*band), 0.35, "flat"),
    ]


def _book(rng: Random) -> list[Part]:
    w = rng.uniform(0.3, 0.35)
    return [
        Part(polygon((w, -0.44), (w + 0.09, -0.38), (w + 0.09, 0.5), (w, 0.44)), finish="light"),
        Part(polygon((-w, 0.43), (w, 0.43), (w + 0.09, 0.5), (-w + 0.09, 0.5)), finish="light"),
        Part(box(-w, -0.47, 2 * w, 0.91, 0.02), gleam=(0.38, 0.64)),
        Part(box(-w, -0.47, 0.1, 0.91, 0.015), 0.6, "flat"),
        Part(box(-w + 0.19, -0.32, w * 1.15, 0.14, 0.01), 1.7, "flat"),
    ]


def _sofa(rng: Random) -> list[Part]:
    h = rng.uniform(0.28, 0.34)
    return [
        Part(box(-0.43, 0.24, 0.11, 0.14, 0.01), 0.4, "flat"),
        Part(box(0.32, 0.24, 0.11, 0.14, 0.01), 0.4, "flat"),
        Part(box(-0.4, -h, 0.8, 0.5, 0.1), 0.88),
        Part(box(-0.42, 0.03, 0.84, 0.27, 0.05), 1.1),
        Part(box(-0.5, -0.08, 0.18, 0.4, 0.08)),
        Part(box(0.32, -0.08, 0.18, 0.4, 0.08)),
    ]


def _shirt(rng: Random) -> list[Part]:
    w = rng.uniform(0.28, 0.32)
    right = ((0, -0.36), (0.1, -0.38, 0.16, -0.45), (0.5, -0.22), (0.4, 0.02), (w, -0.06), (w, 0.44))
    return [
        Part(symmetric(*right, (w, 0.48, w - 0.04, 0.48)), gleam=(0.36, 0.46)),
        Part(line((-0.14, -0.43), (-0.08, -0.32, 0, -0.32), (0.08, -0.32, 0.14, -0.43)), 0.55, "flat", 0.06),
    ]


def _teapot(rng: Random) -> list[Part]:
    w = rng.uniform(0.28, 0.31)
    spout = ((-w + 0.06, 0.26), (-0.36, 0.2, -0.37, -0.02), (-0.42, -0.12, -0.5, -0.14), (-0.44, -0.2))
    pour = ((-0.34, -0.16), (-0.28, -0.08, -0.27, 0.0), (-w + 0.06, -0.02))
    return [
        Part(oval(w + 0.02, 0.1, 0.15, 0.17), 0.85, stroke=0.08),
        Part(polygon(*spout, *pour), 0.85),
        Part(symmetric((0.16, -0.15), (w * 1.25, -0.05, w, 0.26), (w * 0.9, 0.42, 0.16, 0.42))),
        Part(symmetric((0, -0.25), (0.14, -0.25, 0.19, -0.13), (0.1, -0.1, 0, -0.1)), 0.75, "flat"),
        Part(oval(0, -0.29, 0.065, 0.065), 0.75, "flat"),
    ]


def _umbrella(rng: Random) -> list[Part]:
    w, y = rng.uniform(0.46, 0.5), rng.uniform(0.02, 0.06)
    third = w / 3
    scallops = ((w * 0.85, y - 0.08, third, y), (third * 0.5, y - 0.08, 0, y - 0.07))
    middle = ((0, -0.44), (third * 1.1, -0.3, third, y), (third * 0.5, y - 0.08, 0, y - 0.07))
    shaft = line((0, -0.1), (0, 0.38), (0, 0.46, 0.075, 0.46), (0.15, 0.46, 0.15, 0.36))
    return [
        Part(shaft, 0.5, "flat", 0.06),
        Part(box(-0.03, -0.5, 0.06, 0.1, 0.02), 0.5, "flat"),
        Part(symmetric((0, -0.44), (w * 0.95, -0.42, w, y), *scallops)),
        Part(symmetric(*middle), 0.78),
    ]


def _guitar(rng: Random) -> list[Part]:
    w = rng.uniform(0.25, 0.29)
    lobes = ((0.05, -0.1), (w * 0.8, -0.13, w * 0.72, 0.02), (w * 0.55, 0.1, w * 0.8, 0.15))
    lower = ((w * 1.15, 0.24, w, 0.36), (w * 0.8, 0.5, 0, 0.5))
    return [
        Part(symmetric(*lobes, *lower), gleam=(0.28, 0.7)),
        Part(box(-0.045, -0.4, 0.09, 0.42, 0.01), 0.45, "flat"),
        Part(symmetric((0.09, -0.5), (0.07, -0.34)), 0.7, "flat"),
        Part(oval(0, 0.09, 0.115, 0.115), 1.8, "flat"),
        Part(oval(0, 0.09, 0.08, 0.08), finish="dark"),
        Part(box(-0.11, 0.3, 0.22, 0.065, 0.015), 0.4, "flat"),
    ]


def _camera(rng: Random) -> list[Part]:
    h = rng.uniform(0.23, 0.27)
    return [
        Part(symmetric((0.1, -h - 0.13), (0.17, -h + 0.05)), 0.7, "flat"),
        Part(box(0.27, -h - 0.06, 0.13, 0.1, 0.02), 0.5, "flat"),
        Part(box(-0.48, -h, 0.96, 2 * h + 0.08, 0.07)),
        Part(oval(0, 0.05, 0.235, 0.235), 0.55, "flat"),
        Part(oval(0, 0.05, 0.165, 0.165), finish="dark"),
        Part(oval(-0.05, 0.0, 0.06, 0.06), finish="lens"),
    ]


def _dress(rng: Random) -> list[Part]:
    w, waist = rng.uniform(0.34, 0.4), rng.uniform(0.13, 0.15)
    right = ((0, -0.33), (0.06, -0.34, 0.09, -0.5), (0.17, -0.5), (0.15, -0.36, 0.19, -0.3))
    skirt = ((waist, -0.06), (w * 0.7, 0.18, w, 0.46), (w * 0.5, 0.5, 0, 0.5))
    belt = symmetric((waist + 0.008, -0.1), (waist + 0.02, -0.025))
    return [Part(symmetric(*right, *skirt), gleam=(0.4, 0.68)), Part(belt, 0.5, "flat")]


def _suitcase(rng: Random) -> list[Part]:
    w = rng.uniform(0.29, 0.33)
    handle = line((-0.13, -0.2), (-0.13, -0.46), (0.13, -0.46), (0.13, -0.2))
    return [
        Part(handle, 0.5, "flat", 0.065),
        Part(oval(-w + 0.09, 0.45, 0.06, 0.055), finish="dark"),
        Part(oval(w - 0.09, 0.45, 0.06, 0.055), finish="dark"),
        Part(box(-w, -0.26, 2 * w, 0.7, 0.08), gleam=(0.47, 0.34)),
        Part(box(-w * 0.52, -0.26, 0.06, 0.7, 0), 0.62, "flat"),
        Part(box(w * 0.52 - 0.06, -0.26, 0.06, 0.7, 0), 0.62, "flat"),
    ]


def _candle(rng: Random) -> list[Part]:
    w, h = rng.uniform(0.2, 0.24), rng.uniform(0.1, 0.14)
    flame = ((0, -0.5), (0.1, -0.36, 0.085, -0.28), (0.07, -0.19, 0, -0.19))
    return [
        Part(symmetric((w, -h), (w, 0.45), (w, 0.5, 0, 0.5))),
        Part(oval(0, -h, w, 0.065), 1.3, "flat"),
        Part(line((0, -h), (0, -0.24)), 0.3, "dark", 0.05),
        Part(symmetric(*flame), finish="flame"),
    ]


def _headphones(rng: Random) -> list[Part]:
    w, top = rng.uniform(0.34, 0.37), rng.uniform(-0.47, -0.44)
    band = ((-w, 0.16), (-w - 0.04, top, 0, top), (w + 0.04, top, w, 0.16))
    arc = line(band[0], (-w, top * 0.3, -w * 0.8, top, 0, top), (w * 0.8, top, w, top * 0.3, w, 0.16))
    return [
        Part(arc, 0.9, stroke=0.11),
        Part(box(-w + 0.06, 0.07, 0.11, 0.32, 0.05), 0.42, "flat"),
        Part(box(w - 0.17, 0.07, 0.11, 0.32, 0.05), 0.42, "flat"),
        Part(box(-w - 0.13, 0.0, 0.23, 0.46, 0.1)),
        Part(box(w - 0.1, 0.0, 0.23, 0.46, 0.1)),
    ]


def _stretched(point: tuple[float, ...], factor: float) -> tuple[float, ...]:
    return tuple(v * factor if i % 2 == 0 else v for i, v in enumerate(point))


_FEET: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "mug": (0.5, 0.28), "sneaker": (0.36, 0.48), "lamp": (0.5, 0.24), "chair": (0.5, 0.38), "bottle": (0.5, 0.2),
        "bag": (0.5, 0.38), "watch": (0.5, 0.14), "vase": (0.5, 0.16), "hat": (0.33, 0.46), "book": (0.5, 0.36),
        "sofa": (0.38, 0.46), "shirt": (0.48, 0.3), "teapot": (0.42, 0.24), "umbrella": (0.49, 0.14),
        "guitar": (0.5, 0.22), "camera": (0.33, 0.46), "dress": (0.49, 0.34), "suitcase": (0.5, 0.3),
        "candle": (0.5, 0.22), "headphones": (0.46, 0.42),
    }
)  # fmt: skip

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
        "teapot": _teapot,
        "umbrella": _umbrella,
        "guitar": _guitar,
        "camera": _camera,
        "dress": _dress,
        "suitcase": _suitcase,
        "candle": _candle,
        "headphones": _headphones,
    }
)
