"""The gate that the meters do not replace: are shapes whole and edges sharp, as in real renders?

A meter is right about lumpy pictures long before they are good. So pictures are laid beside real renders of the same
descriptions, and each figure beside the same figure of real renders against other real renders.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from models.catalogue.world import Scene
from models.evaluation.classifier import Classifier
from models.evaluation.contours import edge_energy, nearest_overlap, outline
from models.evaluation.distances import Spread, kernel_distance_spread, kernel_likeness
from models.evaluation.judgement import Pictures

#: draws a list of scenes as real renders, its seeds beginning at a number
RenderScenes: TypeAlias = Callable[[Sequence[Scene], int], Pictures]

GATE_MARGIN = 0.10
_NEIGHBOURS = 8
#: seeds of the three sets of real renders: the neighbours, those that are compared in the model's place, and the rest
_NEIGHBOUR_SEED, _REAL_SEED, _REFERENCE_SEED = 3_000_000, 5_000_000, 7_000_000


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One figure of the model beside that of real renders; `excess` is how much worse it is, as a fraction."""

    model: float
    real: float
    excess: float

    @property
    def passed(self) -> bool:
        """Within the margin of real renders."""
        return self.excess <= GATE_MARGIN

    def as_json(self) -> dict[str, Any]:
        """As a report writes it."""
        return {
            "model": round(self.model, 5),
            "real": round(self.real, 5),
            "excess": round(self.excess, 4),
            "passed": self.passed,
        }


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The three figures; the kernel distances carry their spread over random subsets."""

    count: int
    neighbours: int
    contour_overlap: Compared
    edge_energy: Compared
    kernel_distance: Compared
    model_spread: Spread
    real_spread: Spread

    @property
    def passed(self) -> bool:
        """All three within the margin."""
        return self.contour_overlap.passed and self.edge_energy.passed and self.kernel_distance.passed

    def as_json(self) -> dict[str, Any]:
        """As a report writes it."""
        return {
            "count": self.count,
            "neighbours": self.neighbours,
            "margin": GATE_MARGIN,
            "contour_overlap": self.contour_overlap.as_json(),
            "edge_energy": self.edge_energy.as_json(),
            "kernel_distance": {
                **self.kernel_distance.as_json(),
                "model_deviation": round(self.model_spread.deviation, 5),
                "real_deviation": round(self.real_spread.deviation, 5),
                "subsets": self.model_spread.subsets,
                "subset_size": self.model_spread.subset_size,
            },
            "passed": self.passed,
        }


def hold_against_renders(
    classifier: Classifier, scenes: Sequence[Scene], pictures: Pictures, render: RenderScenes
) -> Gate:
    """Compare pictures of scenes with real renders of the same scenes.

    The kernel distance is about zero between real renders, so that "ten per cent more" would mean nothing. It is the
    squared distance of two mean embeddings, and its excess is told as a fraction of the squared length of the mean
    embedding of real renders.
    """
    real, reference = render(scenes, _REAL_SEED), render(scenes, _REFERENCE_SEED)
    overlaps = contour_overlaps(scenes, pictures, real, render)
    energies = [float(np.mean([edge_energy(picture) for picture in part])) for part in (pictures, real)]
    features = [classifier.features(part) for part in (pictures, real, reference)]
    model_spread = kernel_distance_spread(features[0], features[2])
    real_spread = kernel_distance_spread(features[1], features[2])
    unit = kernel_likeness(features[1], features[2])
    return Gate(
        count=len(pictures),
        neighbours=_NEIGHBOURS,
        contour_overlap=Compared(model=overlaps[0], real=overlaps[1], excess=1 - overlaps[0] / overlaps[1]),
        edge_energy=Compared(model=energies[0], real=energies[1], excess=abs(1 - energies[0] / energies[1])),
        kernel_distance=Compared(
            model=model_spread.mean,
            real=real_spread.mean,
            excess=(model_spread.mean - real_spread.mean) / unit,
        ),
        model_spread=model_spread,
        real_spread=real_spread,
    )


def contour_overlaps(
    scenes: Sequence[Scene], pictures: Pictures, real: Pictures, render: RenderScenes
) -> tuple[float, float]:
    """Mean overlap of pictures, and of real renders, with the nearest of several renders of the same scene."""
    sums = np.zeros(2)
    for i, (scene, *candidates) in enumerate(zip(scenes, pictures, real, strict=True)):
        others = [outline(p) for p in render([scene] * _NEIGHBOURS, _NEIGHBOUR_SEED + i * _NEIGHBOURS)]
        sums += [nearest_overlap(outline(candidate), others) for candidate in candidates]
    return float(sums[0] / len(scenes)), float(sums[1] / len(scenes))
