"""The real tuner: curates with models/curation and learns with models/training, both of the [train] extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.card import ModelCard
from models.errors import CurationCancelled, FinetuneCancelled
from models.training.finetune import FinetuneJob, FinetuneProgress, finetune
from schemas.finetune import FinetuneSpec, FinetuneStage, ImageCounts, Progress
from workers.tuning import Called, Cancelled, Curated, OnProgress, Tuned

_STAGES = {
    "prepare": FinetuneStage.TRAIN,
    "train": FinetuneStage.TRAIN,
    "evaluate": FinetuneStage.EVALUATE,
}


class ModelTuner:
    """Fine-tunes one model folder; torch is loaded with the first fine-tune, so that an idle trainer is small."""

    def __init__(self, model_folder: Path, card: ModelCard, options: Mapping[str, Any] | None = None) -> None:
        """`options` are further fields of a `FinetuneJob`, for tests with tiny models."""
        self._folder, self._card, self._options = model_folder, card, dict(options or {})

    @property
    def models(self) -> Mapping[str, str]:
        return {self._card.name: self._card.base_digest}

    def curate(self, source: Path, scratch: Path, *, cancelled: Cancelled) -> Curated:
        """Leaves out what cannot be learnt from; the originals go on, since they leave room for closer crops."""
        from models.curation.curate import curate
        from models.curation.samples import read_samples

        try:
            report = curate(source, scratch, _settings(self._card), cancelled=cancelled)
        except CurationCancelled as stopped:
            raise Called from stopped
        images = [(source / str(sample.facts["source"]), sample.caption) for sample in read_samples(scratch)]
        dropped = {str(reason): count for reason, count in report.dropped.items() if count}
        return Curated(images=images, counts=ImageCounts(seen=report.seen, kept=report.kept, dropped=dropped))

    def learn(
        self,
        spec: FinetuneSpec,
        images: Sequence[tuple[Path, str]],
        out: Path,
        *,
        on_progress: OnProgress,
        cancelled: Cancelled,
    ) -> Tuned:
        job = FinetuneJob(
            model_folder=self._folder,
            images=images,
            name=spec.name,
            trigger=spec.trigger,
            out=out,
            rank=spec.rank,
            steps=spec.steps,
            minutes=spec.minutes,
            seed=spec.seed,
            **self._options,
        )
        try:
            result = finetune(job, lambda progress: on_progress(_told(progress)), cancelled)
        except FinetuneCancelled as stopped:
            raise Called from stopped
        return Tuned(
            folder=result.folder,
            steps=result.steps,
            scores_before=result.scores_before,
            scores_after=result.scores_after,
        )


def _settings(card: ModelCard) -> Any:
    """A light curation: every picture of a brand is scarce, and captions are the customer's own."""
    from models.curation.settings import check_settings

    return check_settings(
        {
            "buckets": {"sizes": [list(size) for size in card.sizes]},
            "captions": {"empty": "keep"},
            "text": {"reader": "none"},
            "outliers": {"encoder": "none"},
            "shards": {"format": "png"},
        }
    )


def _told(progress: FinetuneProgress) -> Progress:
    return Progress(
        stage=_STAGES[progress.stage],
        step=progress.step,
        steps=progress.steps or None,
        loss=progress.loss,
        seconds_left=progress.seconds_left,
    )
