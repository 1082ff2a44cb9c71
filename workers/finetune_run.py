"""The work of a trainer: one fine-tune, from its pictures to the adapter in its tenant's store."""

from __future__ import annotations

import time
from pathlib import Path

import structlog

from models.errors import FinetuneCancelled, FinetuneRefused, InvalidShot, ModelError, RuntimeMissing
from schemas.errors import AquatintError, OutOfRange
from schemas.finetune import (
    MIN_IMAGES,
    FinetuneProblem,
    FinetuneStage,
    FinetuneTask,
    ImageCounts,
    Progress,
    Trained,
    TrainingFailed,
    TrainingReturned,
)
from workers.adapter_shelf import put_adapter
from workers.brand_pictures import Fetched, Stores, fetch_pictures
from workers.tuning import Called, Cancelled, Curated, OnProgress, Tuner

log = structlog.get_logger(__name__)


def run_finetune(
    task: FinetuneTask,
    tuner: Tuner,
    stores: Stores,
    scratch: Path,
    *,
    tell: OnProgress,
    cancelled: Cancelled,
) -> Trained | TrainingFailed | TrainingReturned:
    """Fetch, curate, train, evaluate, store; `scratch` is an empty folder that the caller removes. Never raises."""
    run = _Run(task, tuner, stores, scratch, tell, cancelled)
    try:
        return run.through()
    except (Called, FinetuneCancelled):
        return TrainingReturned(reason="stopped")
    except Exception as error:
        log.warning(
            "trainer.finetune_failed", finetune=task.finetune, stage=run.stage, error=type(error).__name__
        )
        return TrainingFailed(problem=problem_of(run.stage, error, run.fetched), images=run.counts)


class _Run:
    """Where one run stands, so that whatever goes wrong can be told with its stage."""

    def __init__(
        self,
        task: FinetuneTask,
        tuner: Tuner,
        stores: Stores,
        scratch: Path,
        tell: OnProgress,
        cancelled: Cancelled,
    ) -> None:
        self._task, self._tuner, self._stores, self._scratch = task, tuner, stores, scratch
        self._tell, self._cancelled = tell, cancelled
        self.stage = FinetuneStage.FETCH
        self.fetched, self.counts = Fetched(), ImageCounts()

    def through(self) -> Trained:
        began, spec = time.monotonic(), self._task.spec
        self._enter(FinetuneStage.FETCH)
        source = self._folder("source")
        self.fetched = fetch_pictures(spec, self._stores, source, cancelled=self._cancelled)
        self._enter(FinetuneStage.CURATE)
        curated = self._curated(source)
        self._enter(FinetuneStage.TRAIN)
        tuned = self._tuner.learn(
            spec,
            curated.images,
            self._scratch / "adapter",
            on_progress=self._progress,
            cancelled=self._cancelled,
        )
        if self._cancelled():
            raise Called
        self._enter(FinetuneStage.STORE)
        _, digest = put_adapter(tuned.folder, self._stores.results)
        return Trained(
            adapter=digest,
            scores_before=dict(tuned.scores_before),
            scores_after=dict(tuned.scores_after),
            images=self.counts,
            steps=tuned.steps,
            seconds=time.monotonic() - began,
        )

    def _curated(self, source: Path) -> Curated:
        curated = self._tuner.curate(source, self._folder("curated"), cancelled=self._cancelled)
        self.counts = curated.counts
        if len(curated.images) < MIN_IMAGES:
            reasons = ", ".join(
                f"{count} {reason}" for reason, count in sorted(curated.counts.dropped.items())
            )
            raise OutOfRange(
                f"{len(curated.images)} pictures are left ({reasons or 'none was dropped'})",
                field="images",
                limit=MIN_IMAGES,
            )
        return curated

    def _folder(self, name: str) -> Path:
        made = self._scratch / name
        made.mkdir()
        return made

    def _enter(self, stage: FinetuneStage) -> None:
        self._progress(Progress(stage=stage))

    def _progress(self, progress: Progress) -> None:
        self.stage = progress.stage
        self._tell(progress)


def problem_of(stage: FinetuneStage, error: Exception, fetched: Fetched) -> FinetuneProblem:
    """An exception in the words of an outcome; local file names become the customer's own references."""
    if isinstance(error, AquatintError):
        return FinetuneProblem(
            stage=stage,
            code=error.code,
            detail=error.detail,
            field=error.field,
            limit=error.limit,
            retryable=error.retryable,
        )
    if isinstance(error, FinetuneRefused | InvalidShot):
        told = fetched.in_words_of_the_request
        return FinetuneProblem(
            stage=stage,
            code="finetune_refused",
            detail=told(str(error)),
            field=told(error.field),
            limit=error.limit,
        )
    if isinstance(error, ModelError):
        # What the model's files look like is the operator's business.
        detail = "the model cannot be fine-tuned here" if isinstance(error, RuntimeMissing) else str(error)
        return FinetuneProblem(stage=stage, code=_code(error), detail=detail, retryable=error.retryable)
    # Unknown, so it may pass; the text of a foreign error stays here.
    return FinetuneProblem(stage=stage, code=f"{stage}_error", detail=type(error).__name__, retryable=True)


def _code(error: ModelError) -> str:
    """``FinetuneDiverged`` as ``finetune_diverged``."""
    name = type(error).__name__
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
