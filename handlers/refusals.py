"""What follows when something is refused or held: reviews are opened, refusals counted, and both go into the audit log.

What is allowed passes through here untouched: no query, no row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from handlers.planner import Plan
from handlers.reviewing import ReviewTerms, open_reviews
from schemas.errors import PromptRefused
from schemas.outcome import Finished, ImageBlocked, ImageHeld, Outcome
from schemas.states import ImageState
from schemas.verdict import Verdict
from storage.ledger import audit, reviews, standing
from storage.ledger.audit import Entry
from storage.ledger.engine import Ledger
from storage.ledger.images import Ended


def judged(
    conn: Connection, finished: Iterable[Finished], changed: Sequence[Ended], terms: ReviewTerms, now: float
) -> None:
    """Follow up on what workers blocked or held; `changed` are the images that this transaction moved.

    To be called last in the transaction (see `audit.append`).
    """
    moved = {one.id: one.state for one in changed if one.state in (ImageState.BLOCKED, ImageState.HELD)}
    if not moved:
        return
    outcomes = {one.image: one for report in finished for one in report.outcomes if _counts(one, moved)}
    owners = reviews.owners(conn, list(outcomes))
    blocked = [one for one in outcomes.values() if isinstance(one, ImageBlocked)]
    held = [one for one in outcomes.values() if isinstance(one, ImageHeld)]
    opened = open_reviews(conn, held, owners, terms, now)
    for tenant, count in sorted(Counter(owners[one.image][0] for one in blocked).items()):
        standing.note(conn, tenant, refused=count, now=now)
    told = [_blocked(owners[one.image][0], one.image, "worker", one.verdict) for one in blocked]
    audit.append(conn, [*told, *opened], now)


def planned(conn: Connection, plans: Sequence[Plan], now: float) -> None:
    """Follow up on images that were blocked for their prompts when a manifest was planned; last in its transaction."""
    refused = [plan for plan in plans if plan.images and plan.images[0].state == ImageState.BLOCKED]
    for tenant, count in sorted(Counter({plan.job.tenant: len(plan.images) for plan in refused}).items()):
        standing.note(conn, tenant, refused=count, now=now)
    told = [
        _blocked(
            plan.job.tenant, plan.job.id, "planner", Verdict.model_validate_json(plan.job.prompt_verdict)
        )
        for plan in refused
        if plan.job.prompt_verdict is not None
    ]
    audit.append(conn, told, now)


def request_refused(ledger: Ledger, tenant: str, error: PromptRefused, now: float) -> None:
    """Follow up on a request that was refused for its prompt and became nothing."""
    with ledger.begin(wake=False) as conn:
        note(conn, tenant, 1, now)
        data = {"code": error.code, "policy": error.limit, "reasons": list(error.reasons)}
        audit.append(conn, [Entry(kind="prompt.refused", actor="intake", tenant=tenant, data=data)], now)


def input_refused(ledger: Ledger, tenant: str, verdict: Verdict, now: float) -> None:
    """Follow up on a picture that was refused and not kept."""
    with ledger.begin(wake=False) as conn:
        note(conn, tenant, 1, now)
        told = {
            "decision": verdict.decision,
            "categories": list(verdict.found),
            "reasons": list(verdict.reasons),
        }
        data = {**told, "policy": verdict.policy, "policy_digest": verdict.policy_digest}
        audit.append(conn, [Entry(kind="upload.refused", actor="intake", tenant=tenant, data=data)], now)


def note(conn: Connection, tenant: str, count: int, now: float) -> None:
    """Count refusals of what never became an image, such as a request or an uploaded picture."""
    standing.note(conn, tenant, refused=count, unplanned=count, now=now)


def _counts(outcome: Outcome, moved: dict[str, str]) -> bool:
    kinds = {ImageState.BLOCKED: ImageBlocked, ImageState.HELD: ImageHeld}
    state = moved.get(outcome.image)
    return state is not None and isinstance(outcome, kinds[ImageState(state)])


def _blocked(tenant: str, about: str, actor: str, verdict: Verdict) -> Entry:
    data = {
        "stage": verdict.stage,
        "decision": verdict.decision,
        "categories": list(verdict.found),
        "reasons": list(verdict.reasons),
        "policy": verdict.policy,
        "policy_digest": verdict.policy_digest,
    }
    return Entry(kind="image.blocked", actor=actor, tenant=tenant, about=about, data=data)
