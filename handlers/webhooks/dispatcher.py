"""The webhook dispatcher: claims what is due, sends it from a pool of threads, settles it in the ledger.

It may be killed at any moment: what it had claimed is due again when the claim's lease ends, and is sent again under
the same `webhook-id`.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Connection

from handlers.webhooks.breaker import BreakerParams, Breakers
from handlers.webhooks.metrics import Observer, Unobserved
from handlers.webhooks.retry_plan import RetryPlan, Verdict, judge
from handlers.webhooks.sender import TOTAL_SECONDS, Failed, Message, Result
from schemas.errors import AquatintError
from schemas.webhook import EndpointDisabled, EndpointEvent
from storage.ledger import deliveries
from storage.ledger.deliveries import ClaimedDelivery, DisabledReason, NewDelivery

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class DispatcherParams:
    """The numbers of one dispatcher process."""

    threads: int = 16
    #: Attempts at one endpoint at once, so that a slow one cannot take the whole pool.
    per_endpoint: int = 4
    #: Claimed deliveries kept in memory per endpoint; the rest goes back for `overflow_seconds`.
    waiting_per_endpoint: int = 32
    overflow_seconds: float = 1.0
    claim_size: int = 100
    #: A claim lasts so long; nothing is sent in its last stretch, which an attempt may need.
    lease_seconds: float = 60.0
    attempt_seconds: float = TOTAL_SECONDS
    #: Longest time between two looks at the ledger.
    idle_seconds: float = 1.0
    plan: RetryPlan = field(default_factory=RetryPlan)
    breaker: BreakerParams = field(default_factory=BreakerParams)


class Transactions(Protocol):
    """What is needed of the ledger."""

    def begin(self, *, wake: bool = True) -> AbstractContextManager[Connection]: ...

    def read(self) -> AbstractContextManager[Connection]: ...

    def version(self) -> int: ...

    def wait_for_change(self, seconds: float, since: int | None = None) -> int: ...


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    claimed: ClaimedDelivery
    send_before: float


@dataclass(frozen=True, kw_only=True)
class _Sent:
    claimed: ClaimedDelivery
    result: Result
    at: float


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """An attempt that is judged but not yet in the ledger."""

    claimed: ClaimedDelivery
    verdict: Verdict
    probe_at: float | None


class Dispatcher:
    """Call `run` in a thread or process of its own, or `step` and `settle_all` in turn."""

    def __init__(
        self,
        *,
        ledger: Transactions,
        send: Callable[[Message], Result],
        secrets: Callable[[str], tuple[str, ...]],
        params: DispatcherParams = DispatcherParams(),
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`secrets` gives the signing secrets of a tenant; `draw` a number from 0 to 1 for the jitter."""
        self._ledger, self._send, self._secrets, self._params = ledger, send, secrets, params
        self._observer: Observer = observer or Unobserved()
        self._clock, self._draw = clock, draw
        self._pool = ThreadPoolExecutor(params.threads, thread_name_prefix="webhook")
        self._breakers = Breakers(params.breaker)
        self._inbox: queue.SimpleQueue[_Sent | None] = queue.SimpleQueue()
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._active: Counter[str] = Counter()
        self._unsettled: list[_Ended] = []

    def run(self, stop: threading.Event) -> None:
        """Dispatches until `stop` is set; then waits for the attempts under way and settles them."""
        waker = threading.Thread(target=self._wake, args=(stop,), name="webhook-waker", daemon=True)
        waker.start()
        while not stop.is_set():
            try:
                self.step()
            except AquatintError as error:
                # The ledger is busy or away: what is claimed stays claimed until its lease ends.
                _log.warning("webhooks.ledger", code=error.code)
                stop.wait(self._params.idle_seconds)
            self._collect(self._params.idle_seconds)
        self.close()
        waker.join(self._params.idle_seconds * 2)

    def step(self) -> int:
        """One round: settle what has ended, claim what is due, start what may start. The number of attempts started."""
        self._collect(0)
        self._settle()
        started = self._start()
        if self._active.total() < self._params.threads:
            # What still waits here is for endpoints that are at their limit, and must not keep others waiting.
            self._claim()
            started += self._start()
        return started

    def settle_all(self) -> None:
        """Wait for every attempt under way and settle it."""
        while self._active.total():
            self._collect(None)
        self._settle()

    def close(self) -> None:
        """Settle what is under way, give back what is not, and end the threads."""
        self.settle_all()
        ids = [waiting.claimed.id for line in self._waiting.values() for waiting in line]
        self._waiting.clear()
        if ids:
            with self._ledger.begin() as conn:
                deliveries.postpone(conn, ids, self._clock())
        self._pool.shutdown()

    def _wake(self, stop: threading.Event) -> None:
        since: int | None = None
        while not stop.is_set():
            try:
                since = self._ledger.wait_for_change(self._params.idle_seconds, since)
            except AquatintError:
                stop.wait(self._params.idle_seconds)
            self._inbox.put(None)

    def _collect(self, seconds: float | None) -> None:
        """Take in all that has been sent; wait up to `seconds` (None: for ever) for the first news."""
        try:
            self._take(self._inbox.get(timeout=seconds) if seconds != 0 else self._inbox.get_nowait())
            while True:
                self._take(self._inbox.get_nowait())
        except queue.Empty:
            return

    def _take(self, sent: _Sent | None) -> None:
        if sent is None:
            return
        place = sent.claimed.endpoint
        self._active[place] -= 1
        if not self._active[place]:
            del self._active[place]
        verdict = judge(self._params.plan, sent.claimed, sent.result, sent.at, self._draw)
        probe_at = None
        if verdict.settlement.state == "delivered" or verdict.disable:
            self._breakers.succeeded(place)
        else:
            probe_at = self._breakers.failed(place, sent.claimed.consecutive_failures, sent.at)
        self._unsettled.append(_Ended(claimed=sent.claimed, verdict=verdict, probe_at=probe_at))

    def _settle(self) -> None:
        if not self._unsettled:
            return
        with self._ledger.begin(wake=False) as conn:
            deliveries.settle(conn, [ended.verdict.settlement for ended in self._unsettled])
            for ended in self._unsettled:
                if ended.verdict.disable:
                    self._disable(conn, ended.claimed, ended.verdict.disable, ended.verdict.settlement.at)
            for place, probe_at in {
                ended.claimed.endpoint: ended.probe_at for ended in self._unsettled
            }.items():
                if probe_at is not None:
                    deliveries.postpone_endpoint(conn, place, probe_at)
        for ended in self._unsettled:
            if ended.probe_at is not None or ended.verdict.disable:
                # The ledger has just moved or ended them.
                self._waiting.pop(ended.claimed.endpoint, None)
        self._unsettled.clear()

    def _disable(self, conn: Connection, claimed: ClaimedDelivery, reason: DisabledReason, at: float) -> None:
        if not deliveries.disable(conn, claimed.endpoint, reason, at):
            return
        _log.warning("webhooks.endpoint_disabled", endpoint=claimed.endpoint, reason=reason)
        others = [place for place in deliveries.endpoints(conn, claimed.tenant) if place.disabled_at is None]
        body = _disabled_body(claimed, reason, at)
        news = [
            NewDelivery(
                tenant=claimed.tenant,
                url=place.url,
                type="endpoint.disabled",
                about=claimed.endpoint,
                body=body,
            )
            for place in others
        ]
        deliveries.add_many(conn, news, at)

    def _claim(self) -> None:
        now = self._clock()
        with self._ledger.read() as conn:
            due = deliveries.oldest_due(conn)
        if due is None or due > now:
            return
        with self._ledger.begin(wake=False) as conn:
            claimed = deliveries.claim(conn, now, self._params.claim_size, self._params.lease_seconds)
            admitted = self._admit(conn, claimed, now)
        send_before = now + self._params.lease_seconds - self._params.attempt_seconds
        for one in admitted:
            self._waiting.setdefault(one.endpoint, deque()).append(
                _Waiting(claimed=one, send_before=send_before)
            )

    def _admit(
        self, conn: Connection, claimed: Iterable[ClaimedDelivery], now: float
    ) -> list[ClaimedDelivery]:
        """Those that may wait here; the others go back in the same transaction."""
        admitted: list[ClaimedDelivery] = []
        back: dict[float, list[str]] = {}
        lengths = Counter({place: len(line) for place, line in self._waiting.items()})
        for one in claimed:
            open_until = self._breakers.open_until(one.endpoint, now)
            if one.disabled:
                # Added in the moment in which the endpoint was disabled.
                deliveries.abandon(conn, one.endpoint, now)
            elif open_until is not None:
                back.setdefault(open_until, []).append(one.id)
            elif lengths[one.endpoint] >= self._params.waiting_per_endpoint:
                back.setdefault(now + self._params.overflow_seconds, []).append(one.id)
            else:
                lengths[one.endpoint] += 1
                admitted.append(one)
        for until, ids in back.items():
            deliveries.postpone(conn, ids, until)
        return admitted

    def _start(self) -> int:
        """Hand attempts to the pool, endpoint by endpoint in turn, within the limits."""
        started, progress = 0, True
        while progress:
            progress = False
            for place in list(self._waiting):
                if self._active.total() < self._params.threads and self._start_one(place):
                    started, progress = started + 1, True
        return started

    def _start_one(self, place: str) -> bool:
        line = self._waiting[place]
        now = self._clock()
        while line and line[0].send_before <= now:
            line.popleft()  # the lease may end during an attempt: whoever claims it next sends it
        if not line:
            del self._waiting[place]
            return False
        first = line[0].claimed
        if self._active[place] >= self._breakers.limit(
            place, first.consecutive_failures, self._params.per_endpoint
        ):
            return False
        line.popleft()
        self._active[place] += 1
        self._pool.submit(self._attempt, first)
        return True

    def _attempt(self, claimed: ClaimedDelivery) -> None:
        """In a thread of the pool; whatever happens, the main thread hears of it."""
        began = time.monotonic()
        try:
            result = self._send(_message(claimed, self._secrets(claimed.tenant)))
        except Exception as error:
            _log.exception("webhooks.attempt_broken", delivery=claimed.id)
            result = Failed(status=None, error=type(error).__name__)
        self._observer.attempted(type(result).__name__.lower(), time.monotonic() - began)
        _log.info(
            "webhooks.attempt",
            delivery=claimed.id,
            endpoint=claimed.endpoint,
            status=result.status,
            attempt=claimed.attempts + 1,
        )
        self._inbox.put(_Sent(claimed=claimed, result=result, at=self._clock()))


def _message(claimed: ClaimedDelivery, secrets: tuple[str, ...]) -> Message:
    return Message(
        id=claimed.id,
        url=claimed.url,
        body=claimed.body.encode(),
        secrets=secrets,
        traceparent=claimed.traceparent,
    )


def _disabled_body(claimed: ClaimedDelivery, reason: DisabledReason, at: float) -> str:
    parts = urlsplit(claimed.url)
    # Without its query, where receivers keep tokens.
    place = EndpointDisabled(
        endpoint=claimed.endpoint, url=f"{parts.scheme}://{parts.netloc}{parts.path}", reason=reason
    )
    return EndpointEvent(
        type="endpoint.disabled", timestamp=datetime.fromtimestamp(at, UTC), data=place
    ).model_dump_json()
