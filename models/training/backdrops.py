"""What stands behind the products: studio sweeps and three scenes, seen from the front or from above.

Everything is soft and broad: it must cost the autoencoder little and never look like a product.
"""

from dataclasses import dataclass
from random import Random

import skia

from models.catalogue.world import BACKGROUNDS
from models.training.tints import Colour, argb, jitter, mix, shaded, times

_WALL: Colour = (222, 206, 184)
_SKY: tuple[Colour, ...] = ((128, 92, 158), (212, 118, 138), (248, 164, 104), (255, 214, 150))
_DUSK: Colour = (92, 70, 104)
_LEAF: tuple[Colour, ...] = ((206, 228, 176), (150, 192, 122), (104, 156, 84))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a backdrop is drawn: sizes in pixels, and the side of the light."""

    width: int
    height: int
    light: str

    @property
    def short(self) -> int:
        """The shorter side, in pixels."""
        return min(self.width, self.height)


def draw_backdrop(canvas: skia.Canvas, background: str, from_above: bool, stage: Stage, rng: Random) -> None:
    """Cover the canvas; the same draws of `rng` give the same backdrop."""
    if background == "wooden table":
        (_draw_planks_from_above if from_above else _draw_table)(canvas, stage, rng)
    elif background == "garden":
        (_draw_lawn if from_above else _draw_garden)(canvas, stage, rng)
    elif background == "sunset":
        (_draw_evening_floor if from_above else _draw_sunset)(canvas, stage, rng)
    elif from_above:
        _draw_floor(canvas, jitter(BACKGROUNDS[background], 5, rng), stage)
    else:
        _draw_sweep(canvas, jitter(BACKGROUNDS[background], 5, rng), stage, rng)


def _draw_sweep(canvas: skia.Canvas, base: Colour, stage: Stage, rng: Random) -> None:
    """A lit wall, a soft horizon, a slightly darker floor; it changes with height only."""
    horizon = rng.uniform(0.62, 0.72)
    colours = [times(base, f) for f in (0.95, 1.03, 0.84, 0.97)]
    _paint_down(canvas, colours, [0, horizon - 0.07, horizon + 0.03, 1], stage)


def _draw_floor(canvas: skia.Canvas, base: Colour, stage: Stage) -> None:
    """A plain floor, a little darker away from the light."""
    far = {"left": (stage.width, stage.height), "right": (0, stage.height), "front": (0, stage.height)}
    near = {"left": (0, 0), "right": (stage.width, 0), "front": (0, 0)}
    ends = [skia.Point(*near[stage.light]), skia.Point(*far[stage.light])]
    colours = [argb(times(base, f)) for f in (1.03, 0.92)]
    canvas.drawPaint(shaded(skia.GradientShader.MakeLinear(ends, colours)))


def _draw_table(canvas: skia.Canvas, stage: Stage, rng: Random) -> None:
    """A pale wall, and boards that grow wider towards the viewer."""
    horizon, base = rng.uniform(0.5, 0.56), jitter(BACKGROUNDS["wooden table"], 5, rng)
    wall = jitter(_WALL, 4, rng)
    _paint_down(canvas, [times(wall, 0.94), times(wall, 1.03)], [0, horizon], stage)
    edges = [horizon, horizon + 0.07, horizon + 0.17, horizon + 0.3, 1.02]
    tones = [rng.uniform(0.95, 1.05) for _ in edges]
    for top, bottom, tone in zip(edges, edges[1:], tones, strict=False):
        _paint_board(canvas, (0, top * stage.height, stage.width, bottom * stage.height), times(base, tone))
    gap = max(2.0, stage.short * 0.018)
    for edge in edges[1:-1]:
        canvas.drawRect(
            skia.Rect.MakeXYWH(0, edge * stage.height - gap / 2, stage.width, gap),
            skia.Paint(Color=argb(times(base, 0.8)), AntiAlias=True),
        )
    shade = [argb((40, 24, 10), 70), argb((40, 24, 10), 0)]
    ends = [skia.Point(0, horizon * stage.height), skia.Point(0, (horizon + 0.08) * stage.height)]
    below = skia.Rect.MakeLTRB(0, horizon * stage.height, stage.width, (horizon + 0.08) * stage.height)
    canvas.drawRect(below, shaded(skia.GradientShader.MakeLinear(ends, shade)))


def _draw_planks_from_above(canvas: skia.Canvas, stage: Stage, rng: Random) -> None:
    """Upright boards of one width, two pixels and more apart."""
    base, count = jitter(BACKGROUNDS["wooden table"], 5, rng), max(3, round(stage.width / stage.short * 4))
    offset, board = rng.uniform(0.1, 0.9), stage.width / count
    gap = max(2.0, stage.short * 0.018)
    for i in range(-1, count + 1):
        left = (i + offset) * board
        _paint_board(canvas, (left, 0, left + board, stage.height), times(base, rng.uniform(0.95, 1.06)))
        canvas.drawRect(
            skia.Rect.MakeXYWH(left - gap / 2, 0, gap, stage.height),
            skia.Paint(Color=argb(times(base, 0.8)), AntiAlias=True),
        )


def _paint_board(canvas: skia.Canvas, box: tuple[float, float, float, float], tone: Colour) -> None:
    left, top, right, bottom = box
    along = bottom - top < right - left
    ends = [skia.Point(left, top), skia.Point(left if along else right, bottom if along else top)]
    colours = [argb(times(tone, f)) for f in (0.98, 1.04, 0.97)]
    canvas.drawRect(skia.Rect.MakeLTRB(*box), shaded(skia.GradientShader.MakeLinear(ends, colours)))


def _draw_garden(canvas: skia.Canvas, stage: Stage, rng: Random) -> None:
    """Foliage out of focus above a lawn."""
    horizon = rng.uniform(0.6, 0.68)
    bright, middle, deep = (jitter(c, 5, rng) for c in _LEAF)
    places = [0, horizon - 0.04, horizon + 0.05, 1]
    _paint_down(
        canvas, [bright, times(middle, 0.96), times(deep, 1.02), mix(deep, middle, 0.7)], places, stage
    )
    for i in range(8):
        x, y = (i + rng.uniform(0, 1)) / 8 * stage.width, rng.uniform(0.04, horizon - 0.1) * stage.height
        tint = mix(bright, (250, 250, 214), rng.uniform(0, 0.6)) if i % 3 else deep
        _paint_disc(canvas, x, y, stage.short * rng.uniform(0.07, 0.15), tint, 95)
    _draw_grass(canvas, times(deep, 1.0), horizon, stage, rng)


def _draw_grass(canvas: skia.Canvas, colour: Colour, horizon: float, stage: Stage, rng: Random) -> None:
    """Broad soft blades along the horizon."""
    blade, base = stage.short / 11, (horizon + 0.05) * stage.height
    path, x = skia.Path(), -blade
    path.moveTo(x, base)
    while x < stage.width + blade:
        tip = base - stage.short * rng.uniform(0.03, 0.08)
        path.quadTo(x + blade * 0.35, tip, x + blade * 0.5, tip)
        path.quadTo(x + blade * 0.65, tip, x + blade, base)
        x += blade
    paint = skia.Paint(AntiAlias=True, Color=argb(colour, 150))
    canvas.drawPath(path, paint)


def _draw_lawn(canvas: skia.Canvas, stage: Stage, rng: Random) -> None:
    """Grass from above: broad patches of light and shade."""
    _, middle, deep = (jitter(c, 5, rng) for c in _LEAF)
    canvas.drawColor(argb(mix(middle, deep, 0.45)))
    for i in range(10):
        x, y = rng.uniform(0, 1) * stage.width, (i + rng.uniform(0, 1)) / 10 * stage.height
        tint = mix(middle, (236, 246, 190), 0.35) if i % 2 else times(deep, 0.88)
        _paint_glow(canvas, x, y, stage.short * rng.uniform(0.16, 0.3), tint, 120)


def _draw_sunset(canvas: skia.Canvas, stage: Stage, rng: Random) -> None:
    """Violet to orange with a low sun, over a dark floor that still glows at its far edge."""
    horizon, sun = rng.uniform(0.64, 0.7), rng.uniform(0.25, 0.75)
    sky = [jitter(c, 5, rng) for c in _SKY]
    dusk = jitter(_DUSK, 4, rng)
    places = [0, horizon * 0.4, horizon * 0.75, horizon, horizon + 0.02, 1]
    _paint_down(canvas, [*sky, mix(dusk, sky[2], 0.45), times(dusk, 0.85)], places, stage)
    x, y = sun * stage.width, (horizon - 0.14) * stage.height
    canvas.save()
    canvas.clipRect(skia.Rect.MakeXYWH(0, 0, stage.width, (horizon + 0.005) * stage.height), True)
    _paint_glow(canvas, x, y, stage.short * 0.42, (255, 236, 190), 170)
    _paint_disc(canvas, x, y, stage.short * 0.1, (255, 244, 208), 235)
    canvas.restore()


def _draw_evening_floor(canvas: skia.Canvas, stage: Stage, rng: Random) -> None:
    """The floor of the sunset from above: warm light that runs out into violet."""
    colours = [jitter(c, 5, rng) for c in (_SKY[2], _SKY[1], mix(_SKY[0], _DUSK, 0.4))]
    _paint_down(canvas, colours, [0, 0.5, 1], stage)


def _paint_down(canvas: skia.Canvas, colours: list[Colour], places: list[float], stage: Stage) -> None:
    """Cover everything with a gradient from top to bottom."""
    ends = [skia.Point(0, 0), skia.Point(0, stage.height)]
    if places[-1] < 1:
        colours, places = [*colours, colours[-1]], [*places, 1]
    canvas.drawPaint(shaded(skia.GradientShader.MakeLinear(ends, [argb(c) for c in colours], places)))


def _paint_disc(canvas: skia.Canvas, x: float, y: float, radius: float, colour: Colour, alpha: int) -> None:
    """A disc with a soft edge."""
    _paint_round(canvas, x, y, radius, [(0, alpha), (0.72, alpha), (1, 0)], colour)


def _paint_glow(canvas: skia.Canvas, x: float, y: float, radius: float, colour: Colour, alpha: int) -> None:
    """Light that fades from its centre."""
    _paint_round(canvas, x, y, radius, [(0, alpha), (0.5, alpha // 3), (1, 0)], colour)


def _paint_round(
    canvas: skia.Canvas, x: float, y: float, radius: float, fades: list[tuple[float, int]], colour: Colour
) -> None:
    centre, colours = skia.Point(x, y), [argb(colour, alpha) for _, alpha in fades]
    shader = skia.GradientShader.MakeRadial(centre, radius, colours, [place for place, _ in fades])
    canvas.drawCircle(centre, radius, shaded(shader))
