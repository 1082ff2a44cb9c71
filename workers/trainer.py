"""A trainer: takes one fine-tune at a time from its queue, says that it lives, and reports how each run ended."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import structlog
from pydantic import TypeAdapter

from schemas.errors import KeyMissing, QueueUnavailable, SealBroken
from schemas.finetune import (
    FinetuneStage,
    FinetuneStop,
    FinetuneTask,
    Progress,
    TrainerBeat,
    TrainerMessage,
    TrainingEnded,
    TrainingFailed,
    TrainingOutcome,
    TrainingReturned,
    TrainingStarted,
)
from storage.broker.consumer import Delivery
from storage.broker.sealed_body import open_body
from workers.brand_pictures import Fetched, Stores
from workers.finetune_run import problem_of, run_finetune
from workers.ports import Reporter
from workers.scratch import Scratch
from workers.ticker import Ticker
from workers.tuning import Tuner
from workers.watchdog import Watchdog

log = structlog.get_logger(__name__)

_MESSAGE: TypeAdapter[FinetuneTask | FinetuneStop] = TypeAdapter(TrainerMessage)
Reason = Literal["stale", "busy", "shutdown", "stopped"]


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """How one trainer behaves."""

    #: Unique for each start, e.g. "trn_...": a new start is a new trainer.
    trainer_id: str
    #: Below it, a folder for each run; what dead trainers left there is removed.
    scratch: Path
    queue: str = ""
    #: What messages to it are sealed with; empty: they come plain.
    message_key: bytes = field(default=b"", repr=False)
    heartbeat_seconds: float = 5.0
    #: Without any sign of progress for so long, the process ends itself and its run is given to another.
    hang_seconds: float = 900.0
    #: Between two tries to report the end of a run.
    retry_seconds: float = 2.0
    #: How long a run may take to leave when it is asked to.
    grace_seconds: float = 12.0


@dataclass(kw_only=True)
class _Held:
    """The run in hand."""

    task: FinetuneTask
    delivery: Delivery
    off: threading.Event = field(default_factory=threading.Event)
    progress: Progress | None = None
    thread: threading.Thread | None = None


class Trainer:
    """`take` and `settled` belong to one thread, which receives the messages; the run has a thread of its own."""

    def __init__(
        self,
        settings: TrainerSettings,
        *,
        tuner: Tuner,
        stores: Callable[[str], Stores],
        reporter: Reporter,
        clock: Callable[[], float] = time.time,
        watchdog: Watchdog | None = None,
    ) -> None:
        self.settings, self._tuner, self._reporter, self._clock = settings, tuner, reporter, clock
        self._stores = stores
        self._watchdog = watchdog or Watchdog(unknown_seconds=settings.hang_seconds)
        self._scratch = Scratch(settings.scratch)
        self._stopping = threading.Event()
        self._held: _Held | None = None
        #: Runs that were taken before: their messages may come again.
        self._known: set[str] = set()
        self._ticker = Ticker(self._beat, seconds=settings.heartbeat_seconds)

    def start(self) -> None:
        self._ticker.start()

    def take(self, delivery: Delivery) -> list[Delivery]:
        """Begin the work of a message, or do what it says; the deliveries that may be acknowledged by now.

        Raises `QueueUnavailable` when a report could not be sent.
        """
        try:
            message = self._opened(delivery.body)
        except (ValueError, SealBroken, KeyMissing) as refused:
            log.error("trainer.message_refused", error=type(refused).__name__)
            return [delivery]  # a lease of the releaser brings its fine-tune back
        if isinstance(message, FinetuneStop):
            self._call_off(message.run)
            return [delivery]
        return [] if self._begun(message, delivery) else [delivery]

    def _opened(self, body: bytes) -> FinetuneTask | FinetuneStop:
        payload = open_body(self.settings.message_key, json.loads(body), self.settings.queue)
        return _MESSAGE.validate_json(json.dumps(payload))

    def settled(self) -> list[Delivery]:
        """The delivery of a run that has ended and been reported."""
        held = self._held
        if held is None or held.thread is None or held.thread.is_alive():
            return []
        self._held = None
        self._ticker.beat_now()
        return [held.delivery]

    def stop(self) -> None:
        """Call off what is being trained, and wait for it to leave; a last heartbeat says goodbye."""
        self._stopping.set()
        held = self._held
        if held is not None and held.thread is not None:
            held.off.set()
            held.thread.join(self.settings.grace_seconds)
        self._ticker.close()
        self._watchdog.close()
        self._scratch.close()

    def _begun(self, task: FinetuneTask, delivery: Delivery) -> bool:
        if task.run in self._known:
            log.info("trainer.message_repeated", finetune=task.finetune)
            return False
        refusal = self._refusal(task)
        if refusal is not None:
            self._report_end(task, TrainingReturned(reason=refusal))
            return False
        # From here on a death counts as an attempt: the broker has confirmed this before anything is fetched.
        self._reporter.report(
            TrainingStarted(
                trainer=self.settings.trainer_id, finetune=task.finetune, run=task.run, at=self._clock()
            )
        )
        self._known.add(task.run)
        self._held = held = _Held(task=task, delivery=delivery)
        held.thread = threading.Thread(target=self._work, args=(held,), name="finetune", daemon=True)
        held.thread.start()
        self._ticker.beat_now()
        return True

    def _refusal(self, task: FinetuneTask) -> Reason | None:
        if self._stopping.is_set():
            return "shutdown"
        if self._held is not None:
            return "busy"
        return "stale" if self._clock() > task.good_until else None

    def _call_off(self, run: str) -> None:
        held = self._held
        if held is not None and held.task.run == run:
            log.info("trainer.called_off", finetune=held.task.finetune)
            held.off.set()

    def _work(self, held: _Held) -> None:
        task = held.task
        bound = {
            "finetune": task.finetune,
            "run": task.run,
            "trace_id": (task.traceparent or "")[3:35] or None,
        }
        with structlog.contextvars.bound_contextvars(**bound), self._watchdog.watching(task.run, None):
            outcome = self._outcome(held)
            log.info("trainer.finetune_ended", how=outcome.type.rpartition(".")[2])
        self._report_until_kept(task, outcome)

    def _outcome(self, held: _Held) -> TrainingOutcome:
        task = held.task
        try:
            stores = self._stores(task.tenant)
        except Exception as error:
            return TrainingFailed(problem=problem_of(FinetuneStage.FETCH, error, Fetched()))
        with self._scratch.folder() as folder:
            outcome = run_finetune(
                task, self._tuner, stores, folder, tell=self._teller(held), cancelled=self._asker(held)
            )
        if isinstance(outcome, TrainingReturned) and self._stopping.is_set():
            return TrainingReturned(reason="shutdown")
        return outcome

    def _teller(self, held: _Held) -> Callable[[Progress], None]:
        def tell(progress: Progress) -> None:
            self._watchdog.alive()
            news = held.progress is None or held.progress.stage is not progress.stage
            held.progress = progress
            if news:
                self._ticker.beat_now()

        return tell

    def _asker(self, held: _Held) -> Callable[[], bool]:
        def cancelled() -> bool:
            self._watchdog.alive()
            return held.off.is_set()

        return cancelled

    def _report_until_kept(self, task: FinetuneTask, outcome: TrainingOutcome) -> None:
        """The adapter is stored: its message is acknowledged only when somebody has been told."""
        while True:
            try:
                return self._report_end(task, outcome)
            except QueueUnavailable:
                log.warning("trainer.report_not_sent", finetune=task.finetune)
                if self._stopping.wait(self.settings.retry_seconds):
                    return

    def _report_end(self, task: FinetuneTask, outcome: TrainingOutcome) -> None:
        self._reporter.report(
            TrainingEnded(
                trainer=self.settings.trainer_id,
                finetune=task.finetune,
                run=task.run,
                at=self._clock(),
                outcome=outcome,
            )
        )

    def _beat(self) -> None:
        held = self._held
        self._reporter.report(
            TrainerBeat(
                trainer=self.settings.trainer_id,
                queue=self.settings.queue,
                at=self._clock(),
                models=dict(self._tuner.models),
                accepting=not self._stopping.is_set(),
                run=held.task.run if held else None,
                progress=held.progress if held else None,
            )
        )
