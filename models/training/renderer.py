# ruff: noqa: S311 - draws by lot, no secrets
"""Draws a `Scene` with skia: the training pictures of the starter model and the truth its meter is measured on."""

from random import Random
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import skia

from models.catalogue.world import BACKGROUNDS, COLOURS, LAYOUTS, Scene
from models.training.shapes import Part, base_of, draw_parts

Colour: TypeAlias = tuple[float, float, float]
Pixels: TypeAlias = npt.NDArray[np.uint8]

_WHITE: Colour = (255, 255, 255)
_LIGHT_SUM = 600  # red + green + blue above which an accent must be darker, not lighter, to be seen
_DARK_SUM = 150
_PLAIN_COLOURS: dict[str, Colour] = {
    "sole": (234, 234, 228),
    "pages": (234, 234, 228),
    "face": (246, 246, 242),
}


def render(scene: Scene, seed: int, width: int = 128, height: int = 128) -> Pixels:
    """Draw a scene; the same (scene, seed, size) gives the same bytes.

    Args:
        scene: what to draw.
        seed: decides proportions, small shifts of hue, place and size.
        width, height: pixels; the product is scaled by the shorter side.

    Returns:
        uint8 (height, width, 3), red green blue.
    """
    rng = Random(seed)
    pixels: Pixels = np.zeros((height, width, 4), np.uint8)
    surface = skia.Surface(pixels)
    canvas = surface.getCanvas()
    _draw_backdrop(canvas, scene, rng, height)
    _place_product(canvas, scene, rng, width, height)
    colour = _jitter(COLOURS[scene.colour], 7, rng)
    _draw_shadow(canvas, base_of(scene.kind))
    parts = draw_parts(scene.kind, rng)
    _draw_rim(canvas, parts, colour)
    for part in parts:
        _draw_part(canvas, part, colour, scene.material)
    surface.flushAndSubmit()
    order = [2, 1, 0] if skia.kN32_ColorType == skia.kBGRA_8888_ColorType else [0, 1, 2]
    return np.ascontiguousarray(pixels[..., order])  # (H, W, 3)


def _draw_backdrop(canvas: skia.Canvas, scene: Scene, rng: Random, height: int) -> None:
    """A studio sweep: lit wall, soft horizon, slightly darker floor. It changes with height only."""
    base = _jitter(BACKGROUNDS[scene.background], 5, rng)
    horizon = rng.uniform(0.62, 0.72)
    stops = [_rgb(_times(base, f)) for f in (0.95, 1.03, 0.85, 0.97)]
    ends = [skia.Point(0, 0), skia.Point(0, height)]
    paint = skia.Paint(AntiAlias=True, Dither=False)
    paint.setShader(skia.GradientShader.MakeLinear(ends, stops, [0, horizon - 0.07, horizon + 0.03, 1]))
    canvas.drawPaint(paint)


def _place_product(canvas: skia.Canvas, scene: Scene, rng: Random, width: int, height: int) -> None:
    """Move the canvas so that [-0.5, 0.5]^2 is the product's box, after a glow behind it."""
    layout, short = LAYOUTS[scene.layout], min(width, height)
    x = (layout.centre_x + rng.uniform(-0.03, 0.03)) * width
    y = (layout.centre_y + rng.uniform(-0.02, 0.02)) * height
    scale = layout.scale * rng.uniform(0.94, 1.06) * short
    glow = skia.Paint(AntiAlias=True)
    stops = [skia.Color(255, 255, 255, 52), skia.Color(255, 255, 255, 0)]
    glow.setShader(skia.GradientShader.MakeRadial(skia.Point(x, y * 0.9), short * 0.6, stops))
    canvas.drawPaint(glow)
    canvas.translate(x, y)
    canvas.scale(scale, scale)


def _draw_shadow(canvas: skia.Canvas, base: float) -> None:
    """A wide soft shadow, then a dark one where the product touches the floor; light comes from the left."""
    for x, y, width, height, alpha, blur in (
        (-0.42, base - 0.07, 0.98, 0.15, 64, 0.06),
        (-0.36, base - 0.035, 0.76, 0.075, 105, 0.02),
    ):
        paint = skia.Paint(AntiAlias=True, Color=skia.Color(0, 0, 0, alpha))
        paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
        canvas.drawOval(skia.Rect.MakeXYWH(x, y, width, height), paint)


def _draw_rim(canvas: skia.Canvas, parts: list[Part], colour: Colour) -> None:
    """White and black products get a soft rim, so that they part from a light or a dark backdrop."""
    if _DARK_SUM < sum(colour) < _LIGHT_SUM:
        return
    rim = skia.Color(70, 72, 80, 120) if sum(colour) >= _LIGHT_SUM else skia.Color(225, 228, 238, 90)
    paint = skia.Paint(AntiAlias=True, Color=rim)
    paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, 0.018))
    paint.setStyle(skia.Paint.kStroke_Style)
    for part in parts:
        paint.setStrokeWidth(0.13 if part.finish == "ring" else 0.05)
        canvas.drawPath(part.path, paint)


def _draw_part(canvas: skia.Canvas, part: Part, colour: Colour, material: str) -> None:
    """Fill one outline in its finish; only bodies show the material."""
    paint = skia.Paint(AntiAlias=True)
    if part.finish in _PLAIN_COLOURS:
        paint.setColor(_rgb(_PLAIN_COLOURS[part.finish]))
        canvas.drawPath(part.path, paint)
        if part.finish == "face":
            _draw_hands(canvas)
        return
    tone = _tone(colour, part.shade)
    paint.setColor(_rgb(tone))
    if part.finish == "ring":
        paint.setStyle(skia.Paint.kStroke_Style)
        paint.setStrokeWidth(0.08)
    if part.finish == "body":
        bounds = part.path.getBounds()
        paint.setShader(_shading(tone, material, bounds.left(), bounds.right()))
    canvas.drawPath(part.path, paint)
    if part.finish == "body" and material == "wooden":
        _draw_grain(canvas, part.path, tone)
    if part.finish == "body" and material == "glossy":
        _draw_highlight(canvas, part.path)


def _tone(colour: Colour, shade: float) -> Colour:
    if shade <= 1.2:
        return _times(colour, shade)
    return _times(colour, 0.72) if sum(colour) >= _LIGHT_SUM else _mix(colour, _WHITE, 0.55)


def _shading(tone: Colour, material: str, left: float, right: float) -> skia.Shader:
    """Light from the left across one part; metal shows bands."""
    if material == "metallic":
        stops = [
            _times(tone, 0.5),
            _mix(tone, _WHITE, 0.75),
            _times(tone, 0.7),
            _mix(tone, _WHITE, 0.35),
            _times(tone, 0.4),
        ]
        places = [0.0, 0.25, 0.5, 0.75, 1.0]
    elif material == "glossy":
        stops, places = (
            [_times(tone, 0.8), _mix(tone, _WHITE, 0.3), tone, _times(tone, 0.5)],
            [0.0, 0.3, 0.6, 1.0],
        )
    else:
        stops, places = [_mix(tone, _WHITE, 0.22), tone, _times(tone, 0.62)], [0.0, 0.5, 1.0]
    return skia.GradientShader.MakeLinear(
        [skia.Point(left, 0), skia.Point(right, 0)], [_rgb(c) for c in stops], places
    )


def _draw_hands(canvas: skia.Canvas) -> None:
    """Ten past ten, as watches are photographed."""
    paint = skia.Paint(AntiAlias=True, Color=skia.Color(30, 30, 30))
    paint.setStrokeWidth(0.042)
    paint.setStrokeCap(skia.Paint.kRound_Cap)
    canvas.drawLine(0, 0.02, -0.08, -0.07, paint)
    canvas.drawLine(0, 0.02, 0.11, -0.1, paint)


def _draw_grain(canvas: skia.Canvas, path: skia.Path, tone: Colour) -> None:
    """Wavy lines about 0.05 wide (2.5 px or more at 128): thinner grain does not survive the autoencoder."""
    bounds = path.getBounds()
    canvas.save()
    canvas.clipPath(path, True)
    paint = skia.Paint(AntiAlias=True, Color=_rgb(_times(tone, 0.58), 130))
    paint.setStyle(skia.Paint.kStroke_Style)
    paint.setStrokeWidth(0.048)
    y = bounds.top() - 0.05
    while y < bounds.bottom():
        y += 0.135
        line = skia.Path()
        line.moveTo(bounds.left(), y)
        line.cubicTo(bounds.left() * 0.3, y + 0.05, bounds.right() * 0.3, y - 0.05, bounds.right(), y)
        canvas.drawPath(line, paint)
    canvas.restore()


def _draw_highlight(canvas: skia.Canvas, path: skia.Path) -> None:
    """The window reflected in gloss: an upright soft white bar on the lit side."""
    bounds = path.getBounds()
    left, top = bounds.left() + bounds.width() * 0.18, bounds.top() + bounds.height() * 0.12
    bar = skia.Rect.MakeXYWH(left, top, bounds.width() * 0.1, bounds.height() * 0.5)
    canvas.save()
    canvas.clipPath(path, True)
    paint = skia.Paint(AntiAlias=True, Color=skia.Color(255, 255, 255, 200))
    paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, 0.01))
    canvas.drawRoundRect(bar, 0.03, 0.03, paint)
    canvas.restore()


def _jitter(colour: Colour, amount: float, rng: Random) -> Colour:
    """Shift brightness by up to `amount` and hue by less: gray must stay gray."""
    shift = rng.uniform(-amount, amount)
    r, g, b = (v + shift + rng.uniform(-amount, amount) / 3 for v in colour)
    return r, g, b


def _times(colour: Colour, factor: float) -> Colour:
    r, g, b = colour
    return r * factor, g * factor, b * factor


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    """`share` 0 is a, 1 is b."""
    return tuple(x * (1 - share) + y * share for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def _rgb(colour: Colour, alpha: int = 255) -> int:
    r, g, b = (int(max(0, min(255, v))) for v in colour)
    return int(skia.Color(r, g, b, alpha))
