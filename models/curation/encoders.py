"""How well a picture and a caption belong together: a port, and the choice between its adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from models.curation.decode import Pixels
from models.curation.settings import OutlierSettings

Scores: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What is left out: the worst `percentile` of each caption source, and whatever scores below `threshold`.

    Nothing is, unless at least `known_from` pairs were judged and their median reaches `known_median`: an encoder that
    disagrees with most of a set does not know its kind of picture.
    """

    percentile: float | None = None
    threshold: float | None = None
    known_from: int = 0
    known_median: float | None = None


class Encoder(Protocol):
    """Looks at pictures and captions in pairs."""

    @property
    def name(self) -> str:
        """Goes into the report beside every score."""
        ...

    @property
    def side(self) -> int:
        """Pixels on the shorter side that it wants to see; more is of no use to it."""
        ...

    @property
    def default_cut(self) -> Cut: ...

    def similarity(self, pictures: Sequence[Pixels], captions: Sequence[str]) -> Scores:
        """One score per pair, higher for pairs that belong together; NaN where this encoder cannot tell."""
        ...


def wants_clip(settings: OutlierSettings) -> bool:
    """Asked for by name, or by saying where its weights are."""
    given = settings.weights is not None or settings.model.startswith("local-dir:")
    return settings.encoder == "open-clip" or (settings.encoder == "auto" and given)


def open_encoder(settings: OutlierSettings) -> Encoder | None:
    """The encoder asked for, or None; raises RuntimeMissing or ModelNotFound for one that cannot be opened."""
    if wants_clip(settings):
        from models.curation.clip_encoder import ClipEncoder

        return ClipEncoder.open(settings)
    if settings.encoder == "none":
        return None
    from models.curation.catalogue_encoder import CatalogueEncoder

    return CatalogueEncoder.open()


def chosen_cut(settings: OutlierSettings, encoder: Encoder) -> Cut:
    """What the settings say, or the encoder's own where they say nothing."""
    if settings.percentile is None and settings.threshold is None:
        return encoder.default_cut
    return replace(encoder.default_cut, percentile=settings.percentile, threshold=settings.threshold)
