"""Gives each idle trainer its next fine-tune, and takes back what a silent one will not finish.

Rows are committed before a message is sent, as for pictures: a crash in between costs one lease. A trainer is sent one
fine-tune at a time, just when it is idle, so that nothing waits in its queue; and word of runs that do not count any
more, for as long as it says that it holds one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from handlers.finetune_ends import fail_or_retry
from schemas.errors import AquatintError, QueueMissing
from schemas.finetune import (
    FinetuneProblem,
    FinetuneSpec,
    FinetuneStage,
    FinetuneStop,
    FinetuneTask,
    Progress,
)
from schemas.ids import new_id
from storage.finetune_dispatch import FinetuneDispatcher
from storage.ledger import finetunes, marks, trainers
from storage.ledger.engine import Ledger
from storage.ledger.marks import Mark
from storage.ledger.sql import AnyRow
from storage.ledger.trainers import TrainerRecord

log = structlog.get_logger(__name__)

#: The name of the leader lock.
LOCK = "finetune-releaser"


@dataclass(frozen=True, kw_only=True)
class FinetuneReleaserParams:
    """In seconds unless said."""

    #: Three heartbeats.
    lease_seconds: float = 15.0
    #: Sent, but not listed by any heartbeat: the message is lost.
    unlisted_seconds: float = 30.0
    #: What a lease holds is put back only this much later, when every copy of its message has gone stale.
    grace_seconds: float = 3.0
    #: Deaths and passing failures of one fine-tune before it has failed.
    attempts_most: int = 3
    #: Longest sleep when nothing happens.
    backstop: float = 1.0
    #: Between two words to a trainer about the same run.
    repeat_stop_seconds: float = 5.0
    #: Trainers that were last seen this long ago are forgotten.
    forget_seconds: float = 3600.0


@dataclass(frozen=True, kw_only=True)
class _View:
    """What one tick saw in the ledger."""

    mark: Mark | None
    trainers: Sequence[TrainerRecord]
    held: Sequence[AnyRow]
    waiting: Sequence[AnyRow]
    last_released: Mapping[str, float]


class FinetuneReleaser:
    """One tick looks, decides, commits and sends. Not thread-safe: one releaser, one thread."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: FinetuneDispatcher,
        *,
        params: FinetuneReleaserParams | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.params = params or FinetuneReleaserParams()
        self._ledger, self._dispatcher, self._clock = ledger, dispatcher, clock
        #: When each run that does not count was last called off.
        self._stopped: dict[str, float] = {}
        #: Trainers whose queue was gone, until they are heard of again: id to the time they had been seen.
        self._unreachable: dict[str, float] = {}

    def tick(self) -> None:
        now, view = self._clock(), self._look()
        if gone := [one for one in view.held if lost(one, view.mark, self.params)]:
            self._put_back(gone, now)
            view = self._look()
        self._call_off(view, now)
        free = self._idle(view, now)
        chosen = list(pairs(free, view.waiting, view.last_released))
        self._release(chosen, {one.id: one.seen_at for one in free}, now)
        if any(now - one.seen_at > self.params.forget_seconds for one in view.trainers):
            with self._ledger.begin(wake=False) as conn:
                trainers.forget(conn, now - self.params.forget_seconds)

    def _look(self) -> _View:
        with self._ledger.read() as conn:
            waiting = finetunes.waiting(conn)
            tenants = {one.tenant for one in waiting}
            return _View(
                mark=marks.get(conn, marks.OUTCOMES),
                trainers=trainers.everyone(conn),
                held=finetunes.held(conn),
                waiting=waiting,
                last_released=finetunes.last_released(conn, tenants) if tenants else {},
            )

    def _idle(self, view: _View, now: float) -> list[TrainerRecord]:
        self._unreachable = {
            one.id: one.seen_at for one in view.trainers if self._unreachable.get(one.id) == one.seen_at
        }
        busy = {one.trainer for one in view.held}
        return [
            one
            for one in view.trainers
            if one.accepting
            and one.run is None
            and one.id not in busy
            and now - one.seen_at <= self.params.lease_seconds
            and one.id not in self._unreachable
        ]

    def _put_back(self, gone: Sequence[AnyRow], now: float) -> None:
        with self._ledger.begin() as conn:
            for row in gone:
                if row.state == "released":
                    finetunes.put_back(conn, id=row.id, run=row.run)
                else:
                    most = self.params.attempts_most
                    fail_or_retry(conn, row, _death(row), attempts_most=most, now=now)
        log.warning("finetunes_put_back", finetunes=[one.id for one in gone])

    def _release(
        self, chosen: Sequence[tuple[TrainerRecord, str]], seen_at: Mapping[str, float], now: float
    ) -> None:
        if not chosen:
            return
        until = now + self.params.unlisted_seconds
        with self._ledger.begin() as conn:
            rows = [
                finetunes.release(
                    conn, id=id, run=new_id("run"), trainer=trainer.id, lease_until=until, now=now
                )
                for trainer, id in chosen
            ]
        # Durable: released, with a lease running. A message that is lost from here on comes back by that.
        for row in rows:
            if row is not None:
                self._send(row, seen_at[row.trainer], until)

    def _send(self, row: AnyRow, seen_at: float, until: float) -> None:
        task = FinetuneTask(
            finetune=row.id,
            run=row.run,
            trainer=row.trainer,
            tenant=row.tenant,
            good_until=until,
            spec=FinetuneSpec.model_validate_json(row.spec),
            traceparent=row.traceparent,
        )
        try:
            self._dispatcher.send(task)
        except AquatintError as error:
            log.warning("finetune_not_sent", finetune=row.id, trainer=row.trainer, error=error.code)
            if isinstance(error, QueueMissing):
                self._unreachable[row.trainer] = seen_at
            with self._ledger.begin(wake=False) as conn:
                finetunes.put_back(conn, id=row.id, run=row.run)
            return
        log.info("finetune_released", finetune=row.id, trainer=row.trainer)

    def _call_off(self, view: _View, now: float) -> None:
        """Runs that trainers hold and nobody waits for: canceled, or taken back from a trainer that lives after all."""
        counting = {one.run for one in view.held}
        vain = {one.run: one for one in view.trainers if one.run is not None and one.run not in counting}
        self._stopped = {run: at for run, at in self._stopped.items() if run in vain}
        for run, trainer in vain.items():
            fresh = now - trainer.seen_at <= self.params.lease_seconds
            if fresh and now - self._stopped.get(run, 0.0) >= self.params.repeat_stop_seconds:
                self._stopped[run] = now
                try:
                    self._dispatcher.send(FinetuneStop(run=run, trainer=trainer.id))
                except AquatintError as error:
                    log.warning("finetune_not_called_off", run=run, error=error.code)


def lost(row: AnyRow, mark: Mark | None, params: FinetuneReleaserParams) -> bool:
    """Whether no heartbeat has listed the run for longer than its lease, as far as the recorder has read."""
    if mark is None:
        return False
    return bool(mark.at > max(row.lease_until, mark.since + params.lease_seconds) + params.grace_seconds)


def pairs(
    free: Sequence[TrainerRecord], waiting: Sequence[AnyRow], last_released: Mapping[str, float]
) -> Iterable[tuple[TrainerRecord, str]]:
    """Which trainer takes which fine-tune: the tenant that has waited longest for a release goes first."""
    last = dict(last_released)
    left = list(waiting)
    for trainer in free:
        fitting = [one for one in left if trainer.models.get(one.model) == one.base_digest]
        if not fitting:
            continue
        chosen = min(fitting, key=lambda one: (last.get(one.tenant, 0.0), one.id))
        left.remove(chosen)
        last[chosen.tenant] = float("inf")
        yield trainer, chosen.id


def _death(row: AnyRow) -> FinetuneProblem:
    stage = Progress.model_validate_json(row.progress).stage if row.progress else FinetuneStage.FETCH
    return FinetuneProblem(
        stage=stage,
        code="trainer_died",
        detail=f"{row.attempts + 1} times a trainer died while it worked on this fine-tune",
    )


def run_finetune_releaser(releaser: FinetuneReleaser, ledger: Ledger, stop: threading.Event) -> None:
    """Tick until told to stop, while this process holds the leader lock."""
    lock = ledger.lock(LOCK)
    try:
        while not stop.is_set():
            seen = ledger.version()
            try:
                if not lock.acquire():
                    stop.wait(releaser.params.backstop)
                elif lock.held():
                    releaser.tick()
                    ledger.wait_for_change(releaser.params.backstop, since=seen)
                    stop.wait(0.1)  # while a fleet renders, commits never stop, and this look can wait
            except AquatintError as error:
                log.error("finetune_releaser_waits", error=error.code, actor=error.actor)
                stop.wait(2.0)
    finally:
        lock.release()
