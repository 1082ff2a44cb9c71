"""The plan of attempts and the breakers, as pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.webhooks.breaker import BreakerParams, Breakers
from handlers.webhooks.retry_plan import JITTER, MAX_ATTEMPTS, WAITS_SECONDS, RetryPlan, judge
from handlers.webhooks.sender import Delivered, Failed, Gone, Result, Retry
from storage.ledger.deliveries import ClaimedDelivery

DAY = 86400.0
PLAN = RetryPlan()
FAILED = Failed(status=500, error="500")


def claimed(attempts: int = 0, failures: int = 0, since: float | None = None) -> ClaimedDelivery:
    return ClaimedDelivery(
        id="dlv_1", tenant="acme", endpoint="end_1", url="https://a.example/", type="x", body="{}", traceparent=None,
        attempts=attempts, failing_since=since, consecutive_failures=failures, disabled=False,
    )  # fmt: skip


def test_ten_attempts_over_seventy_six_hours() -> None:
    """The last of ten attempts comes 75 h 35 min 5 s after the first, before jitter; then the delivery is abandoned."""
    now = 0.0
    for attempts in range(MAX_ATTEMPTS - 1):
        settlement = judge(PLAN, claimed(attempts), FAILED, now, lambda: 0.0).settlement
        assert settlement.state == "pending"
        now = settlement.next_attempt_at
    assert now == 75 * 3600 + 35 * 60 + 5
    assert judge(PLAN, claimed(MAX_ATTEMPTS - 1), FAILED, now, lambda: 0.0).settlement.state == "abandoned"


@settings(deadline=None)
@given(st.integers(0, MAX_ATTEMPTS - 2), st.floats(0, 1))
def test_jitter_only_ever_waits_longer(attempts: int, draw: float) -> None:
    """Between the planned wait and a fifth more."""
    wait = judge(PLAN, claimed(attempts), FAILED, 0.0, lambda: draw).settlement.next_attempt_at
    assert WAITS_SECONDS[attempts] <= wait <= WAITS_SECONDS[attempts] * (1 + JITTER)


@pytest.mark.parametrize(("wish", "wait"), [(None, 5.0), (1.0, 5.0), (600.0, 600.0), (1e9, DAY)])
def test_the_receivers_wish_is_honoured_and_capped(wish: float | None, wait: float) -> None:
    """Retry-After can lengthen a wait up to a day, and never shorten it."""
    result = Retry(status=429, after_seconds=wish, error="429")
    assert judge(PLAN, claimed(), result, 1000.0, lambda: 0.0).settlement.next_attempt_at == 1000.0 + wait


def test_success_and_gone_end_the_delivery() -> None:
    """2xx: delivered, without an error text. 410: abandoned, and the endpoint is disabled, at the first time."""
    done = judge(PLAN, claimed(), Delivered(status=201), 7.0, lambda: 0.0)
    assert (done.settlement.state, done.settlement.status, done.settlement.error, done.disable) == (
        "delivered",
        201,
        None,
        None,
    )
    gone = judge(PLAN, claimed(), Gone(), 7.0, lambda: 0.0)
    assert (gone.settlement.state, gone.disable) == ("abandoned", "gone")


@pytest.mark.parametrize(
    ("result", "failures", "since", "disabled"),
    [
        (FAILED, 9, 0.0, True),
        (Retry(status=503, after_seconds=None, error="503"), 50, 0.0, True),
        (Failed(status=None, error="timed out"), 9, 0.1, False),
        (FAILED, 8, 0.0, False),
        (FAILED, 50, None, False),
        (Delivered(status=200), 50, 0.0, False),
    ],
)
def test_five_days_of_nothing_but_failure(
    result: Result, failures: int, since: float | None, disabled: bool
) -> None:
    """An endpoint is given up after five days and ten failures without any success between, and not before."""
    verdict = judge(PLAN, claimed(0, failures, since), result, 5 * DAY, lambda: 0.0)
    assert (verdict.disable == "failing") is disabled


def test_a_breaker_opens_pauses_longer_and_closes() -> None:
    """Open after five failures; each failed probe doubles the pause up to an hour; a success closes it."""
    breakers = Breakers(BreakerParams())
    assert [breakers.failed("e", 0, 0.0) for _ in range(4)] == [None] * 4
    assert breakers.limit("e", 0, 4) == 4
    assert breakers.failed("e", 0, 0.0) == 30.0
    assert (breakers.open_until("e", 29.9), breakers.open_until("e", 30.0)) == (30.0, None)
    assert breakers.limit("e", 0, 4) == 1
    now, pauses = 30.0, []
    for _ in range(9):
        probe = breakers.failed("e", 0, now)
        assert probe is not None
        pauses.append(probe - now)
        now = probe
    assert pauses == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 3600.0]
    breakers.succeeded("e")
    assert breakers.failed("e", 0, now) is None and breakers.limit("e", 0, 4) == 4


def test_failures_already_under_way_do_not_lengthen_the_pause() -> None:
    """Four attempts that fail together are one outage."""
    breakers = Breakers(BreakerParams(open_after_failures=1))
    assert [breakers.failed("e", 0, float(now)) for now in range(4)] == [30.0] * 4


def test_a_restarted_process_knows_broken_endpoints_from_the_ledger() -> None:
    """With five failures in the ledger a new process probes with one attempt at a time."""
    breakers = Breakers(BreakerParams())
    assert breakers.limit("e", 5, 4) == 1
    assert breakers.failed("e", 5, 0.0) == 30.0
