"""What trainers report becomes states, adapters and webhooks, in the recorder's transaction."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from handlers.finetune_ends import complete, fail, fail_or_retry
from schemas.finetune import (
    FinetuneState,
    Trained,
    TrainerBeat,
    TrainingEnded,
    TrainingReturned,
    TrainingStarted,
)
from schemas.outcome import TrainingReport
from storage.ledger import finetunes, trainers
from storage.ledger.trainers import TrainerRecord


def record_training(
    conn: Connection,
    reports: Iterable[TrainingReport],
    *,
    lease_seconds: float,
    attempts_most: int,
    now: float,
) -> list[str]:
    """Safe to run twice over the same reports, in any order; the final states that were reached by these."""
    ended: list[str | None] = []
    for report in reports:
        if isinstance(report, TrainerBeat):
            _beat(conn, report, now + lease_seconds, now)
        elif isinstance(report, TrainingStarted):
            until = now + lease_seconds
            finetunes.started(conn, id=report.finetune, run=report.run, lease_until=until, now=now)
        else:
            ended.append(_ended(conn, report, attempts_most, now))
    return [state for state in ended if state is not None]


def _beat(conn: Connection, beat: TrainerBeat, lease_until: float, now: float) -> None:
    record = TrainerRecord(
        id=beat.trainer,
        queue=beat.queue,
        models=beat.models,
        accepting=beat.accepting,
        run=beat.run,
        seen_at=now,
    )
    trainers.beat(conn, record)
    if beat.run is not None:
        progress = beat.progress.model_dump_json() if beat.progress else None
        finetunes.alive(conn, run=beat.run, progress=progress, lease_until=lease_until)


def _ended(conn: Connection, report: TrainingEnded, attempts_most: int, now: float) -> str | None:
    trainers.let_go(conn, id=report.trainer, run=report.run)
    outcome = report.outcome
    if isinstance(outcome, Trained):
        return FinetuneState.COMPLETED if complete(conn, report.finetune, outcome, now) else None
    if isinstance(outcome, TrainingReturned):
        finetunes.put_back(conn, id=report.finetune, run=report.run)
        return None
    held = finetunes.in_run(conn, report.run)
    if held is None:
        return None  # another run counts by now, or it has ended
    problem = outcome.problem
    if problem.retryable:
        most, images = attempts_most, outcome.images
        failed = fail_or_retry(conn, held, problem, images=images, attempts_most=most, now=now)
    else:
        failed = fail(conn, held, outcome, now)
    return FinetuneState.FAILED if failed else None
