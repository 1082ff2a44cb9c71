"""The card of a classifier: how to feed it, how to read it, and what it must answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from safety import categories as ids
from schemas.base import Frozen


class Label(Frozen):
    """One output of the classifier and the category it counts for, or none ("neutral")."""

    name: str
    category: str | None = None
    #: How much of its score counts: less than 1 for an output that is suggestive rather than the thing itself.
    weight: float = Field(1.0, gt=0, le=1)


class KnownAnswer(Frozen):
    """What the classifier must say about a picture anyone can make: a horizontal ramp between two colours."""

    left: tuple[int, int, int]
    right: tuple[int, int, int]
    outputs: tuple[float, ...]
    tolerance: float = Field(0.01, gt=0, le=0.1)


class ScreenCard(Frozen):
    """What stands in the JSON file beside the model."""

    name: str
    version: str
    licence: str
    #: (height, width) in pixels that the model takes.
    size: tuple[int, int]
    layout: Literal["NHWC", "NCHW"]
    resize: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    #: A channel value v of 0 to 255 enters as (v / 255 - mean) / std.
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    #: What the model puts out; logits are made probabilities by softmax, scores by sigmoid.
    output: Literal["probabilities", "logits", "scores"]
    labels: tuple[Label, ...] = Field(min_length=2)
    known_answers: tuple[KnownAnswer, ...] = Field(min_length=1)
    #: What is known about how much it finds; shown to the operator.
    recall: str = "unmeasured"
    #: Where the weights come from, and what to be careful about.
    provenance: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> ScreenCard:
        named = [label.category for label in self.labels if label.category is not None]
        unknown = [name for name in named if not ids.is_category(name)]
        if unknown or not named:
            raise ValueError(
                f"{unknown[0]!r} is not a category" if unknown else "no label counts for a category"
            )
        if any(len(answer.outputs) != len(self.labels) for answer in self.known_answers):
            raise ValueError("a known answer has another number of outputs than there are labels")
        if min(self.size) < 1 or min(self.std) <= 0:
            raise ValueError("size and std must be positive")
        return self

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(sorted({label.category for label in self.labels if label.category is not None}))
