"""How different are pictures of the same prompt? Pairwise distances over seeds, beside those of real renders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.evaluation.classifier import Classifier
from models.evaluation.distances import mean_pairwise_distance
from models.evaluation.judgement import Pictures

#: below this share of what real renders vary, a model draws one picture per prompt
_LEAST_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """Mean pairwise feature distance between pictures of one prompt, averaged over prompts."""

    prompts: int
    seeds: int
    model: float
    real: float

    @property
    def ratio(self) -> float:
        """1 where the model varies as much as real renders of the same description do."""
        return self.model / self.real

    def as_json(self) -> dict[str, Any]:
        """As a report writes it."""
        return {
            "prompts": self.prompts,
            "seeds": self.seeds,
            "model": round(self.model, 4),
            "real": round(self.real, 4),
            "ratio": round(self.ratio, 4),
            "passed": self.ratio >= _LEAST_SHARE,
        }


def measure_diversity(
    classifier: Classifier, model: Sequence[Pictures], real: Sequence[Pictures]
) -> Diversity:
    """Compare groups of pictures, each of one prompt over several seeds, with groups of real renders."""
    figures = [
        float(np.mean([mean_pairwise_distance(classifier.features(group)) for group in groups]))
        for groups in (model, real)
    ]
    return Diversity(prompts=len(model), seeds=len(model[0]), model=figures[0], real=figures[1])
