"""The bodies of answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from schemas.base import Frozen
from schemas.finetune import AdapterSummary, FinetuneSummary, Progress
from schemas.problem import Problem
from schemas.webhook import BatchSummary, ImageSummary, JobSummary


class AcceptedView(Frozen):
    """202: what the request or event became, and where to look. An upload that nothing waits for is ignored."""

    id: str | None = None
    kind: Literal["job", "batch", "finetune", "ignored"]
    #: True when the same event came before; `id` is then what the first one became.
    duplicate: bool
    url: str | None = None


class JobView(JobSummary):
    """A job with one page of its images."""

    created_at: datetime
    ended_at: datetime | None = None
    #: Where the next page of images begins, while there is one.
    next: str | None = None


class BatchView(BatchSummary):
    """A batch with one page of its images and its rejected rows."""

    phase: Literal["planning", "planned", "finishing", "ended"]
    #: Why the manifest as a whole could not be read.
    error: Problem | None = None
    images: tuple[ImageSummary, ...] = ()
    next: str | None = None
    rejected: tuple[Problem, ...] = ()
    created_at: datetime
    ended_at: datetime | None = None


class ImageView(ImageSummary):
    """An image, and while it is published a link to the picture that anyone who has it can open."""

    job: str
    batch: str | None = None
    url: str | None = None
    receipt_url: str | None = None
    url_expires_at: datetime | None = None


class FinetuneView(FinetuneSummary):
    """A fine-tune, and how far it is."""

    progress: Progress | None = None
    #: Runs that died or failed for a passing reason.
    attempts: int
    #: What a queued one waits for: its turn, or any trainer at all.
    waiting_for: Literal["turn", "trainer"] | None = None
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


class FinetunesView(Frozen):
    """One page, newest first."""

    finetunes: tuple[FinetuneView, ...]
    next: str | None = None


class AdapterView(AdapterSummary):
    """An adapter that requests may name."""

    created_at: datetime


class AdaptersView(Frozen):
    """One page, by name."""

    adapters: tuple[AdapterView, ...]
    next: str | None = None


class ErasureView(Frozen):
    """An erasure, and what it has removed so far, by kind."""

    id: str
    #: The job or batch.
    subject: str
    done: bool
    removed: dict[str, int]
    requested_at: datetime | None
    done_at: datetime | None = None


class InputView(Frozen):
    """A picture that was taken in; `reference` names it in requests. Width and height in pixels, as it is looked at."""

    reference: str
    media_type: str
    width: int
    height: int


class NotificationView(Frozen):
    """What came of one S3 notification."""

    accepted: tuple[AcceptedView, ...] = ()
    #: Parts that announce no new object, such as test messages.
    ignored: tuple[str, ...] = ()


class NotReady(Frozen):
    name: str
    code: str
    detail: str


class ReadinessView(Frozen):
    ready: bool
    not_ready: tuple[NotReady, ...] = ()


#: Ids in paths and queries. Anything else names nothing, and some databases cannot even be asked for it.
ID_PATTERN = r"^[0-9a-z_]{0,40}$"


def moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
