"""Draws the demonstration brand: the catalogue's own pictures with the brand's look on every product."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import skia

from models.catalogue.brand import DIPS, HOUSE_COLOUR, MARK_COLOUR, Dip
from models.catalogue.world import Scene
from models.training.outlines import Part
from models.training.renderer import render
from models.training.surfaces import paint_part
from models.training.tints import argb

#: the dip covers all finishes alike; a part keeps its place in the shading within these bounds
_DARKEST, _BRIGHTEST = 0.78, 1.0


def render_brand(scene: Scene, seed: int, width: int = 128, height: int = 128) -> npt.NDArray[np.uint8]:
    """Draw a scene of the product line; arguments and result as in `renderer.render`.

    Raises:
        KeyError: the kind is not part of the product line.
    """
    dip = DIPS[scene.kind]
    return render(
        scene, seed, width, height, overlay=lambda canvas, parts: _dip(canvas, parts, scene.light, dip)
    )


def _dip(canvas: skia.Canvas, parts: list[Part], light: str, dip: Dip) -> None:
    """Paint the lower part of a product in the house colour, then the mark, in the product's own square."""
    canvas.save()
    canvas.clipRect(skia.Rect.MakeLTRB(-0.7, dip.seam_y, 0.7, 0.7), True)
    for part in parts:
        shade = min(_BRIGHTEST, max(_DARKEST, part.shade))
        paint_part(canvas, replace(part, finish="body", shade=shade), HOUSE_COLOUR, "matte", light)
    canvas.restore()
    canvas.drawCircle(0, dip.mark_y, dip.radius, skia.Paint(AntiAlias=True, Color=argb(MARK_COLOUR)))
