"""Moving the counters of jobs and batches by images that have just ended, and owing the webhooks that tell of it.

Everything happens in the caller's transaction: a state, its counters and its webhooks commit together or not at all.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from handlers.wording import DESCRIPTIONS
from schemas.fairness import Note, Variation
from schemas.finetune import (
    AdapterSummary,
    FinetuneProblem,
    FinetuneSpec,
    FinetuneState,
    FinetuneSummary,
    ImageCounts,
    Trained,
    TrainingFailed,
)
from schemas.outcome import Failure
from schemas.states import ImageState, job_state
from schemas.verdict import Verdict
from schemas.webhook import (
    MAX_IMAGES_IN_BODY,
    BatchCompleted,
    BatchSummary,
    Counts,
    FinetuneCompleted,
    ImageEnded,
    ImageEvent,
    ImageSummary,
    JobCompleted,
    JobSummary,
    NearDuplicates,
)
from storage.ledger import batches, deliveries, images, jobs
from storage.ledger import held as held_images
from storage.ledger.deliveries import NewDelivery
from storage.ledger.images import Ended
from storage.ledger.sql import AnyRow

#: A body stays below this, whatever the alt texts hold.
_MAX_BODY_BYTES = 20_000
#: Progress is told this many times over the life of a job or batch, not with every picture.
_PROGRESS_STEPS = 10


def account(conn: Connection, ended: Sequence[Ended], now: float) -> None:
    """Count images that have just ended or become held, and add the deliveries that their jobs and batches asked for."""
    if not ended:
        return
    by_job: dict[str, list[Ended]] = defaultdict(list)
    for one in ended:
        by_job[one.job].append(one)
    owed: list[NewDelivery] = []
    for row in jobs.tally(conn, ended, now):
        if row.webhook_url is not None:
            owed += _about_job(conn, row, by_job[row.id], now)
    for row in batches.tally(conn, ended):
        owed += _about_batch(conn, row, _final(one for one in ended if one.batch == row.id), now)
    deliveries.add_many(conn, owed, now)


def job_ended_at_once(conn: Connection, row: AnyRow, now: float) -> None:
    """Owe the webhooks of a job whose images had all ended when it was planned."""
    if row.webhook_url is not None:
        found = images.of_job(conn, row.id)
        deliveries.add_many(
            conn,
            _about_job(conn, row, [Ended(one.id, row.id, row.batch, one.state) for one in found], now),
            now,
        )


def batch_ended(conn: Connection, row: AnyRow, now: float) -> None:
    """Owe the summary of a batch that has just been closed."""
    if row.webhook_url is not None and "batch.completed" in json.loads(row.webhook_events):
        deliveries.add_many(conn, [_batch_delivery("batch.completed", row, now)], now)


def finetune_ended(conn: Connection, row: AnyRow, now: float) -> None:
    """Owe the webhook of a fine-tune that has just ended."""
    if row.webhook_url is not None:
        body = FinetuneCompleted(type="finetune.completed", timestamp=_time(now), data=finetune_summary(row))
        deliveries.add_many(conn, [_delivery(body.type, row, body.model_dump_json())], now)


def _about_job(conn: Connection, row: AnyRow, ended: Sequence[Ended], now: float) -> list[NewDelivery]:
    wanted = set(json.loads(row.webhook_events))
    owed = _about_images(conn, row, [one for one in ended if f"image.{one.state}" in wanted], now)
    if row.ended_at is not None:
        if "job.completed" in wanted:
            summary = job_summary(row, images.of_job(conn, row.id, limit=MAX_IMAGES_IN_BODY))
            body = JobCompleted(type="job.completed", timestamp=_time(now), data=summary)
            owed.append(_delivery("job.completed", row, _fitting(body)))
    elif "job.progress" in wanted and _step_passed(row, _final(ended)):
        summary = job_summary(row, (), held=held_images.of_job(conn, row.id))
        body = JobCompleted(type="job.progress", timestamp=_time(now), data=summary)
        owed.append(_delivery("job.progress", row, body.model_dump_json()))
    return owed


def _about_images(conn: Connection, row: AnyRow, ended: Sequence[Ended], now: float) -> list[NewDelivery]:
    if not ended:
        return []
    owed = []
    # The job's own event has the last number; those of its images come before it.
    first = row.sequence - len(ended)
    for place, one in enumerate(images.some(conn, [one.id for one in ended])):
        data = ImageEvent(
            job=row.id,
            batch=row.batch,
            image=image_summary(one),
            sequence=first + place,
            metadata=json.loads(row.metadata),
        )
        body = ImageEnded.model_validate(
            {"type": f"image.{one.state}", "timestamp": _time(now), "data": data}
        )
        owed.append(_delivery(body.type, row, body.model_dump_json()))
    return owed


def _final(ended: Iterable[Ended]) -> int:
    return sum(one.state != ImageState.HELD for one in ended)


def _about_batch(conn: Connection, row: AnyRow, moved: int, now: float) -> list[NewDelivery]:
    # batch.completed waits for the result files, which the finisher writes.
    if (
        row.webhook_url is None
        or row.phase == "planning"
        or "batch.progress" not in json.loads(row.webhook_events)
    ):
        return []
    if not _step_passed(row, moved):
        return []
    return [_batch_delivery("batch.progress", row, now, held=held_images.of_batch(conn, row.id))]


def _step_passed(row: AnyRow, moved: int) -> bool:
    """Whether the last `moved` images carried a job or batch over the next tenth, short of its end."""
    ended = sum(jobs.counts(row).values())
    before, after = ((count * _PROGRESS_STEPS) // row.total for count in (ended - moved, ended))
    return bool(ended < row.total and after > before)


def _batch_delivery(type: str, row: AnyRow, now: float, held: int = 0) -> NewDelivery:
    data = batch_summary(row, held=held)
    body = BatchCompleted.model_validate({"type": type, "timestamp": _time(now), "data": data})
    return _delivery(type, row, body.model_dump_json())


def _delivery(type: str, row: AnyRow, body: str) -> NewDelivery:
    return NewDelivery(
        tenant=row.tenant,
        url=row.webhook_url,
        type=type,
        about=row.id,
        body=body,
        traceparent=row.traceparent,
    )


def _fitting(body: JobCompleted) -> str:
    """The body as JSON, with fewer images if it would be too long."""
    text = body.model_dump_json()
    while len(text.encode()) > _MAX_BODY_BYTES and body.data.images:
        fewer = body.data.images[: len(body.data.images) // 2]
        body = body.model_copy(update={"data": body.data.model_copy(update={"images": fewer})})
        text = body.model_dump_json()
    return text


def job_summary(row: AnyRow, found: Iterable[AnyRow], *, held: int = 0) -> JobSummary:
    """A job row and rows of its images as its customer sees them; `held` of an open job are counted by the caller."""
    return JobSummary(
        job=row.id,
        batch=row.batch,
        state=job_state(row.total, _by_state(row)),
        counts=Counts(total=row.total, held=held, **jobs.counts(row)),
        images=tuple(image_summary(one) for one in found),
        sequence=row.sequence,
        metadata=json.loads(row.metadata),
        erased=row.erased_at is not None,
    )


def batch_summary(row: AnyRow, *, held: int = 0) -> BatchSummary:
    """A batch row as its customer sees it; as `job_summary`."""
    rejected = row.rejected_rows + (row.error is not None)
    return BatchSummary(
        batch=row.id,
        source=f"s3://{row.bucket}/{row.key}",
        state=job_state(row.total, _by_state(row), rejected),
        counts=Counts(total=row.total, rejected_rows=row.rejected_rows, held=held, **jobs.counts(row)),
        results_key=row.results_key,
        errors_key=row.errors_key,
        near_duplicates=NearDuplicates.model_validate_json(row.near_duplicates) if row.near_duplicates else None,
        sequence=row.sequence,
    )


def image_summary(row: AnyRow) -> ImageSummary:
    """An image row (the columns of `images.of_job`) as its customer sees it."""
    spec, result = json.loads(row.spec), json.loads(row.result or "{}")
    stored, failure = result.get("stored"), result.get("failure")
    verdict = Verdict.model_validate(result["verdict"]) if "verdict" in result else None
    places = {name: stored[name] for name in ("key", "receipt_key", "copy_key", "sha256")} if stored else {}
    return ImageSummary(
        id=row.id,
        state=ImageState(row.state),
        digest=row.digest,
        width=spec.get("width", 0),
        height=spec.get("height", 0),
        alt=row.alt,
        erased=row.erased_at is not None,
        descriptions=DESCRIPTIONS.validate_json(row.descriptions),
        fairness=_note(row.fairness, spec.get("prompt", "")),
        decision=verdict.decision if verdict else None,
        categories=verdict.found if verdict else (),
        failure=Failure.model_validate(failure) if failure else None,
        **places,
    )


def _note(variation: str | None, effective_prompt: str) -> Note | None:
    """None also where the prompt has outlived its time."""
    if not variation or not effective_prompt:
        return None
    return Variation.model_validate_json(variation).note(effective_prompt)


def finetune_summary(row: AnyRow) -> FinetuneSummary:
    """A fine-tune's row as its customer sees it."""
    spec = FinetuneSpec.model_validate_json(row.spec) if row.erased_at is None else None
    trained = Trained.model_validate_json(row.result) if spec and row.state == FinetuneState.COMPLETED else None
    failed = TrainingFailed.model_validate_json(row.result) if spec and row.state == FinetuneState.FAILED else None
    ended: Trained | TrainingFailed | None = trained or failed
    images: ImageCounts | None = ended.images if ended else None
    problem: FinetuneProblem | None = failed.problem if failed else None
    return FinetuneSummary(
        finetune=row.id,
        name=row.name,
        # What a trainer has been sent and not begun still waits, as far as its customer can tell.
        state=FinetuneState.QUEUED if row.state == "released" else FinetuneState(row.state),
        model=row.model,
        trigger=spec.trigger if spec else "",
        adapter=_made_adapter(row, spec, trained) if trained and spec else None,
        erased=spec is None,
        images=images,
        problem=problem,
        metadata=json.loads(row.metadata),
    )


def _made_adapter(row: AnyRow, spec: FinetuneSpec, trained: Trained) -> AdapterSummary:
    return AdapterSummary(
        name=row.name,
        digest=trained.adapter,
        model=row.model,
        base_digest=row.base_digest,
        rank=spec.rank,
        trigger=spec.trigger,
        scores={"before": trained.scores_before, "after": trained.scores_after},
        finetune=row.id,
    )


def _by_state(row: AnyRow) -> Mapping[ImageState, int]:
    return {ImageState(name): count for name, count in jobs.counts(row).items()}


def _time(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)
