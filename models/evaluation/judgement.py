"""What a meter looks at, and how right pictures are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.catalogue.world import BACKGROUNDS, COLOURS, KINDS, LAYOUTS, MATERIALS, Scene

#: attributes in the order of the classifier's outputs, each with its classes
ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "kind": KINDS,
        "colour": tuple(COLOURS),
        "material": MATERIALS,
        "background": tuple(BACKGROUNDS),
        "layout": tuple(LAYOUTS),
    }
)

#: all of these right makes a picture right; material is reported beside them, since even real renders confuse a meter
JOINT = ("kind", "colour", "background", "layout")


@dataclass(frozen=True)
class Judgement:
    """What a meter thinks one picture shows: a class per attribute it can judge."""

    seen: Mapping[str, str]

    def agrees(self, scene: Scene, attribute: str) -> bool:
        """Whether the picture shows what the scene says."""
        return bool(self.seen[attribute] == getattr(scene, attribute))


class Meter(Protocol):
    """Looks at pictures and says what they show."""

    def judge(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> list[Judgement]:
        """Judge pictures (H, W, 3) of any sizes."""
        ...


def shares_right(judgements: Sequence[Judgement], scenes: Sequence[Scene]) -> dict[str, float]:
    """Share of pictures right in each judged attribute, and in all of `JOINT` where all are judged."""
    pairs = list(zip(judgements, scenes, strict=True))
    names = [name for name in ATTRIBUTES if name in judgements[0].seen]
    result = {name: sum(j.agrees(s, name) for j, s in pairs) / len(pairs) for name in names}
    if set(JOINT) <= set(names):
        result["joint"] = sum(all(j.agrees(s, name) for name in JOINT) for j, s in pairs) / len(pairs)
    return result
