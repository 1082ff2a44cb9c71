"""The order of decisions: combined, the worst one counts."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.verdict import Decision

_RANK = {decision: rank for rank, decision in enumerate(Decision)}


def worst(decisions: Iterable[Decision]) -> Decision:
    """The most severe decision, ALLOW when there is none."""
    return max(decisions, key=_RANK.__getitem__, default=Decision.ALLOW)
