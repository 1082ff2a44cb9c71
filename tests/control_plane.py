"""The control plane around a test: a clock, a planner, and workers that obey the test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from handlers.planner import Origin, Plan, Planner, plan_request
from handlers.recorder import Recorder
from handlers.release_params import ReleaserParams
from handlers.releaser import Releaser
from schemas.errors import QueueMissing, QueueUnavailable
from schemas.microbatch import ImageTask, Microbatch
from schemas.model_offer import ModelOffer
from schemas.object_keys import image_key, receipt_key
from schemas.outcome import (
    Failure,
    Finished,
    GpuDone,
    Heartbeat,
    ImageFailed,
    ImageRendered,
    ImageReturned,
    Outcome,
    Report,
    Started,
    Stored,
)
from schemas.request import GenerationRequest
from schemas.states import Stage
from schemas.verdict import Decision, Verdict
from storage.ledger import marks
from storage.ledger.costs import Cost
from storage.ledger.engine import Ledger
from storage.ledger.marks import Mark

POLICY_DIGEST = "b" * 64
MODEL = ModelOffer(
    name="starter",
    digest="a" * 64,
    sizes=((128, 128), (160, 96)),
    default_steps=8,
    max_steps=50,
    default_guidance=3.0,
    max_prompt_tokens=64,
    domain="closed",
)
OTHER_MODEL = MODEL.model_copy(update={"name": "grand", "digest": "c" * 64, "sizes": ((1024, 1024),)})


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = time.time()  # ids carry the real time

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def verdict(decision: Decision, stage: str = "prompt") -> Verdict:
    return Verdict.model_validate(
        {
            "stage": stage,
            "decision": decision,
            "reasons": [f"{stage}.test"],
            "policy": "standard",
            "policy_digest": POLICY_DIGEST,
        }
    )


@dataclass
class WordScreen:
    """Blocks prompts with the word "forbidden", and breaks on "broken"."""

    seen: list[str] = field(default_factory=list)

    def check(self, prompt: str, negative_prompt: str = "") -> Verdict:
        self.seen.append(prompt)
        if "broken" in prompt:
            return verdict(Decision.ERROR)
        return verdict(Decision.BLOCK if "forbidden" in prompt else Decision.ALLOW)


def a_planner(*offers: ModelOffer, check_webhook: Callable[[str], object] = lambda url: url) -> Planner:
    known = offers or (MODEL,)
    return Planner(
        offers={offer.name: offer for offer in known},
        default_model=known[0].name,
        screen=WordScreen(),
        policy="standard",
        policy_digest=POLICY_DIGEST,
        check_webhook=check_webhook,
    )


def plan(
    ledger: Ledger, now: float, *, tenant: str = "default", planner: Planner | None = None, **fields: object
) -> Plan:
    """One accepted request."""
    request = GenerationRequest.model_validate({"prompt": "a red mug", **fields})
    with ledger.begin() as conn:
        return plan_request(conn, planner or a_planner(), request, Origin(tenant=tenant), now)


class Outbox:
    """A dispatcher that keeps what it is given, and refuses when told to."""

    def __init__(self) -> None:
        self.sent: list[Microbatch] = []
        self.missing: set[str] = set()
        self.down = False

    def submit(self, *microbatches: Microbatch) -> None:
        if self.down:
            raise QueueUnavailable
        if any(one.worker in self.missing for one in microbatches):
            raise QueueMissing
        self.sent += microbatches

    def take(self) -> list[Microbatch]:
        taken, self.sent = self.sent, []
        return taken

    def close(self) -> None:
        pass


class Fleet:
    """A ledger with a releaser and a recorder on one clock; the test plays the workers."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        params: ReleaserParams | None = None,
        cost: Cost | None = None,
        models: Sequence[ModelOffer] = (MODEL,),
        clock: Clock | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        self.ledger, self.models = ledger, models
        self.clock, self.outbox = clock or Clock(), outbox or Outbox()
        priors = {f"{model.name}@{model.digest[:12]}": cost for model in models} if cost else {}
        # Every tick looks at the whole backlog: how often it may is measured in real time, which does not pass here.
        params = replace(params or ReleaserParams(), scan_share=1.0, rare_every=0.0)
        self.releaser = Releaser(ledger, self.outbox, params=params, priors=priors, clock=self.clock)
        self.recorder = Recorder(ledger, clock=self.clock)
        self.listening_since = self.clock.now

    def plan(self, **fields: object) -> Plan:
        """A request; a millisecond passes, so that ids tell the order."""
        self.clock.pass_by(0.001)
        return plan(self.ledger, self.clock.now, planner=a_planner(*self.models), **fields)

    def beat(
        self, *workers: str, held: Iterable[str] = (), pool: str = "gpu", accepting: bool = True
    ) -> None:
        """Heartbeats of workers that serve every model."""
        announced = {model.name: model.digest for model in self.models}
        self.report(
            *(
                Heartbeat(
                    worker=worker,
                    pool=pool,
                    queue=f"work.{worker}",
                    at=self.clock.now,
                    held=tuple(held),
                    models=announced,
                    accepting=accepting,
                )
                for worker in workers
            )
        )

    def report(self, *reports: Report) -> None:
        """The recorder reads these, and has kept up with its queue."""
        self.recorder.record(reports, Mark(self.listening_since, self.clock.now))

    def hear(self) -> None:
        """The recorder finds its queue empty."""
        with self.ledger.begin() as conn:
            marks.move(conn, marks.OUTCOMES, Mark(self.listening_since, self.clock.now))

    def tick(self) -> list[Microbatch]:
        """One tick, with a fresh look at the backlog; what it sent."""
        self.clock.pass_by(0.05)
        self.releaser.tick()
        return self.outbox.take()

    def sweep(self) -> None:
        self.releaser.sweep(self.clock.now)


def started(one: Microbatch, at: float, done: GpuDone | None = None) -> Started:
    return Started(worker=one.worker, microbatch=one.id, at=at, gpu_done=done)


def gpu_done(one: Microbatch, at: float, seconds: float = 1.0) -> GpuDone:
    return GpuDone(microbatch=one.id, at=at, seconds=seconds, images=len(one.images))


def finished(one: Microbatch, at: float, *outcomes: Outcome) -> Finished:
    """The end of a microbatch; without outcomes, all its images are rendered."""
    given = outcomes or tuple(rendered(task) for task in one.images)
    return Finished(worker=one.worker, microbatch=one.id, at=at, outcomes=given)


def rendered(task: ImageTask) -> ImageRendered:
    stored = Stored(
        key=image_key(task.digest, "png"),
        receipt_key=receipt_key(task.digest),
        sha256="d" * 64,
        bytes=1000,
        width=task.spec.width,
        height=task.spec.height,
        media_type="image/png",
        copy_key=task.copy_key,
    )
    return ImageRendered(
        image=task.image, digest=task.digest, stored=stored, verdict=verdict(Decision.ALLOW, "output")
    )


def failed(task: ImageTask, *, retryable: bool = False) -> ImageFailed:
    failure = Failure(stage=Stage.STORE, code="store_unavailable", detail="no answer", retryable=retryable)
    return ImageFailed(image=task.image, digest=task.digest, failure=failure)


def returned(task: ImageTask, reason: str) -> ImageReturned:
    return ImageReturned.model_validate({"image": task.image, "digest": task.digest, "reason": reason})
