"""What a meter looks at, and how right pictures are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from models.catalogue.world import BACKGROUNDS, COLOURS, KINDS, LAYOUTS, LIGHTS, MATERIALS, Scene
from models.evaluation.intervals import Share, wilson_share

Pixels: TypeAlias = npt.NDArray[np.uint8]
Pictures: TypeAlias = Sequence[Pixels]
Label: TypeAlias = str | bool

#: attributes in the order of the classifier's outputs, each with its classes
ATTRIBUTES: Mapping[str, tuple[Label, ...]] = MappingProxyType(
    {
        "kind": KINDS,
        "colour": tuple(COLOURS),
        "material": MATERIALS,
        "background": tuple(BACKGROUNDS),
        "layout": tuple(LAYOUTS),
        "light": LIGHTS,
        "shadow": (True, False),
    }
)

#: all of these right makes a picture right; the others are reported beside them
JOINT = ("kind", "colour", "background", "layout")


@dataclass(frozen=True)
class Judgement:
    """What a meter thinks one picture shows: a class per attribute it can judge."""

    seen: Mapping[str, Label]

    def agrees(self, scene: Scene, attribute: str) -> bool:
        """Whether the picture shows what the scene says."""
        return bool(self.seen[attribute] == getattr(scene, attribute))


class Meter(Protocol):
    """Looks at pictures and says what they show."""

    def judge(self, pictures: Pictures) -> list[Judgement]:
        """Judge pictures (H, W, 3) of any sizes."""
        ...


CanJudge: TypeAlias = Callable[[Scene, str], bool]


def shares_right(
    judgements: Sequence[Judgement], scenes: Sequence[Scene], can_judge: CanJudge | None = None
) -> dict[str, Share]:
    """Share of pictures right in each judged attribute, and in all of `JOINT` where all are judged.

    `can_judge(scene, attribute)` leaves out what a meter does not claim to see; each share says over how many pictures
    it was taken.
    """
    pairs = list(zip(judgements, scenes, strict=True))
    result = {}
    for name in [name for name in ATTRIBUTES if judgements and name in judgements[0].seen]:
        judged = [(j, s) for j, s in pairs if can_judge is None or can_judge(s, name)]
        if judged:
            result[name] = wilson_share(sum(j.agrees(s, name) for j, s in judged), len(judged))
    if set(JOINT) <= set(result):
        result["joint"] = wilson_share(sum(is_right(j, s) for j, s in pairs), len(pairs))
    return result


def is_right(judgement: Judgement, scene: Scene) -> bool:
    """Whether all of `JOINT` is right."""
    return all(judgement.agrees(scene, name) for name in JOINT)
