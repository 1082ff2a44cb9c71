"""The classifier interface: pictures in, scores per category out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from safety import categories as ids

#: One picture: (height, width, 3), 8 bits a channel, sRGB.
Pixels = NDArray[np.uint8]


class ScreenFault(Exception):
    """A classifier did not give a usable answer; whatever it was about is not published."""


@runtime_checkable
class ImageScreen(Protocol):
    """One classifier. `check` may raise anything: its caller turns that into an ERROR verdict."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def model_sha256(self) -> str: ...
    @property
    def categories(self) -> tuple[str, ...]: ...

    def self_test(self) -> None:
        """Compares known answers; raises ScreenFault when the classifier does not give them."""

    def check(self, images: Sequence[Pixels]) -> Sequence[Mapping[str, float]]:
        """One mapping from category to score in [0, 1] for each picture, in order."""


def checked_scores(answer: Any, images: int, covered: Sequence[str]) -> list[dict[str, float] | None]:
    """The scores of each picture, None where they cannot be used; ScreenFault when the answer as a whole cannot.

    Usable means: every category that the screen covers has a finite score from 0 to 1, and nothing else is named.
    """
    if not isinstance(answer, Sequence) or len(answer) != images:
        raise ScreenFault(f"expected answers about {images} pictures")
    return [_usable(one, covered) for one in answer]


def _usable(scores: Any, covered: Sequence[str]) -> dict[str, float] | None:
    if (
        not isinstance(scores, Mapping)
        or set(scores) != set(covered)
        or not all(map(ids.is_category, scores))
    ):
        return None
    values = {category: float(score) for category, score in scores.items()}
    return values if all(math.isfinite(value) and 0 <= value <= 1 for value in values.values()) else None
