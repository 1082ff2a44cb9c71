"""Arithmetic on colours as three floats from 0 to 255."""

from random import Random
from typing import TypeAlias

import skia

Colour: TypeAlias = tuple[float, float, float]

WHITE: Colour = (255, 255, 255)


def times(colour: Colour, factor: float) -> Colour:
    """Darker below 1, lighter above."""
    r, g, b = colour
    return r * factor, g * factor, b * factor


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`share` 0 is a, 1 is b."""
    keep = 1 - share
    return a[0] * keep + b[0] * share, a[1] * keep + b[1] * share, a[2] * keep + b[2] * share


def capped(colour: Colour, peak: float) -> Colour:
    """The colour, darkened until no channel is above `peak`: a highlight needs something to stand out from."""
    return times(colour, min(1, peak / max(colour)))


def jitter(colour: Colour, amount: float, rng: Random) -> Colour:
    """Shift brightness by up to `amount` and hue by less: gray must stay gray."""
    shift = rng.uniform(-amount, amount)
    r, g, b = (v + shift + rng.uniform(-amount, amount) / 4 for v in colour)
    return r, g, b


def argb(colour: Colour, alpha: int = 255) -> int:
    """Skia's packed colour; channels are clipped."""
    r, g, b = (int(max(0, min(255, v))) for v in colour)
    return alpha << 24 | r << 16 | g << 8 | b


def shaded(shader: skia.Shader) -> skia.Paint:
    """A smooth paint from a shader."""
    paint = skia.Paint(AntiAlias=True)
    paint.setShader(shader)
    return paint
