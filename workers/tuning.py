"""What a trainer needs from the rest of the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from schemas.finetune import FinetuneSpec, ImageCounts, Progress

OnProgress = Callable[[Progress], None]
Cancelled = Callable[[], bool]


class Called(Exception):
    """The run was called off; nothing is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Curated:
    """The pictures that are worth learning from, with their captions, and what became of the others."""

    images: Sequence[tuple[Path, str]]
    counts: ImageCounts


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """An adapter in a folder, and what was measured without and with it."""

    folder: Path
    steps: int
    scores_before: Mapping[str, float] = field(default_factory=dict)
    scores_after: Mapping[str, float] = field(default_factory=dict)


class Tuner(Protocol):
    """Curates and learns. Both raise `Called` soon after `cancelled` says so, and errors of models/ and schemas/."""

    @property
    def models(self) -> Mapping[str, str]:
        """Names of the models it can fine-tune, with the digests of their weights."""

    def curate(self, source: Path, scratch: Path, *, cancelled: Cancelled) -> Curated:
        """`source` holds pictures, each with its caption in a .txt beside it; `scratch` is an empty folder."""

    def learn(
        self,
        spec: FinetuneSpec,
        images: Sequence[tuple[Path, str]],
        out: Path,
        *,
        on_progress: OnProgress,
        cancelled: Cancelled,
    ) -> Tuned:
        """Train and evaluate; the adapter's two files lie in `out` afterwards."""
