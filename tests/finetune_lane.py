"""The lane of fine-tunes around a test: intake, releaser and recorder on one clock; the test plays the trainers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from control_plane import MODEL, Clock, a_planner
from ledgers import delivery_bodies

from handlers.finetune_releaser import FinetuneReleaser
from handlers.finetunes import FinetunePlanner
from handlers.intake import Accepted, Intake
from handlers.recorder import Recorder
from schemas.cloudevent import FINETUNE_REQUESTED, CloudEvent
from schemas.errors import QueueMissing, QueueUnavailable
from schemas.finetune import (
    FinetuneProblem,
    FinetuneStage,
    FinetuneStop,
    FinetuneTask,
    ImageCounts,
    Progress,
    Trained,
    TrainerBeat,
    TrainingEnded,
    TrainingFailed,
    TrainingOutcome,
    TrainingReturned,
    TrainingStarted,
)
from schemas.model_offer import ModelOffer
from schemas.outcome import TrainingReport
from storage.ledger import finetunes, marks
from storage.ledger.engine import Ledger
from storage.ledger.marks import Mark
from storage.ledger.sql import AnyRow
from storage.objects.memory import MemoryStore
from storage.objects.prefixed import PrefixedStore
from storage.objects.store import ObjectStore

BASE = "5" * 64
TUNABLE = MODEL.model_copy(update={"features": ("adapters",), "base_digest": BASE})
HOOK = {"url": "https://example.org/hook"}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


class NoRecipes:
    def get(self, reference: str) -> Any:
        raise AssertionError(reference)


def with_pictures(store: ObjectStore, prefix: str = "brand/", count: int = 5) -> None:
    for number in range(count):
        store.put(f"{prefix}{number}.png", PNG + bytes([number]))


class Outbox:
    """A dispatcher that keeps what it is given, and refuses when told to."""

    def __init__(self) -> None:
        self.tasks: list[FinetuneTask] = []
        self.stops: list[FinetuneStop] = []
        self.missing: set[str] = set()
        self.down = False

    def send(self, *messages: FinetuneTask | FinetuneStop) -> None:
        for one in messages:
            if self.down:
                raise QueueUnavailable
            if one.trainer in self.missing:
                raise QueueMissing
            if isinstance(one, FinetuneTask):
                self.tasks.append(one)
            else:
                self.stops.append(one)

    def take(self) -> list[FinetuneTask]:
        taken, self.tasks = self.tasks, []
        return taken


class Lane:
    """A ledger with everything about fine-tunes but the trainers."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        offer: ModelOffer = TUNABLE,
        clock: Clock | None = None,
        check_webhook: Callable[[str], object] = lambda url: url,
        unavailable: str = "",
    ) -> None:
        self.ledger, self.clock, self.outbox = ledger, clock or Clock(), Outbox()
        self.uploads = MemoryStore(bucket="uploads")
        self.planner = FinetunePlanner(
            offers={offer.name: offer},
            default_model=offer.name,
            uploads=self.uploads_of,
            check_webhook=check_webhook,
            unavailable=unavailable,
        )
        self.intake = Intake(
            ledger=ledger,
            planner=a_planner(),
            recipes=NoRecipes(),
            finetunes=self.planner,
            clock=self.clock,
        )
        self.recorder = Recorder(ledger, clock=self.clock)
        self.releaser = FinetuneReleaser(ledger, self.outbox, clock=self.clock)
        self.listening_since = self.clock.now

    def uploads_of(self, tenant: str) -> ObjectStore:
        return self.uploads if tenant == "default" else PrefixedStore(self.uploads, f"tenants/{tenant}")

    def event(self, id: str = "1", **fields: object) -> CloudEvent:
        data = {"name": "acme", "images": "uploads/brand/", "webhook": HOOK, **fields}
        return CloudEvent(specversion="1.0", id=id, source="shop", type=FINETUNE_REQUESTED, data=data)

    def ask(self, id: str = "1", tenant: str = "default", **fields: object) -> Accepted:
        """An event of a tenant that has uploaded its pictures."""
        self.clock.pass_by(0.001)
        with_pictures(self.uploads_of(tenant))
        return self.intake.accept(self.event(id, **fields), tenant)

    def beat(self, *trainers: str, run: str | None = None, accepting: bool = True, **more: Any) -> None:
        announced = {TUNABLE.name: BASE}
        self.report(
            *(
                TrainerBeat(
                    trainer=one,
                    queue=f"finetune.{one}",
                    at=self.clock.now,
                    models=announced,
                    run=run,
                    accepting=accepting,
                    **more,
                )
                for one in trainers
            )
        )

    def report(self, *reports: TrainingReport) -> None:
        """The recorder reads these, and has kept up with its queue."""
        self.recorder.record(reports, Mark(self.listening_since, self.clock.now))

    def hear(self) -> None:
        """The recorder finds its queue empty."""
        with self.ledger.begin() as conn:
            marks.move(conn, marks.OUTCOMES, Mark(self.listening_since, self.clock.now))

    def tick(self) -> list[FinetuneTask]:
        self.clock.pass_by(0.05)
        self.releaser.tick()
        return self.outbox.take()

    def release(self, *trainers: str) -> list[FinetuneTask]:
        """Idle trainers say that they are there; what they are sent."""
        self.beat(*trainers)
        return self.tick()

    def row(self, id: str | None, tenant: str = "default") -> AnyRow:
        assert id is not None
        with self.ledger.read() as conn:
            found = finetunes.get(conn, tenant=tenant, id=id)
        assert found is not None
        return found

    def told(self) -> list[dict[str, Any]]:
        """The bodies of the webhooks that are owed, in order."""
        with self.ledger.read() as conn:
            bodies = [json.loads(body) for body in delivery_bodies(conn)]
        assert {body["type"] for body in bodies} <= {"finetune.completed"}
        return [body["data"] for body in bodies]


def started(task: FinetuneTask, at: float = 0.0) -> TrainingStarted:
    return TrainingStarted(trainer=task.trainer, finetune=task.finetune, run=task.run, at=at)


def ended(task: FinetuneTask, outcome: TrainingOutcome, at: float = 0.0) -> TrainingEnded:
    return TrainingEnded(trainer=task.trainer, finetune=task.finetune, run=task.run, at=at, outcome=outcome)


def trained(digest: str = "d" * 64) -> Trained:
    return Trained(
        adapter=digest,
        scores_before={"brand": 0.1},
        scores_after={"brand": 0.9},
        images=ImageCounts(seen=5, kept=4, dropped={"duplicate": 1}),
        steps=100,
        seconds=60.0,
    )


def failed(*, retryable: bool = False) -> TrainingFailed:
    problem = FinetuneProblem(
        stage=FinetuneStage.FETCH, code="input_missing", detail="gone", field="images.0", retryable=retryable
    )
    return TrainingFailed(problem=problem)


def returned(reason: str) -> TrainingReturned:
    return TrainingReturned.model_validate({"reason": reason})


def training(step: int = 10) -> Progress:
    return Progress(stage=FinetuneStage.TRAIN, step=step, steps=100, loss=0.5, seconds_left=30.0)
