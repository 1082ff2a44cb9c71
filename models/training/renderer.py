# ruff: noqa: S311 - draws by lot, no secrets
"""Draws a `Scene` with skia: the training pictures of the starter model and the truth its meter is measured on."""

from collections.abc import Callable
from random import Random
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import skia

from models.catalogue.world import BACKGROUNDS, COLOURS, LAYOUTS, SCENES, Layout, Scene
from models.training.backdrops import Stage, draw_backdrop
from models.training.outlines import Part
from models.training.shapes import draw_parts, foot_of
from models.training.surfaces import paint_part
from models.training.tints import WHITE, Colour, argb, jitter, shaded

Pixels: TypeAlias = npt.NDArray[np.uint8]
Overlay: TypeAlias = Callable[[skia.Canvas, list[Part]], None]

#: degrees by which a product lying on the floor is turned
_LYING_ANGLE = -16
#: RGB distance to the backdrop below which a product gets a rim
_NEAR_COLOUR = 105


def render(
    scene: Scene, seed: int, width: int = 128, height: int = 128, overlay: Overlay | None = None
) -> Pixels:
    """Draw a scene; the same (scene, seed, size) gives the same bytes.

    Args:
        scene: what to draw.
        seed: decides proportions, small shifts of hue, place and size.
        width, height: pixels; the product is scaled by the shorter side.
        overlay: paints on each finished product, given its parts, in the product's own square.

    Returns:
        uint8 (height, width, 3), red green blue.
    """
    rng, layout = Random(seed), LAYOUTS[scene.layout]
    pixels: Pixels = np.zeros((height, width, 4), np.uint8)
    surface = skia.Surface(pixels)
    canvas = surface.getCanvas()
    stage = Stage(width=width, height=height, light=scene.light)
    draw_backdrop(canvas, scene.background, layout.from_above, stage, rng)
    _draw_products(canvas, scene, stage, rng, overlay)
    surface.flushAndSubmit()
    order = [2, 1, 0] if skia.kN32_ColorType == skia.kBGRA_8888_ColorType else [0, 1, 2]
    return np.ascontiguousarray(pixels[..., order])  # (H, W, 3)


def _draw_products(
    canvas: skia.Canvas, scene: Scene, stage: Stage, rng: Random, overlay: Overlay | None
) -> None:
    """Each product in its place, all in one colour and of one size."""
    layout = LAYOUTS[scene.layout]
    shift = rng.uniform(-0.03, 0.03)
    y = (layout.centre_y + rng.uniform(-0.02, 0.02)) * stage.height
    alone = len(layout.centres_x) == 1
    scale = layout.scale * (rng.uniform(0.94, 1.06) if alone else rng.uniform(0.92, 0.99)) * stage.short
    colour = jitter(COLOURS[scene.colour], 7, rng)
    if scene.background not in SCENES:
        for centre in layout.centres_x:
            _draw_glow(canvas, (centre + shift) * stage.width, y, scale, scene.light)
    for centre in layout.centres_x:
        canvas.save()
        canvas.translate((centre + (shift if alone else shift / 3)) * stage.width, y)
        canvas.scale(scale, scale)
        parts = _draw_product(canvas, scene, layout, colour, rng)
        if overlay:
            overlay(canvas, parts)
        canvas.restore()


def _draw_product(
    canvas: skia.Canvas, scene: Scene, layout: Layout, colour: Colour, rng: Random
) -> list[Part]:
    """Shadow, rim and parts in the product's own square [-0.5, 0.5]^2; gives back the parts."""
    parts = draw_parts(scene.kind, rng)
    if scene.shadow and not layout.from_above:
        _draw_standing_shadow(canvas, foot_of(scene.kind), scene)
    if scene.shadow and layout.from_above:
        _draw_lying_shadow(canvas, parts, scene)
    if layout.from_above:
        canvas.rotate(_LYING_ANGLE)
    _draw_rim(canvas, parts, colour, BACKGROUNDS[scene.background])
    for part in parts:
        paint_part(canvas, part, colour, scene.material, scene.light)
    return parts


def _draw_glow(canvas: skia.Canvas, x: float, y: float, scale: float, light: str) -> None:
    """The lamp's light on the wall behind the product."""
    centre = skia.Point(x - _towards(light) * scale * 0.45, y - scale * 0.12)
    stops = [argb(WHITE, 60), argb(WHITE, 0)]
    canvas.drawPaint(shaded(skia.GradientShader.MakeRadial(centre, scale * 1.0, stops)))


def _draw_standing_shadow(canvas: skia.Canvas, foot: tuple[float, float], scene: Scene) -> None:
    """A wide soft shadow away from the light, then a dark one where the product touches the floor."""
    (base, half), away, clear = foot, _towards(scene.light), 0.6 if scene.material == "glass" else 1
    for shift, spread, rise, alpha, blur in ((0.15, 0.12, 0.085, 80, 0.06), (0.03, 0.02, 0.038, 125, 0.022)):
        box = skia.Rect.MakeLTRB(
            away * shift - half - spread, base - rise, away * shift + half + spread, base + rise
        )
        canvas.drawOval(box, _blurred(int(alpha * clear), blur))


def _draw_lying_shadow(canvas: skia.Canvas, parts: list[Part], scene: Scene) -> None:
    """The silhouette, blurred and moved away from the light."""
    canvas.saveLayerAlpha(None, 70 if scene.material == "glass" else 110)
    canvas.translate(_towards(scene.light) * 0.06, 0.06 if scene.light != "front" else 0.035)
    canvas.rotate(_LYING_ANGLE)
    paint = _blurred(255, 0.035)
    for part in parts:
        paint.setStyle(skia.Paint.kStroke_Style if part.stroke else skia.Paint.kFill_Style)
        paint.setStrokeWidth(part.stroke)
        canvas.drawPath(part.path, paint)
    canvas.restore()


def _draw_rim(canvas: skia.Canvas, parts: list[Part], colour: Colour, backdrop: Colour) -> None:
    """A soft rim parts a product from a backdrop of nearly its colour."""
    distance = sum((a - b) ** 2 for a, b in zip(colour, backdrop, strict=True)) ** 0.5
    if distance > _NEAR_COLOUR:
        return
    light = sum(backdrop) < 300
    for extra, alpha in ((0.07, 40), (0.035, 70)):
        paint = skia.Paint(AntiAlias=True, Color=argb((228, 231, 240) if light else (62, 62, 72), alpha))
        paint.setStyle(skia.Paint.kStroke_Style)
        for part in parts:
            paint.setStrokeWidth(part.stroke + extra)
            canvas.drawPath(part.path, paint)


def _blurred(alpha: int, blur: float) -> skia.Paint:
    paint = skia.Paint(AntiAlias=True, Color=argb((14, 12, 22), alpha))
    paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
    return paint


def _towards(light: str) -> int:
    """The way shadows fall: 1 is to the right."""
    return {"left": 1, "right": -1, "front": 0}[light]
