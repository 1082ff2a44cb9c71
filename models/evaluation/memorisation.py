"""Does the model copy its training pictures? Nearest neighbours, beside those of fresh renders nobody trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.evaluation.classifier import Classifier
from models.evaluation.distances import Floats, nearest_neighbours
from models.evaluation.judgement import Pictures, Pixels

Thumbnails: TypeAlias = npt.NDArray[np.float32]

#: side at which pixels are compared: small enough that a copy moved by a pixel is still found
_SIDE = 32
_SHOWN_PAIRS = 6
_BLOCK = 256
#: nearer than this fraction of what one fresh render in a hundred comes to, a picture counts as a copy
_COPY_FRACTION = 0.5


@dataclass(frozen=True, kw_only=True)
class Nearness:
    """Median distance to the nearest training picture, of the model's and of fresh renders, and suspected copies."""

    model: float
    fresh: float
    copies: int

    @property
    def ratio(self) -> float:
        """About 1 for a model that draws anew, towards 0 for one that copies."""
        return self.model / self.fresh

    def as_json(self) -> dict[str, float]:
        """As a report writes it."""
        return {
            "model": round(self.model, 4),
            "fresh": round(self.fresh, 4),
            "ratio": round(self.ratio, 4),
            "copies": self.copies,
        }


@dataclass(frozen=True, kw_only=True)
class ClosestPair:
    """A picture of the model and the training picture nearest to it, in levels per pixel apart."""

    place: int
    training_place: int
    distance: float
    picture: Pixels
    training_picture: Pixels


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """Nearness by pixels (root mean square, in levels) and by the classifier's features."""

    count: int
    training_count: int
    pixels: Nearness
    features: Nearness
    closest: tuple[ClosestPair, ...]

    @property
    def passed(self) -> bool:
        """No picture lies suspiciously near to a training picture."""
        return self.pixels.copies == 0 and self.features.copies == 0

    def as_json(self) -> dict[str, Any]:
        """As a report writes it, without the pictures."""
        return {
            "count": self.count,
            "training_count": self.training_count,
            "pixels": self.pixels.as_json(),
            "features": self.features.as_json(),
            "closest": [
                {"place": p.place, "training_place": p.training_place, "distance": round(p.distance, 2)}
                for p in self.closest
            ],
            "passed": self.passed,
        }


def check_memorisation(
    classifier: Classifier, pictures: Pictures, fresh: Pictures, training: Sequence[Pixels]
) -> Memorisation:
    """Look for the nearest training picture of each picture.

    Args:
        classifier: gives the features.
        pictures: the model's, of prompts whose scenes may have been in its training.
        fresh: real renders of the same scenes with seeds nobody trained on: how near two pictures come by chance.
        training: training pictures; each is read once, and the closest once more.
    """
    known = _Known.of(classifier, training)
    by_pixels = nearest_neighbours(_thumbnails(pictures), known.thumbnails)
    fresh_pixels = nearest_neighbours(_thumbnails(fresh), known.thumbnails)[1]
    by_features = nearest_neighbours(classifier.features(pictures), known.features)[1]
    fresh_features = nearest_neighbours(classifier.features(fresh), known.features)[1]
    return Memorisation(
        count=len(pictures),
        training_count=len(known.features),
        pixels=_nearness(by_pixels[1], fresh_pixels),
        features=_nearness(by_features, fresh_features),
        closest=tuple(
            known.pair(pictures, int(i), *by_pixels) for i in by_pixels[1].argsort()[:_SHOWN_PAIRS]
        ),
    )


@dataclass(frozen=True)
class _Known:
    """What is kept of the training pictures: thumbnails (M, 3 x side^2) and features (M, F)."""

    thumbnails: Thumbnails
    features: Floats
    pictures: Sequence[Pixels]

    @classmethod
    def of(cls, classifier: Classifier, pictures: Sequence[Pixels]) -> "_Known":
        thumbnails, features = [], []
        for start in range(0, len(pictures), _BLOCK):
            block = [pictures[i] for i in range(start, min(start + _BLOCK, len(pictures)))]
            thumbnails.append(_thumbnails(block))
            features.append(classifier.features(block))
        return cls(np.concatenate(thumbnails), np.concatenate(features), pictures)

    def pair(
        self, pictures: Pictures, place: int, nearest: npt.NDArray[np.intp], distances: Floats
    ) -> ClosestPair:
        there = int(nearest[place])
        return ClosestPair(
            place=place,
            training_place=there,
            distance=float(distances[place]),
            picture=pictures[place],
            training_picture=self.pictures[there],
        )


def _thumbnails(pictures: Pictures) -> Thumbnails:
    """float32 (N, 3 x side^2), scaled so that a Euclidean distance is a root mean square in levels."""
    size = (_SIDE, _SIDE)
    rows = [
        np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BOX), np.float32).ravel()
        for p in pictures
    ]
    return np.stack(rows) / np.float32(np.sqrt(3 * _SIDE**2))


def _nearness(model: Floats, fresh: Floats) -> Nearness:
    suspicious = _COPY_FRACTION * float(np.quantile(fresh, 0.01))
    return Nearness(
        model=float(np.median(model)), fresh=float(np.median(fresh)), copies=int((model < suspicious).sum())
    )
