"""How materials look: a shading that follows the light, and for each material a mark of its own.

Marks are told apart by shape, not by colour, so that they hold for black and white products too: metal has upright bands,
gloss a bright window, wood level grain, a weave a chequer, glass lets the backdrop through between dense edges, and matte
has none of these. Nothing is finer than 0.05 of the product, which is what the autoencoder keeps.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import skia

from models.training.outlines import Part
from models.training.tints import WHITE, Colour, argb, capped, mix, shaded, times

Stops: TypeAlias = list[tuple[float, int]]
Floats: TypeAlias = npt.NDArray[np.float64]

_LIGHT_SUM = 600  # red + green + blue above which an accent must be darker, not lighter, to be seen
_DARK_SUM = 150  # below which dark grain cannot be seen
_GRAIN_PERIOD, _WEAVE_PERIOD = 0.56, 0.32
_PLAIN: Mapping[str, Colour] = MappingProxyType(
    {"light": (236, 236, 230), "face": (248, 248, 244), "dark": (40, 40, 46), "lens": (128, 158, 204)}
)


def paint_part(canvas: skia.Canvas, part: Part, colour: Colour, material: str, light: str) -> None:
    """Fill one outline in its finish; only bodies show the material."""
    tone = _tone(colour, part.shade)
    if part.finish == "body":
        _BODIES[material](canvas, part, tone, light)
    elif part.finish == "flat":
        stops = [(0.0, argb(mix(tone, WHITE, 0.12))), (1.0, argb(times(tone, 0.78)))]
        _fill(canvas, part, _across(part.path.getBounds(), stops, light))
    elif part.finish == "flame":
        _draw_flame(canvas, part)
    else:
        _fill(canvas, part, skia.Paint(AntiAlias=True, Color=argb(_PLAIN[part.finish])))
        if part.finish == "face":
            _draw_hands(canvas)


def _matte(canvas: skia.Canvas, part: Part, tone: Colour, light: str) -> None:
    _fill(canvas, part, _across(part.path.getBounds(), _soft_stops(tone), light))


def _glossy(canvas: skia.Canvas, part: Part, tone: Colour, light: str) -> None:
    """A bright window on the lit side, and a narrow reflection on the other."""
    tone, bounds = capped(tone, 206), part.path.getBounds()
    stops = [(0.0, argb(times(tone, 0.86))), (0.3, argb(mix(tone, WHITE, 0.16))), (0.62, argb(times(tone, 0.92))),
             (1.0, argb(times(tone, 0.44)))]  # fmt: skip
    _fill(canvas, part, _across(bounds, stops, light))
    if light == "front":
        _fill(canvas, part, _gleam(bounds, (0.5, part.gleam[1] * 0.75), (0.28, 0.16), 245))
        _fill(canvas, part, _gleam(bounds, (0.5, 0.92), (0.3, 0.05), 110))
    else:
        _fill(canvas, part, _gleam(bounds, _lit_place(part, light), (0.13, 0.28), 245))
        far = 0.87 if light == "left" else 0.13
        _fill(canvas, part, _gleam(bounds, (far, 0.55), (0.045, 0.32), 110))


def _metallic(canvas: skia.Canvas, part: Part, tone: Colour, light: str) -> None:
    tone = capped(tone, 226)
    bands = ((0.0, 0.55, 0), (0.16, 0, 0.78), (0.36, 0.62, 0), (0.56, 0, 0.5), (0.78, 0.42, 0), (1.0, 0, 0.3))
    stops = [
        (place, argb(times(tone, dark) if dark else mix(tone, WHITE, white))) for place, dark, white in bands
    ]
    _fill(canvas, part, _across(part.path.getBounds(), stops, light))


def _wooden(canvas: skia.Canvas, part: Part, tone: Colour, light: str) -> None:
    _matte(canvas, part, tone, light)
    _fill(canvas, part, shaded(_tiled(_grain(sum(tone) < _DARK_SUM), _GRAIN_PERIOD)))


def _woven(canvas: skia.Canvas, part: Part, tone: Colour, light: str) -> None:
    _matte(canvas, part, tone, light)
    _fill(canvas, part, shaded(_tiled(_weave(), _WEAVE_PERIOD)))


def _glass(canvas: skia.Canvas, part: Part, tone: Colour, light: str) -> None:
    """Dense at the edges where one looks along the wall, clear in the middle; a dark outline and a bright inner one."""
    bounds = part.path.getBounds()
    edge, clear = times(capped(tone, 200), 0.82), mix(tone, WHITE, 0.25)
    stops = [(0.0, argb(edge, 235)), (0.2, argb(clear, 120)), (0.6, argb(clear, 95)), (0.82, argb(tone, 150)),
             (1.0, argb(edge, 240))]  # fmt: skip
    _fill(canvas, part, _across(bounds, stops, light))
    if part.stroke:
        return
    canvas.drawPath(part.path, _stroke(argb(times(capped(tone, 190), 0.7), 230), 0.035))
    canvas.save()
    canvas.translate(bounds.centerX(), bounds.centerY())
    canvas.scale(1 - min(0.3, 0.085 / bounds.width()), 1 - min(0.3, 0.085 / bounds.height()))
    canvas.translate(-bounds.centerX(), -bounds.centerY())
    canvas.drawPath(part.path, _stroke(argb(WHITE, 165), 0.026))
    canvas.restore()
    _fill(canvas, part, _gleam(bounds, _lit_place(part, light), (0.07, 0.24), 215))


def _soft_stops(tone: Colour) -> Stops:
    return [(0.0, argb(mix(tone, WHITE, 0.14))), (0.45, argb(tone)), (1.0, argb(times(tone, 0.66)))]


def _across(bounds: skia.Rect, stops: Stops, light: str) -> skia.Paint:
    """A gradient from the lit side of a part to its far side; from the middle to both sides in front light."""
    left, right = bounds.left(), bounds.right()
    if light == "right":
        left, right = right, left
    if light == "front":
        left -= (right - left) * 0.08
        right += (bounds.right() - bounds.left()) * 0.08
        stops = [((1 - p) / 2, c) for p, c in reversed(stops)] + [((1 + p) / 2, c) for p, c in stops[1:]]
    ends = [skia.Point(left, 0), skia.Point(right, 0)]
    return shaded(skia.GradientShader.MakeLinear(ends, [c for _, c in stops], [p for p, _ in stops]))


def _gleam(
    bounds: skia.Rect, place: tuple[float, float], radii: tuple[float, float], alpha: int
) -> skia.Paint:
    """An oval of white light; place and radii are fractions of the part's box."""
    matrix = skia.Matrix.Translate(
        bounds.left() + place[0] * bounds.width(), bounds.top() + place[1] * bounds.height()
    )
    matrix.preScale(max(radii[0] * bounds.width(), 0.02), max(radii[1] * bounds.height(), 0.02))
    colours = [argb(WHITE, alpha), argb(WHITE, alpha), argb(WHITE, 0)]
    return shaded(
        skia.GradientShader.MakeRadial(skia.Point(0, 0), 1, colours, [0, 0.6, 1], localMatrix=matrix)
    )


def _lit_place(part: Part, light: str) -> tuple[float, float]:
    """Where the light is mirrored, as fractions of the part's box."""
    x, y = part.gleam
    return {"left": x, "right": 1 - x, "front": 0.5}[light], y


def _fill(canvas: skia.Canvas, part: Part, paint: skia.Paint) -> None:
    if part.stroke:
        paint.setStyle(skia.Paint.kStroke_Style)
        paint.setStrokeWidth(part.stroke)
        paint.setStrokeCap(skia.Paint.kRound_Cap)
    canvas.drawPath(part.path, paint)


def _stroke(colour: int, width: float) -> skia.Paint:
    paint = skia.Paint(AntiAlias=True, Color=colour)
    paint.setStyle(skia.Paint.kStroke_Style)
    paint.setStrokeWidth(width)
    return paint


def _tone(colour: Colour, shade: float) -> Colour:
    if shade <= 1.2:
        return times(colour, shade)
    return times(colour, 0.72) if sum(colour) >= _LIGHT_SUM else mix(colour, WHITE, 0.55)


def _draw_flame(canvas: skia.Canvas, part: Part) -> None:
    """A glow, then a flame that is white at its heart."""
    bounds = part.path.getBounds()
    centre = skia.Point(bounds.centerX(), bounds.top() + bounds.height() * 0.66)
    glow = [argb((255, 190, 70), 110), argb((255, 190, 70), 0)]
    canvas.drawCircle(centre, 0.22, shaded(skia.GradientShader.MakeRadial(centre, 0.22, glow)))
    colours = [argb((255, 250, 214)), argb((255, 206, 64)), argb((247, 120, 20))]
    canvas.drawPath(
        part.path, shaded(skia.GradientShader.MakeRadial(centre, bounds.height() * 0.6, colours, [0, 0.4, 1]))
    )


def _draw_hands(canvas: skia.Canvas) -> None:
    """Ten past ten, as watches are photographed."""
    paint = _stroke(argb((30, 30, 34)), 0.05)
    paint.setStrokeCap(skia.Paint.kRound_Cap)
    canvas.drawLine(0, 0.02, -0.09, -0.07, paint)
    canvas.drawLine(0, 0.02, 0.11, -0.09, paint)


def _tiled(tile: skia.Image, period: float) -> skia.Shader:
    matrix = skia.Matrix.Scale(period / tile.width(), period / tile.height())
    repeat, smooth = skia.TileMode.kRepeat, skia.SamplingOptions(skia.FilterMode.kLinear)
    return tile.makeShader(repeat, repeat, smooth, matrix)


@lru_cache(maxsize=2)
def _grain(pale: bool) -> skia.Image:
    """Four gently waving rings, sharp on one side and fading out on the other, as a board shows them; pale on black."""
    y, x = np.mgrid[0:64, 0:64] / 64
    wave = 0.028 * np.sin(2 * np.pi * x + 1) + 0.012 * np.sin(2 * np.pi * (2 * x + y))
    ring = (4 * (y + wave) + 0.3 * np.sin(2 * np.pi * (y + wave))) % 1  # (64, 64)
    dark = np.clip(1 - ring / 0.62, 0, 1) * np.clip(ring / 0.1, 0, 1)
    if pale:
        return _overlay(np.zeros_like(ring), 0.4 * dark, (0, 0, 0))
    return _overlay(0.66 * dark, 0.2 * np.clip(1 - abs(ring - 0.82) / 0.14, 0, 1), (44, 20, 6))


@lru_cache(maxsize=1)
def _weave() -> skia.Image:
    """Two by two cells: level strands catch the light, upright ones lie in shade."""
    y, x = np.mgrid[0:16, 0:16] / 8 % 1
    level = np.kron([[1, 0], [0, 1]], np.ones((8, 8)))  # (16, 16)
    bulge_y, bulge_x = np.sin(np.pi * (y + 1 / 16)), np.sin(np.pi * (x + 1 / 16))
    return _overlay(
        np.where(level, 0.12 * (1 - bulge_y), 0.54 - 0.2 * bulge_x), level * 0.4 * bulge_y, (10, 8, 14)
    )


def _overlay(dark: Floats, light: Floats, tint: Colour) -> skia.Image:
    """An image that darkens towards `tint` by `dark` and lightens by `light`, both (H, W) in [0, 1]."""
    colour = np.where((light > dark)[..., None], WHITE, tint)  # (H, W, 3)
    alpha = 255 * np.maximum(dark, light)[..., None]
    pixels = np.concatenate([colour, alpha], axis=-1).astype(np.uint8)
    return skia.Image.fromarray(pixels, colorType=skia.kRGBA_8888_ColorType)


_BODIES: Mapping[str, Callable[[skia.Canvas, Part, Colour, str], None]] = MappingProxyType(
    {
        "matte": _matte,
        "glossy": _glossy,
        "metallic": _metallic,
        "wooden": _wooden,
        "glass": _glass,
        "woven": _woven,
    }
)
