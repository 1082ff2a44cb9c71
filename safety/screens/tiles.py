"""Looking at large pictures twice: whole, and in parts that a classifier sees at a useful size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from safety.image_screen import ImageScreen, Pixels, ScreenFault

#: Above this many pixels a picture is also looked at in parts.
LARGE_PIXELS = 1_500_000
#: From this ratio of its sides on, too: squeezed into a square, what it shows is out of shape.
LONG = 2.0
TILES = 4
#: The share of its neighbour that a part repeats, so that nothing falls on a border alone.
OVERLAP = 0.2


class TiledScreen:
    """A classifier that also looks at the parts of large pictures; the highest score of a category counts."""

    def __init__(self, screen: ImageScreen) -> None:
        self._screen = screen

    @property
    def name(self) -> str:
        return self._screen.name

    @property
    def version(self) -> str:
        return self._screen.version

    @property
    def model_sha256(self) -> str:
        return self._screen.model_sha256

    @property
    def categories(self) -> tuple[str, ...]:
        return self._screen.categories

    def self_test(self) -> None:
        self._screen.self_test()

    def check(self, images: Sequence[Pixels]) -> list[dict[str, float]]:
        """Scores of each (height, width, 3) picture, in order; all pictures and parts go in one call."""
        views = [views_of(image) for image in images]
        answers = iter(self._screen.check([view for group in views for view in group]))
        try:
            found = [_highest([next(answers) for _ in group]) for group in views]
        except StopIteration:
            raise ScreenFault(f"{self.name}: too few answers") from None
        if next(answers, None) is not None:
            raise ScreenFault(f"{self.name}: too many answers")
        return found


def views_of(image: Pixels) -> list[Pixels]:
    """The picture, followed by its four parts when it is large or long: quarters, or along its long side."""
    height, width = image.shape[:2]
    long = max(height, width) >= LONG * min(height, width)
    if height * width <= LARGE_PIXELS and not long:
        return [image]
    rows, columns = (2, 2) if not long else (TILES, 1) if height > width else (1, TILES)
    return [
        image,
        *(
            image[top:bottom, left:right]
            for top, bottom in _spans(height, rows)
            for left, right in _spans(width, columns)
        ),
    ]


def _spans(length: int, parts: int) -> list[tuple[int, int]]:
    """Where each part begins and ends: equally long, together covering everything."""
    size = min(length, int(np.ceil(length / (parts - (parts - 1) * OVERLAP))))
    starts = [round(part * (length - size) / max(1, parts - 1)) for part in range(parts)]
    return [(start, start + size) for start in starts]


def _highest(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Per category; a view without a usable score leaves the picture without one, since NaN is never outdone."""
    names = {name for one in scores for name in one}
    return {name: float(np.max([one.get(name, np.nan) for one in scores])) for name in sorted(names)}
