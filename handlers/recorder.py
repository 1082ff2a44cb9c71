"""Turns the workers' reports into states, counters and webhooks: one transaction for all that arrived together."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection

from handlers.finetune_reports import record_training
from handlers.give_back import give_back
from handlers.holding import hold
from handlers.notices import account
from handlers.refusals import judged
from handlers.reviewing import ReviewTerms
from schemas.errors import AquatintError, QueueUnavailable
from schemas.outcome import (
    Finished,
    GpuDone,
    Heartbeat,
    ImageBlocked,
    ImageFailed,
    ImageHeld,
    ImageRendered,
    ImageReturned,
    Outcome,
    Report,
    Started,
    TrainingReport,
    WorkReport,
)
from schemas.states import ImageState
from storage.ledger import costs, images, marks, microbatches, workers
from storage.ledger.costs import Sample
from storage.ledger.engine import Ledger
from storage.ledger.images import Ended, Ending
from storage.ledger.marks import Mark
from storage.ledger.microbatches import Contents

log = structlog.get_logger(__name__)

_REPORT: TypeAdapter[Report] = TypeAdapter(Report)
_STATES = {
    ImageRendered: ImageState.RENDERED,
    ImageBlocked: ImageState.BLOCKED,
    ImageFailed: ImageState.FAILED,
}
#: Returned for these reasons after it had started, an image was on a GPU when something broke: it may be the cause.
_SUSPICIOUS = frozenset({"redelivered", "worker_fault"})


@dataclass(frozen=True, kw_only=True)
class RecorderParams:
    #: How long a heartbeat keeps a worker and what it lists alive: three times its interval.
    lease_seconds: float = 15.0
    #: Attempts of an image before a death or a passing failure ends it.
    attempts_most: int = 3
    #: Reports of one transaction.
    bulk_most: int = 200
    #: Longest wait for the first report of a bulk.
    wait_seconds: float = 0.5
    #: How often an idle recorder says that it is listening.
    mark_every: float = 2.0
    #: A gap between marks longer than this means that it was not.
    mark_gap: float = 6.0
    #: Pause after the ledger or the broker refused.
    retry_seconds: float = 0.2
    #: How long reviews may take, and what they are about is kept.
    terms: ReviewTerms = field(default_factory=ReviewTerms)


class Recorder:
    """Records reports; safe to run twice over the same ones, in any order."""

    def __init__(
        self, ledger: Ledger, *, params: RecorderParams | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.params, self.ledger, self.clock = params or RecorderParams(), ledger, clock
        #: What was recorded and what was dropped, by kind, since the process started.
        self.counts: Counter[str] = Counter()

    def record(self, reports: Sequence[Report], mark: Mark | None = None) -> None:
        """All reports in one transaction; `mark` says how far the queue has been read."""
        now = self.clock()
        with self.ledger.begin() as conn:
            self._workers(conn, [one for one in reports if isinstance(one, Heartbeat)], now)
            self._gpu(conn, [one for one in reports if isinstance(one, WorkReport)], now)
            finished = [one for one in reports if isinstance(one, Finished)]
            ended = self._finished(conn, finished, now)
            account(conn, ended, now)
            trained = self._trained(conn, [one for one in reports if isinstance(one, TrainingReport)], now)
            if mark is not None:
                marks.move(conn, marks.OUTCOMES, mark)
            judged(conn, finished, ended, self.params.terms, now)
        self.counts.update(one.kind for one in reports)
        self.counts.update(one.state for one in ended)
        self.counts.update(f"finetune_{state}" for state in trained)

    def _workers(self, conn: Connection, beats: Sequence[Heartbeat], now: float) -> None:
        for beat in {beat.worker: beat for beat in beats}.values():
            workers.beat(
                conn,
                id=beat.worker,
                pool=beat.pool,
                queue=beat.queue,
                models=beat.models,
                accepting=beat.accepting,
                now=now,
            )
        held = {name for beat in beats for name in beat.held}
        if held:
            microbatches.listed(conn, held, now + self.params.lease_seconds)

    def _trained(self, conn: Connection, reports: Sequence[TrainingReport], now: float) -> list[str]:
        lease, most = self.params.lease_seconds, self.params.attempts_most
        return record_training(conn, reports, lease_seconds=lease, attempts_most=most, now=now)

    def _gpu(self, conn: Connection, reports: Sequence[WorkReport], now: float) -> None:
        """Starts, ends and costs of renders; before anything is deleted, since a cost is found by its microbatch."""
        microbatches.started(
            conn, {one.microbatch: one.at for one in reports if isinstance(one, Started)}, now
        )
        done = {one.gpu_done.microbatch: one.gpu_done for one in reports if one.gpu_done is not None}
        if done:
            keys = microbatches.batch_keys(conn, done)
            costs.learn(
                conn,
                [_sample(keys[name], one) for name, one in done.items() if name in keys and one.images > 0],
            )
            microbatches.gpu_done(conn, done, now)

    def _finished(self, conn: Connection, finished: Sequence[Finished], now: float) -> list[Ended]:
        if not finished:
            return []
        contents = microbatches.contents(conn, [one.microbatch for one in finished])
        ended = self._settle(conn, finished, now)
        ended += hold(
            conn, [one for report in finished for one in report.outcomes if isinstance(one, ImageHeld)]
        )
        for report in finished:
            held = contents.get(report.microbatch)
            if held is not None:
                ended += self._hand_back(conn, report, held, now)
        microbatches.delete(conn, [one.microbatch for one in finished])
        return ended

    def _settle(self, conn: Connection, finished: Iterable[Finished], now: float) -> list[Ended]:
        """End images by their outcomes, unless a failure may pass and has attempts left.

        The outcome of a stale microbatch is as good as any: the picture is named by its digest.
        """
        endings: list[Ending] = []
        for report in finished:
            passing = [
                one.image for one in report.outcomes if isinstance(one, ImageFailed) and one.failure.retryable
            ]
            again: set[str] = set()
            if passing:
                again = images.retry(
                    conn, microbatch=report.microbatch, ids=passing, most=self.params.attempts_most
                )
            endings += [
                _ending(one) for one in report.outcomes if type(one) in _STATES and one.image not in again
            ]
        return images.settle(conn, endings, now)

    def _hand_back(self, conn: Connection, report: Finished, held: Contents, now: float) -> list[Ended]:
        """Plan again what came back, and what the report forgot to mention."""
        returned = {one.image: one.reason for one in report.outcomes if isinstance(one, ImageReturned)}
        named = {one.image for one in report.outcomes}
        suspicious = [image for image, reason in returned.items() if reason in _SUSPICIOUS]
        harmless = [
            image
            for image in held.images
            if image not in named or returned.get(image) not in (None, *_SUSPICIOUS)
        ]
        ended: list[Ended] = []
        for ids, died in ((suspicious, True), (harmless, False)):
            if ids:
                most = self.params.attempts_most
                ended += give_back(conn, held, ids, died=died, counted=True, attempts_most=most, now=now)
        return ended


def _sample(batch_key: str, done: GpuDone) -> Sample:
    return Sample(batch_key, done.images, max(done.seconds, 0.0))


def _ending(outcome: Outcome) -> Ending:
    state = _STATES[type(outcome)]
    return Ending(outcome.image, outcome.digest, state, outcome.model_dump_json())


class ReportDelivery(Protocol):
    @property
    def body(self) -> bytes: ...


Delivery = TypeVar("Delivery", bound=ReportDelivery)


class ReportConsumer(Protocol[Delivery]):
    """The part of `storage.broker.consumer.Consumer` that is used here."""

    def drain(self, limit: int, timeout: float) -> list[Delivery]: ...

    def ack(self, deliveries: Sequence[Delivery]) -> None: ...


def run_recorder(recorder: Recorder, consumer: ReportConsumer[Any], stop: threading.Event) -> None:
    """Drain, record, acknowledge, until told to stop."""
    keeper = _MarkKeeper(recorder)
    while not stop.is_set():
        began = recorder.clock()
        try:
            deliveries = consumer.drain(recorder.params.bulk_most, recorder.params.wait_seconds)
            mark = keeper.mark(began, kept_up=len(deliveries) < recorder.params.bulk_most)
            reports = list(_parsed(recorder, deliveries))
            if not (reports or (mark is not None and keeper.due(began))):
                if deliveries:
                    consumer.ack(deliveries)  # none could be read: there is nothing to make durable
                continue
            if not _recorded(recorder, reports, mark, stop):
                return
            keeper.moved(mark)
            # Durable: every state, counter and webhook that these reports bring is committed.
            consumer.ack(deliveries)
        except QueueUnavailable as error:
            log.warning("recorder_waits", error=error.code)
            stop.wait(recorder.params.retry_seconds)


class _MarkKeeper:
    """Since when the queue of reports has been read without a gap."""

    def __init__(self, recorder: Recorder) -> None:
        self._params = recorder.params
        self._since: float | None = None
        self._seen = self._written = float("-inf")

    def mark(self, began: float, *, kept_up: bool) -> Mark | None:
        """The mark after a drain that began then; None while older reports may still wait behind those drained."""
        if not kept_up:
            return None
        if self._since is None or began - self._seen > self._params.mark_gap:
            self._since = began
        self._seen = began
        return Mark(self._since, began)

    def due(self, now: float) -> bool:
        return now - self._written >= self._params.mark_every

    def moved(self, mark: Mark | None) -> None:
        if mark is not None:
            self._written = mark.at


def _recorded(
    recorder: Recorder, reports: Sequence[Report], mark: Mark | None, stop: threading.Event
) -> bool:
    """Record, however long the ledger refuses; False when told to stop before that."""
    while not stop.is_set():
        try:
            recorder.record(reports, mark)
            return True
        except AquatintError as error:
            log.error("recorder_stumbled", error=error.code, actor=error.actor)
            stop.wait(recorder.params.retry_seconds)
        except Exception:
            if len(reports) == 1:
                # One report that nobody can record must not hold up all others. Its microbatch comes back by its lease.
                log.exception("report_dropped", kind=reports[0].kind)
                recorder.counts["dropped"] += 1
                return True
            return all(_recorded(recorder, [one], mark, stop) for one in reports)
    return False


def _parsed(recorder: Recorder, deliveries: Iterable[ReportDelivery]) -> Iterator[Report]:
    for delivery in deliveries:
        try:
            yield _REPORT.validate_json(delivery.body)
        except ValidationError as invalid:
            # Without the content: a report may quote a prompt.
            log.error("malformed_report", bytes=len(delivery.body), faults=invalid.error_count())
            recorder.counts["malformed"] += 1
