"""What follows from one attempt: when the next one is made, and when an endpoint is given up. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from handlers.webhooks.sender import Delivered, Gone, Result, Retry
from storage.ledger.deliveries import ClaimedDelivery, DeliveryState, DisabledReason, Settlement

#: Seconds from each failed attempt to the next, as Standard Webhooks suggests: ten attempts over 75 h 35 min.
WAITS_SECONDS = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
MAX_ATTEMPTS = len(WAITS_SECONDS) + 1

#: The next wait is up to this share longer, so that the deliveries of one outage do not come back as one.
JITTER = 0.2


@dataclass(frozen=True, kw_only=True)
class RetryPlan:
    """The numbers of the plan; the defaults are the promise."""

    waits_seconds: tuple[float, ...] = WAITS_SECONDS
    jitter: float = JITTER
    #: A receiver that asks for more is asked again after this.
    max_retry_after_seconds: float = 24 * 3600.0
    #: An endpoint that has done nothing but fail for so long, and at least so often, is disabled.
    disable_after_seconds: float = 5 * 24 * 3600.0
    disable_after_failures: int = 10


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The settlement of an attempt, and whether its endpoint is to be disabled."""

    settlement: Settlement
    disable: DisabledReason | None


def judge(
    plan: RetryPlan, claimed: ClaimedDelivery, result: Result, now: float, random: Callable[[], float]
) -> Verdict:
    """What becomes of `claimed` after `result` at `now` (Unix seconds); `random` draws from 0 to 1."""
    if isinstance(result, Delivered):
        return Verdict(settlement=_settlement(claimed, "delivered", now, result, now), disable=None)
    if isinstance(result, Gone):
        return Verdict(settlement=_settlement(claimed, "abandoned", now, result, now), disable="gone")
    disable: DisabledReason | None = "failing" if _has_only_failed(plan, claimed, now) else None
    wait = _wait(plan, claimed.attempts, result, random)
    state: DeliveryState = "abandoned" if wait is None else "pending"
    return Verdict(settlement=_settlement(claimed, state, now + (wait or 0.0), result, now), disable=disable)


def _settlement(
    claimed: ClaimedDelivery, state: DeliveryState, next_attempt_at: float, result: Result, at: float
) -> Settlement:
    return Settlement(
        id=claimed.id,
        endpoint=claimed.endpoint,
        state=state,
        next_attempt_at=next_attempt_at,
        status=result.status,
        error=None if isinstance(result, Delivered) else result.error,
        at=at,
    )


def _wait(plan: RetryPlan, attempts_before: int, result: Result, random: Callable[[], float]) -> float | None:
    """Seconds to the next attempt, or None after the last."""
    if attempts_before >= len(plan.waits_seconds):
        return None
    wait = plan.waits_seconds[attempts_before] * (1 + plan.jitter * random())
    wish = result.after_seconds if isinstance(result, Retry) else None
    return wait if wish is None else max(wait, min(wish, plan.max_retry_after_seconds))


def _has_only_failed(plan: RetryPlan, claimed: ClaimedDelivery, now: float) -> bool:
    # Time alone would give up an endpoint that is seldom called after its second failure.
    often = claimed.consecutive_failures + 1 >= plan.disable_after_failures
    return (
        often
        and claimed.failing_since is not None
        and now - claimed.failing_since >= plan.disable_after_seconds
    )
