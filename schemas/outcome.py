"""What a worker tells the handlers; every message is a `Report`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Frozen
from schemas.finetune import TrainerBeat, TrainingEnded, TrainingStarted
from schemas.states import Stage
from schemas.verdict import Verdict

PREFIX = "io.aquatint.image."


class Failure(Frozen):
    """Why an image failed, in the terms of `schemas.errors`."""

    stage: Stage
    code: str
    detail: str
    retryable: bool = False


class Stored(Frozen):
    """A picture in the bucket."""

    key: str
    receipt_key: str
    sha256: str
    bytes: int
    width: int
    height: int
    media_type: str
    copy_key: str | None = None
    #: True when it was there already, under the same digest.
    reused: bool = False
    #: Perceptual hash of the picture (PDQ), by which near copies are found.
    pdq: str | None = None
    pdq_quality: int | None = None


class ImageRendered(Frozen):
    type: Literal["io.aquatint.image.rendered"] = "io.aquatint.image.rendered"
    image: str
    digest: str
    stored: Stored
    verdict: Verdict


class ImageBlocked(Frozen):
    type: Literal["io.aquatint.image.blocked"] = "io.aquatint.image.blocked"
    image: str
    digest: str
    verdict: Verdict


class QuarantineRef(Frozen):
    """Where a picture lies that nobody outside may see yet."""

    key: str
    #: Of the pixels, as an allow token names them.
    sha256: str
    #: None where not even a blurred view is kept.
    preview_key: str | None = None


class ImageHeld(Frozen):
    """Drawn, not published: a person decides."""

    type: Literal["io.aquatint.image.held"] = "io.aquatint.image.held"
    image: str
    digest: str
    verdict: Verdict
    quarantined: QuarantineRef


class ImageFailed(Frozen):
    type: Literal["io.aquatint.image.failed"] = "io.aquatint.image.failed"
    image: str
    digest: str
    failure: Failure


class ImageReturned(Frozen):
    """Not rendered and not started by this worker: plan it again, without counting an attempt."""

    type: Literal["io.aquatint.image.returned"] = "io.aquatint.image.returned"
    image: str
    digest: str
    reason: Literal["stale", "shutdown", "redelivered", "canceled", "worker_fault"]


Outcome = Annotated[
    ImageRendered | ImageBlocked | ImageHeld | ImageFailed | ImageReturned, Field(discriminator="type")
]


class Started(Frozen):
    """Confirmed by the broker before the GPU touches the microbatch: whatever dies after this is a suspect."""

    kind: Literal["started"] = "started"
    worker: str
    microbatch: str
    at: float
    #: The microbatch that left the GPU just before this one, with its GPU seconds and size.
    gpu_done: GpuDone | None = None


class GpuDone(Frozen):
    microbatch: str
    at: float
    seconds: float
    images: int


class Finished(Frozen):
    """All images of a microbatch are accounted for; sent with confirmation before the message is acknowledged."""

    kind: Literal["finished"] = "finished"
    worker: str
    microbatch: str
    at: float
    gpu_done: GpuDone | None = None
    outcomes: tuple[Outcome, ...]


class Heartbeat(Frozen):
    """Every few seconds: this worker lives and holds these microbatches."""

    kind: Literal["heartbeat"] = "heartbeat"
    worker: str
    pool: str
    #: The queue the worker consumes; the releaser publishes there.
    queue: str
    at: float
    held: tuple[str, ...] = ()
    gpu_done: GpuDone | None = None
    #: Model names with digests that it can render.
    models: dict[str, str] = Field(default_factory=dict)
    #: False once it is shutting down: it takes no further work.
    accepting: bool = True


#: What workers say about microbatches, and what trainers say about fine-tunes.
WorkReport = Started | Finished | Heartbeat
TrainingReport = TrainerBeat | TrainingStarted | TrainingEnded
Report = Annotated[WorkReport | TrainingReport, Field(discriminator="kind")]
Started.model_rebuild()
