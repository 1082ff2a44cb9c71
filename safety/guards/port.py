"""Guards: services and models that judge a text as a whole, where lists only know words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from safety import categories as ids


class GuardFault(Exception):
    """The guard gave no usable answer. Its message names the guard and the fault, never the text."""


class Guard(Protocol):
    """Judges one text; an adapter is one file."""

    name: str
    #: The model or configuration that answers.
    version: str

    def ask(self, text: str) -> Mapping[str, float]:
        """Category to score, from 0 to 1, of what was found; GuardFault when there is no usable answer.

        What the service says is data and is parsed strictly: a label nobody knows is no answer.
        """
        ...


def checked(guard: str, scores: Mapping[str, float]) -> dict[str, float]:
    """The scores, when all are categories with numbers from 0 to 1; GuardFault otherwise."""
    for category, score in scores.items():
        if not ids.is_category(category):
            raise GuardFault(f"{guard}: not a category")
        if (
            not isinstance(score, int | float)
            or isinstance(score, bool)
            or math.isnan(score)
            or not 0 <= score <= 1
        ):
            raise GuardFault(f"{guard}: a score that is none")
    return {category: float(score) for category, score in scores.items()}
