"""What follows from a verdict about a picture that somebody brought."""

from __future__ import annotations

from schemas.errors import InputRefused, ScreenMissing
from schemas.verdict import Decision, Verdict


def require_allowed(verdict: Verdict) -> Verdict:
    """The verdict as it may be kept, coarse and without times; InputRefused unless it allows, ScreenMissing when there is none."""
    if verdict.decision is Decision.ERROR:
        # Not the customer's fault: whoever runs this installation learns which screen gave no answer.
        raise ScreenMissing(f"the picture could not be checked: {', '.join(verdict.reasons)}")
    coarse = _timeless(verdict.coarse())
    if verdict.decision is not Decision.ALLOW:
        raise InputRefused(
            f"the picture is not allowed by policy {verdict.policy}",
            limit={"decision": verdict.decision.value, "categories": list(coarse.found)},
        )
    return coarse


def _timeless(verdict: Verdict) -> Verdict:
    """Without the time that its checks took: a receipt says the same whoever writes it."""
    checks = tuple(check.model_copy(update={"milliseconds": 0.0}) for check in verdict.checks)
    return verdict.model_copy(update={"checks": checks})
