"""What people decide about verdicts: whose decision it is, and how it reads afterwards."""

from __future__ import annotations

from safety.categories import is_hard_floor
from schemas.verdict import Check, Decision, Verdict

REVIEW = "human_review"
RELEASED, REJECTED, EXPIRED = "review.released", "review.rejected", "review.expired"


def on_hard_floor(verdict: Verdict) -> bool:
    """Whether a hard-floor category was found at its threshold or above."""
    return any(map(is_hard_floor, verdict.found))


def released(verdict: Verdict) -> Verdict:
    """The verdict of screens that were unsure, after people have looked and allowed the picture."""
    return _decided(verdict, Decision.ALLOW, RELEASED)


def refused(verdict: Verdict, reason: str = REJECTED) -> Verdict:
    """The verdict after people have looked and refused, or after nobody has looked in time."""
    return _decided(verdict, Decision.BLOCK, reason)


def _decided(verdict: Verdict, decision: Decision, reason: str) -> Verdict:
    # Who it was stands in the audit log alone: receipts go to customers.
    check = Check(name=REVIEW, version="1", milliseconds=0.0, status="ok")
    return verdict.model_copy(
        update={
            "decision": decision,
            "reasons": (*verdict.reasons, reason),
            "checks": (*verdict.checks, check),
        }
    )
