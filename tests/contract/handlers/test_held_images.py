"""Images that wait for a reviewer: kept, counted, told of, and open until somebody has decided."""

from __future__ import annotations

import json
from typing import Any

import pytest
from control_plane import Fleet, failed, finished, rendered, returned, verdict

from handlers.api.looking import get_job
from handlers.cancel import cancel_job
from schemas.microbatch import ImageTask, Microbatch
from schemas.outcome import ImageBlocked, ImageHeld, QuarantineRef
from schemas.states import TERMINAL, ImageState, JobState
from schemas.verdict import CategoryScore, Decision
from storage.ledger import deliveries, held, images, jobs
from storage.ledger.engine import Ledger
from storage.ledger.images import Ending

HOOK = {
    "url": "https://example.org/hook",
    "events": ["job.completed", "job.progress", "image.held", "image.rendered", "image.blocked"],
}


def held_one(task: ImageTask) -> ImageHeld:
    found = {"sexual": CategoryScore(score=0.653, threshold=0.6, source="a classifier")}
    doubtful = verdict(Decision.REVIEW, "output").model_copy(update={"categories": found})
    kept = QuarantineRef(key=f"quarantine/default/{task.image}", sha256="f" * 64)
    return ImageHeld(image=task.image, digest=task.digest, verdict=doubtful, quarantined=kept)


class Held:
    """A job of some images, of which the first is held and the others are rendered."""

    def __init__(self, ledger: Ledger, n: int = 2, webhook: dict[str, Any] | None = HOOK) -> None:
        self.ledger, self.fleet = ledger, Fleet(ledger)
        self.job = self.fleet.plan(n=n, webhook=webhook).job.id
        self.fleet.beat("w1")
        (self.microbatch,) = self.fleet.tick()
        self.task, *self.others = self.microbatch.images
        self.report(held_one(self.task), *(rendered(task) for task in self.others))

    def report(self, *outcomes: Any, microbatch: Microbatch | None = None) -> None:
        self.fleet.report(finished(microbatch or self.microbatch, self.fleet.clock.now, *outcomes))

    def image(self) -> Any:
        with self.ledger.read() as conn:
            return images.get(conn, tenant="default", id=self.task.image)

    def row(self) -> Any:
        with self.ledger.read() as conn:
            return jobs.get(conn, tenant="default", id=self.job)

    def bodies(self) -> list[dict[str, Any]]:
        with self.ledger.begin() as conn:
            due = deliveries.claim(conn, now=self.fleet.clock.now + 1, limit=100, lease_seconds=1)
        return [json.loads(one.body) for one in due]


def test_held_is_not_an_end() -> None:
    """A held image has a state of its own, and no state of a job counts it as ended."""
    assert ImageState.HELD not in TERMINAL


def test_a_job_waits_for_its_held_image(ledger: Ledger) -> None:
    """The image is held, its neighbour rendered; the job stays open and counts both."""
    one = Held(ledger)

    assert one.image().state == "held" and one.image().ended_at is None
    row = one.row()
    assert (row.rendered, row.total, row.ended_at) == (1, 2, None)
    with ledger.read() as conn:
        assert held.of_job(conn, one.job) == 1


def test_its_customer_is_told_without_a_score(ledger: Ledger) -> None:
    """The webhook of a held image names decision and category, and nothing that teaches how close it was."""
    one = Held(ledger)
    told = {body["type"]: body for body in one.bodies()}

    assert set(told) >= {"image.held", "image.rendered"} and "job.completed" not in told
    image = told["image.held"]["data"]["image"]
    assert (image["state"], image["decision"], image["categories"]) == ("held", "review", ["sexual"])
    assert image["key"] is None and image["receipt_key"] is None
    text = json.dumps(told)
    assert "0.65" not in text and "classifier" not in text and "quarantine" not in text


def test_progress_counts_what_is_held(ledger: Ledger) -> None:
    """While images are held the job's progress says how many."""
    one = Held(ledger, n=8)
    progress = [body for body in one.bodies() if body["type"] == "job.progress"]

    assert [body["data"]["counts"]["held"] for body in progress] == [1]
    assert progress[0]["data"]["state"] == JobState.RUNNING


@pytest.mark.parametrize("again", ["held", "failed", "failed for now", "blocked", "returned"])
def test_a_late_report_changes_nothing(ledger: Ledger, again: str) -> None:
    """Whatever a worker says later of a held image, short of having published it, the image stays held."""
    one = Held(ledger)
    late = {
        "held": held_one(one.task),
        "failed": failed(one.task),
        "failed for now": failed(one.task, retryable=True),
        "blocked": ImageBlocked(
            image=one.task.image, digest=one.task.digest, verdict=verdict(Decision.BLOCK, "output")
        ),
        "returned": returned(one.task, "redelivered"),
    }[again]
    sequence = one.row().sequence
    one.report(late)

    assert one.image().state == "held" and one.row().sequence == sequence


def test_a_published_picture_ends_it(ledger: Ledger) -> None:
    """A released picture that was published is rendered like any other, and the job completes."""
    one = Held(ledger)
    one.report(rendered(one.task))

    assert one.image().state == "rendered"
    assert (one.row().rendered, one.row().ended_at) == (2, one.fleet.clock.now)
    types = [body["type"] for body in one.bodies()]
    assert types.count("image.held") == 1 and types.count("image.rendered") == 2
    assert types.count("job.completed") == 1


def test_a_reviewer_may_reject_it(ledger: Ledger) -> None:
    """A rejected image ends as blocked, once; whoever decides second changes nothing."""
    one = Held(ledger)
    blocked = ImageBlocked(
        image=one.task.image, digest=one.task.digest, verdict=verdict(Decision.BLOCK, "output")
    )
    ending = Ending(one.task.image, one.task.digest, ImageState.BLOCKED, blocked.model_dump_json())

    with ledger.begin() as conn:
        first, second = held.settle(conn, [ending], 5.0), held.settle(conn, [ending], 6.0)
    assert [ended.state for ended in first] == ["blocked"] and second == []
    one.report(rendered(one.task))
    assert one.image().state == "blocked"


def test_only_held_images_are_settled_by_a_reviewer(ledger: Ledger) -> None:
    """A decision about an image that is not held, or about another digest, changes nothing."""
    one = Held(ledger)
    other = one.others[0]
    endings = [
        Ending(other.image, other.digest, ImageState.BLOCKED, None),
        Ending(one.task.image, "0" * 64, ImageState.BLOCKED, None),
    ]

    with ledger.begin() as conn:
        assert held.settle(conn, endings, 5.0) == []


def test_it_can_be_canceled(ledger: Ledger) -> None:
    """Canceling a job ends its held images too."""
    one = Held(ledger)
    with ledger.begin() as conn:
        assert cancel_job(conn, tenant="default", id=one.job, now=9.0) == 1

    assert one.image().state == "canceled"
    assert (one.row().canceled, one.row().ended_at) == (1, 9.0)


def test_it_does_not_expire_with_its_deadline(ledger: Ledger) -> None:
    """`start_by` is about starting, and this image was drawn."""
    one = Held(ledger)
    with ledger.begin() as conn:
        assert images.expire(conn, one.fleet.clock.now + 1e6) == []


def test_the_view_of_its_job_counts_it(ledger: Ledger) -> None:
    """Whoever looks at the job sees what waits for a reviewer."""
    one = Held(ledger)

    class Deps:
        ledger = one.ledger

    view = get_job(one.job, "default", Deps(), limit=10)  # type: ignore[arg-type]
    assert (view.state, view.counts.held, view.counts.rendered) == (JobState.RUNNING, 1, 1)
    assert [image.state for image in view.images] == [ImageState.HELD, ImageState.RENDERED]
