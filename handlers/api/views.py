"""The bodies of answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from schemas.base import Frozen
from schemas.problem import Problem
from schemas.webhook import BatchSummary, ImageSummary, JobSummary


class AcceptedView(Frozen):
    """202: what the request or event became, and where to look. An upload that nothing waits for is ignored."""

    id: str | None = None
    kind: Literal["job", "batch", "ignored"]
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
