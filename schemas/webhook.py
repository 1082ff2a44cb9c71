"""The bodies of webhooks: `{"type", "timestamp", "data"}`, ids and links, never pixels."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Frozen
from schemas.finetune import FinetuneSummary
from schemas.outcome import Failure
from schemas.states import ImageState, JobState
from schemas.verdict import Decision

#: A body stays below 20 kB; a longer list of images is cut and `images_url` leads to the rest.
MAX_IMAGES_IN_BODY = 24


class ImageSummary(Frozen):
    """One image as its customer sees it."""

    id: str
    state: ImageState
    digest: str
    width: int
    height: int
    alt: str = ""
    key: str | None = None
    receipt_key: str | None = None
    copy_key: str | None = None
    sha256: str | None = None
    decision: Decision | None = None
    failure: Failure | None = None


class Counts(Frozen):
    """How many images stand in each final state."""

    total: int = 0
    rendered: int = 0
    blocked: int = 0
    failed: int = 0
    canceled: int = 0
    expired: int = 0
    #: Manifest rows that could not become images.
    rejected_rows: int = 0


class JobSummary(Frozen):
    job: str
    batch: str | None = None
    state: JobState
    counts: Counts
    images: tuple[ImageSummary, ...] = ()
    #: Grows with every event of the job: a receiver drops what is older than what it has seen.
    sequence: int
    metadata: dict[str, str] = Field(default_factory=dict)


class BatchSummary(Frozen):
    batch: str
    source: str
    state: JobState
    counts: Counts
    results_key: str | None = None
    errors_key: str | None = None
    sequence: int


class ImageEvent(Frozen):
    job: str
    batch: str | None = None
    image: ImageSummary
    sequence: int
    metadata: dict[str, str] = Field(default_factory=dict)


class EndpointDisabled(Frozen):
    endpoint: str
    url: str
    reason: Literal["gone", "failing"]


class JobCompleted(Frozen):
    type: Literal["job.completed", "job.progress"]
    timestamp: datetime
    data: JobSummary


class BatchCompleted(Frozen):
    type: Literal["batch.completed", "batch.progress"]
    timestamp: datetime
    data: BatchSummary


class ImageEnded(Frozen):
    type: Literal["image.rendered", "image.blocked", "image.failed"]
    timestamp: datetime
    data: ImageEvent


class FinetuneCompleted(Frozen):
    """It has ended: completed, failed or canceled, as `data.state` says."""

    type: Literal["finetune.completed"]
    timestamp: datetime
    data: FinetuneSummary


class EndpointEvent(Frozen):
    type: Literal["endpoint.disabled"]
    timestamp: datetime
    data: EndpointDisabled


WebhookBody = Annotated[
    JobCompleted | BatchCompleted | ImageEnded | FinetuneCompleted | EndpointEvent,
    Field(discriminator="type"),
]
