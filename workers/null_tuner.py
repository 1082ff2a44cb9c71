"""A tuner that learns nothing, for measuring and testing everything but the training."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.adapters import ADAPTER_FILE, WEIGHTS_FILE, AdapterCard
from schemas.finetune import FinetuneSpec, FinetuneStage, ImageCounts, Progress
from workers.tuning import Called, Cancelled, Curated, OnProgress, Tuned


class NullTuner:
    """Keeps every picture, and writes an adapter made of their digests. Never chosen unless asked for by name."""

    def __init__(self, models: Mapping[str, str], *, seconds: float = 0.0, steps: int = 10) -> None:
        self._models, self._seconds, self._steps = dict(models), seconds, steps

    @property
    def models(self) -> Mapping[str, str]:
        return self._models

    def curate(self, source: Path, scratch: Path, *, cancelled: Cancelled) -> Curated:  # noqa: ARG002  (of no use to it)
        found = sorted(path for path in source.iterdir() if path.suffix != ".txt")
        images = [(path, path.with_suffix(".txt").read_text(encoding="utf-8")) for path in found]
        return Curated(images=images, counts=ImageCounts(seen=len(images), kept=len(images)))

    def learn(
        self,
        spec: FinetuneSpec,
        images: Sequence[tuple[Path, str]],
        out: Path,
        *,
        on_progress: OnProgress,
        cancelled: Cancelled,
    ) -> Tuned:
        """Takes `seconds` altogether, in as many steps as it was told to."""
        for step in range(self._steps):
            if cancelled():
                raise Called
            left = self._seconds * (1 - step / self._steps)
            on_progress(
                Progress(
                    stage=FinetuneStage.TRAIN,
                    step=step,
                    steps=self._steps,
                    loss=1 / (1 + step),
                    seconds_left=left,
                )
            )
            time.sleep(self._seconds / self._steps)
        _write(spec, images, out)
        scores = {"brand": 0.0}, {"brand": 1.0}
        return Tuned(folder=out, steps=self._steps, scores_before=scores[0], scores_after=scores[1])


def _write(spec: FinetuneSpec, images: Sequence[tuple[Path, str]], out: Path) -> None:
    out.mkdir()
    weights = b"".join(
        hashlib.sha256(path.read_bytes() + caption.encode()).digest() for path, caption in images
    )
    card = AdapterCard(
        name=spec.name,
        base_model=spec.model,
        base_digest=spec.base_digest,
        rank=spec.rank,
        alpha=float(spec.rank),
        trigger=(spec.trigger,) if spec.trigger else (),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
    (out / WEIGHTS_FILE).write_bytes(weights)
    (out / ADAPTER_FILE).write_bytes(card.to_bytes())
