"""Which scores are too low: against a threshold, and against the others of the same caption source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from models.curation.encoders import Cut


def knows(scores: Iterable[float], cut: Cut) -> bool:
    """Whether the encoder may judge this set at all."""
    values = np.fromiter(scores, np.float64)
    if len(values) < max(1, cut.known_from):
        return False
    return cut.known_median is None or float(np.median(values)) >= cut.known_median


def limits(scores: Mapping[str, Iterable[float]], cut: Cut, *, min_group: int) -> dict[str, float]:
    """Per caption source the score below which a pair is left out; -inf where nothing is.

    A percentile is taken within each source, since alternative texts, titles and machine captions score on different
    scales, and only where at least `min_group` pairs were judged.
    """
    return {
        source: _limit(np.fromiter(values, np.float64), cut, min_group) for source, values in scores.items()
    }


def _limit(values: np.ndarray[tuple[int], np.dtype[np.float64]], cut: Cut, min_group: int) -> float:
    limit = -np.inf if cut.threshold is None else cut.threshold
    if cut.percentile and len(values) >= min_group:
        # The lower neighbour: of n pairs never more than the asked-for share is left out.
        limit = max(limit, float(np.percentile(values, cut.percentile, method="lower")))
    return float(limit)
