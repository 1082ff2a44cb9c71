"""How a fine-tune ends: its state, its adapter and the webhook that tells of it commit together."""

from __future__ import annotations

from sqlalchemy import Connection

from handlers.notices import finetune_ended
from schemas.finetune import (
    FinetuneProblem,
    FinetuneSpec,
    FinetuneState,
    ImageCounts,
    Trained,
    TrainingFailed,
)
from storage.ledger import adapters, finetunes
from storage.ledger.adapters import AdapterRow
from storage.ledger.sql import AnyRow


def complete(conn: Connection, id: str, trained: Trained, now: float) -> bool:
    """The adapter is there: its name stands for it from now on. False when the fine-tune had ended before.

    Whichever run brings it: a run that was given up for dead has learnt as well as another.
    """
    row = finetunes.end(conn, id=id, state=FinetuneState.COMPLETED, result=trained.model_dump_json(), now=now)
    if row is None:
        return False
    spec = FinetuneSpec.model_validate_json(row.spec)
    adapters.register(
        conn,
        AdapterRow(
            tenant=row.tenant,
            name=row.name,
            digest=trained.adapter,
            model=row.model,
            base_digest=row.base_digest,
            rank=spec.rank,
            trigger=spec.trigger,
            created_at=now,
            finetune=row.id,
            scores={"before": trained.scores_before, "after": trained.scores_after},
        ),
    )
    finetune_ended(conn, row, now)
    return True


def fail(conn: Connection, held: AnyRow, failed: TrainingFailed, now: float) -> bool:
    """The run that counts has failed for good; `held` is the row as it was in that run."""
    row = finetunes.end(
        conn, id=held.id, run=held.run, state=FinetuneState.FAILED, result=failed.model_dump_json(), now=now
    )
    if row is not None:
        finetune_ended(conn, row, now)
    return row is not None


def fail_or_retry(
    conn: Connection,
    held: AnyRow,
    problem: FinetuneProblem,
    *,
    images: ImageCounts | None = None,
    attempts_most: int,
    now: float,
) -> bool:
    """Charge the run with an attempt: planned again, or failed when it was the last; True when it has failed."""
    if held.attempts + 1 < attempts_most:
        finetunes.charge(conn, held)
        return False
    return fail(conn, held, TrainingFailed(problem=problem, images=images or ImageCounts()), now)
