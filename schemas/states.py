"""The states of images, jobs and batches."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ImageState(StrEnum):
    """Where one image stands; see the diagram in ARCHITECTURE.md."""

    PLANNED = "planned"
    RELEASED = "released"
    #: It was on a GPU when its worker died: it is released alone next time.
    SUSPECT = "suspect"
    #: Drawn and kept apart until a person has looked at it; it ends as rendered, blocked or canceled.
    HELD = "held"
    RENDERED = "rendered"
    BLOCKED = "blocked"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


TERMINAL = frozenset({ImageState.RENDERED, ImageState.BLOCKED, ImageState.FAILED, ImageState.CANCELED, ImageState.EXPIRED})


class Stage(StrEnum):
    """Where an image failed; a redrive repeats only that stage."""

    FETCH = "fetch"
    GENERATE = "generate"
    SCREEN = "screen"
    STORE = "store"
    NOTIFY = "notify"


class Lane(StrEnum):
    INTERACTIVE = "interactive"
    BULK = "bulk"


class JobState(StrEnum):
    """Computed from the images, never stored as a truth of its own."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    #: Every image ended, some rendered and some not.
    PARTIAL = "partial"
    FAILED = "failed"
    BLOCKED = "blocked"
    CANCELED = "canceled"


def job_state(total: int, counts: Mapping[ImageState, int], rejected: int = 0) -> JobState:
    """The state of a job or batch of `total` images, of which `counts` have ended; `rejected` rows never became images."""
    ended = sum(counts.get(state, 0) for state in TERMINAL)
    if ended < total:
        return JobState.RUNNING if ended else JobState.QUEUED
    rendered = counts.get(ImageState.RENDERED, 0)
    if rendered == total and not rejected:
        return JobState.COMPLETED
    if rendered:
        return JobState.PARTIAL
    if not rejected and counts.get(ImageState.BLOCKED, 0) == total:
        return JobState.BLOCKED
    if not rejected and total and counts.get(ImageState.CANCELED, 0) == total:
        return JobState.CANCELED
    return JobState.FAILED
