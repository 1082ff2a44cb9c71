"""The bodies of webhooks: `{"type", "timestamp", "data"}`, ids and links, never pixels."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Frozen
from schemas.description import Description
from schemas.fairness import Note
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
    #: The picture in words, in every language that was asked for; the first one's alt text is `alt`.
    descriptions: tuple[Description, ...] = ()
    #: What was added to its prompt, or would have been; None where fairness is off or the prompt names nobody.
    fairness: Note | None = None
    key: str | None = None
    receipt_key: str | None = None
    copy_key: str | None = None
    sha256: str | None = None
    decision: Decision | None = None
    #: What was found, by category, for a picture that was not let through.
    categories: tuple[str, ...] = ()
    failure: Failure | None = None
    #: Its words were dropped: their time was over, or its customer had them erased.
    erased: bool = False


class Counts(Frozen):
    """How many images stand in each final state, and how many wait for a reviewer."""

    total: int = 0
    rendered: int = 0
    blocked: int = 0
    failed: int = 0
    canceled: int = 0
    expired: int = 0
    #: Not ended: each will be rendered, blocked or canceled.
    held: int = 0
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
    #: Its words were dropped, or it was erased as a whole.
    erased: bool = False


class NearDuplicates(Frozen):
    """How many images of a batch look nearly like another one: little variety, which somebody may want to know."""

    #: Rendered images whose pictures show enough to be compared.
    compared: int
    #: Groups of images that are nearly alike, and how many images are in one.
    groups: int
    images: int
    #: File with one JSON line per group; None without any.
    key: str | None = None


class BatchSummary(Frozen):
    batch: str
    source: str
    state: JobState
    counts: Counts
    results_key: str | None = None
    errors_key: str | None = None
    near_duplicates: NearDuplicates | None = None
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
    """It has ended, or is held for a reviewer until it ends."""

    type: Literal["image.rendered", "image.blocked", "image.failed", "image.held"]
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
