"""From a held picture to the end of its image, over both kinds of ledger."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from control_plane import Fleet, finished, rendered, verdict
from sqlalchemy import select

from handlers import reviewing
from handlers.cancel import cancel_job
from handlers.held_pictures import HeldPictures
from handlers.reviewing import LEASE_SECONDS, Reviewer
from schemas.errors import Forbidden, NotFound, ObjectMissing, ReviewConflict, StoreUnavailable
from schemas.microbatch import ImageTask, Microbatch
from schemas.outcome import ImageHeld, ImageRendered, QuarantineRef
from schemas.states import ImageState
from schemas.verdict import CategoryScore, Decision
from storage.ledger import audit, images, jobs, legal_holds, reviews
from storage.ledger.engine import Ledger
from storage.ledger.sql import AnyRow
from storage.ledger.tables import delivery
from storage.quarantine import quarantine_key

ANNA, BEN, THEIRS = Reviewer(name="anna"), Reviewer(name="ben"), Reviewer(name="tom", tenant="default")
HOOK = {"url": "https://shop.example/hook", "events": ["job.completed", "image.rendered", "image.blocked"]}


def held(task: ImageTask, category: str = "spam_text") -> ImageHeld:
    found = {category: CategoryScore(score=0.8, threshold=0.4, source="test")}
    return ImageHeld(
        image=task.image,
        digest=task.digest,
        verdict=verdict(Decision.REVIEW, "output").model_copy(update={"categories": found}),
        quarantined=QuarantineRef(key=quarantine_key(task.tenant, task.image), sha256="a" * 64),
    )


@dataclass
class Shelf:
    """The way out and the quarantine, as far as the control plane sees them."""

    tasks: dict[str, ImageTask]
    published: list[str] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    fault: Exception | None = None

    def publish(self, tenant: str, quarantined: QuarantineRef) -> ImageRendered:
        if self.fault is not None:
            raise self.fault
        task = self.tasks[quarantined.key]
        assert task.tenant == tenant
        self.published.append(task.image)
        return rendered(task)

    def discard(self, key: str) -> None:
        self.discarded.append(key)


@dataclass
class Desk:
    """A fleet whose worker has held the images of one job."""

    fleet: Fleet
    shelf: Shelf
    sweeps: HeldPictures
    job: str
    ids: list[str]

    @property
    def now(self) -> float:
        return self.fleet.clock.now

    def act(self, action: Callable[..., AnyRow], id: str, reviewer: Reviewer, *reason: str) -> AnyRow:
        with self.fleet.ledger.begin() as conn:
            return action(conn, id, reviewer, *reason, self.now)

    def claimed(self, id: str, reviewer: Reviewer) -> str:
        self.act(reviewing.claim, id, reviewer)
        return id

    def states(self) -> list[str]:
        with self.fleet.ledger.read() as conn:
            return [row.state for row in images.of_job(conn, self.job)]

    def review(self, id: str) -> AnyRow:
        with self.fleet.ledger.read() as conn:
            row = reviews.get(conn, id)
        assert row is not None
        return row

    def job_row(self) -> AnyRow:
        with self.fleet.ledger.read() as conn:
            row = jobs.get(conn, tenant="default", id=self.job)
        assert row is not None
        return row

    def told(self) -> list[str]:
        with self.fleet.ledger.read() as conn:
            return [row.type for row in conn.execute(select(delivery.c.type).order_by(delivery.c.id))]

    def audited(self) -> list[tuple[str, str]]:
        with self.fleet.ledger.read() as conn:
            assert audit.verify(conn) is None
            return [(one.kind, one.actor) for one in audit.records(conn)]


def a_desk(ledger: Ledger, *categories: str) -> Desk:
    """One image for each category: a plain one when none is given."""
    fleet = Fleet(ledger)
    wanted = categories or ("spam_text",)
    job = fleet.plan(n=len(wanted), webhook=HOOK).job.id
    fleet.beat("w1")
    (microbatch,) = work_of(fleet)
    outcomes = [held(task, category) for task, category in zip(microbatch.images, wanted, strict=True)]
    fleet.report(finished(microbatch, fleet.clock.now, *outcomes))
    shelf = Shelf({quarantine_key(task.tenant, task.image): task for task in microbatch.images})
    sweeps = HeldPictures(ledger=ledger, publish=shelf.publish, discard=shelf.discard)
    with ledger.read() as conn:
        rows = {row.image: row.id for row in reviews.page(conn, state="open")}
    return Desk(fleet, shelf, sweeps, job, [rows[task.image] for task in microbatch.images])


def work_of(fleet: Fleet) -> Sequence[Microbatch]:
    for _ in range(20):
        if sent := fleet.tick():
            return sent
    raise AssertionError("nothing was released")


def test_a_held_picture_waits_for_a_person(ledger: Ledger) -> None:
    """A held image opens one review, ends nothing, and is in the audit log; the same report again changes nothing."""
    desk = a_desk(ledger)
    (id,) = desk.ids
    row = desk.review(id)
    task = next(iter(desk.shelf.tasks.values()))
    desk.fleet.report(
        finished(
            Microbatch(id="mb_again", worker="w1", batch_key="k", good_until=0, images=(task,)),
            desk.now,
            held(task),
        )
    )
    with ledger.read() as conn:
        count = len(reviews.page(conn, state="waiting"))

    assert (row.state, row.image, row.tenant, row.hard_floor, count) == (
        "open",
        task.image,
        "default",
        False,
        1,
    )
    assert row.expires_at - row.created_at == 72 * 3600
    assert desk.states() == ["held"] and desk.job_row().ended_at is None
    assert desk.audited() == [("image.held", "worker")]


def test_a_released_picture_is_published(ledger: Ledger) -> None:
    """Release keeps the image held until its picture is stored; then state, counters and webhooks move at once."""
    desk = a_desk(ledger)
    (id,) = desk.ids
    desk.act(reviewing.release, desk.claimed(id, ANNA), ANNA, "fine")
    between = desk.states()
    done = [desk.sweeps.publish_released(desk.now) for _ in range(2)]
    row, job = desk.review(id), desk.job_row()
    with ledger.read() as conn:
        summary = json.loads(images.of_job(conn, desk.job)[0].result)

    assert (between, desk.states(), done) == (["held"], ["rendered"], [1, 0])
    assert (row.state, row.reviewer, row.reason, row.settled_at) == ("released", "anna", "fine", desk.now)
    assert (job.rendered, job.ended_at) == (1, desk.now) and summary["stored"]["key"]
    assert sorted(desk.told()) == ["image.rendered", "job.completed"]
    assert desk.audited() == [
        ("image.held", "worker"),
        ("review.claimed", "reviewer:anna"),
        ("review.released", "reviewer:anna"),
        ("image.published", "publisher"),
    ]


def test_a_death_between_store_and_ledger_publishes_once(ledger: Ledger) -> None:
    """A publisher that died after it stored does it again, and everybody is told once."""
    desk = a_desk(ledger)
    desk.act(reviewing.release, desk.claimed(desk.ids[0], ANNA), ANNA, "fine")
    row = desk.review(desk.ids[0])
    desk.shelf.publish(
        "default", QuarantineRef.model_validate_json(row.quarantined)
    )  # and then it was killed
    desk.sweeps.publish_released(desk.now)

    assert len(desk.shelf.published) == 2 and desk.states() == ["rendered"]
    assert desk.told().count("image.rendered") == 1 and desk.job_row().rendered == 1


def test_a_store_that_is_away_only_delays(ledger: Ledger) -> None:
    """While the store fails, the decision stands; the picture goes out once it is back, and others go first."""
    desk = a_desk(ledger, "spam_text", "spam_text")
    for id in desk.ids:
        desk.act(reviewing.release, desk.claimed(id, ANNA), ANNA, "fine")
    desk.shelf.fault = StoreUnavailable()
    waited = desk.sweeps.publish_released(desk.now)
    desk.shelf.fault = None
    done = desk.sweeps.publish_released(desk.now)

    assert (waited, done) == (0, 2)
    assert desk.states() == ["rendered", "rendered"]


def test_a_picture_that_is_gone_ends_as_failed(ledger: Ledger) -> None:
    """Nobody waits for ever for a picture that the quarantine has lost."""
    desk = a_desk(ledger)
    desk.act(reviewing.release, desk.claimed(desk.ids[0], ANNA), ANNA, "fine")
    desk.shelf.fault = ObjectMissing()
    desk.sweeps.publish_released(desk.now)

    assert desk.states() == ["failed"] and desk.job_row().failed == 1
    assert desk.audited()[-1] == ("image.lost", "publisher")


def test_a_rejected_picture_is_blocked(ledger: Ledger) -> None:
    """Rejection ends the image at once, with the review in its verdict; the picture stays until its time is over."""
    desk = a_desk(ledger)
    desk.act(reviewing.reject, desk.claimed(desk.ids[0], ANNA), ANNA, "not ours")
    with ledger.read() as conn:
        result = json.loads(images.of_job(conn, desk.job)[0].result)
    early = desk.sweeps.discard_old(desk.now)
    desk.fleet.clock.pass_by(33 * 86400)
    late = [desk.sweeps.discard_old(desk.now) for _ in range(2)]

    assert desk.states() == ["blocked"] and sorted(desk.told()) == ["image.blocked", "job.completed"]
    assert result["verdict"]["decision"] == "block" and "review.rejected" in result["verdict"]["reasons"]
    assert result["verdict"]["checks"][-1]["name"] == "human_review"
    assert (early, late) == (0, [1, 0])
    assert desk.shelf.discarded == list(desk.shelf.tasks)


@pytest.mark.parametrize("subject", ["", "job"])
def test_a_legal_hold_keeps_the_picture(ledger: Ledger, subject: str) -> None:
    """While a hold lies on its job or tenant, a quarantined picture outlives its time; then it goes."""
    desk = a_desk(ledger)
    desk.act(reviewing.reject, desk.claimed(desk.ids[0], ANNA), ANNA, "no")
    subject = desk.job if subject else ""
    with ledger.begin() as conn:
        legal_holds.place(conn, tenant="default", subject=subject, now=desk.now)
    desk.fleet.clock.pass_by(400 * 86400)
    on_hold = desk.sweeps.discard_old(desk.now)
    with ledger.begin() as conn:
        assert reviews.on_legal_hold(conn, desk.ids[0])
        legal_holds.lift(conn, tenant="default", subject=subject)

    assert (on_hold, desk.sweeps.discard_old(desk.now)) == (0, 1)


def test_nobody_deciding_means_no(ledger: Ledger) -> None:
    """A review that runs out blocks its image, also while somebody holds it; nothing can be decided afterwards."""
    desk = a_desk(ledger, "spam_text", "spam_text")
    desk.fleet.clock.pass_by(72 * 3600 - 1)
    desk.claimed(desk.ids[0], ANNA)
    soon = desk.sweeps.end_reviews(desk.now)
    desk.fleet.clock.pass_by(1)
    with pytest.raises(ReviewConflict, match="expired"):
        desk.act(reviewing.release, desk.ids[0], ANNA, "fine")
    ended = desk.sweeps.end_reviews(desk.now)

    assert (soon, ended) == (0, 2)
    assert desk.states() == ["blocked", "blocked"] and desk.job_row().blocked == 2
    assert {desk.review(id).state for id in desk.ids} == {"expired"}


def test_one_reviewer_at_a_time(ledger: Ledger) -> None:
    """While one holds a claim nobody else gets it or decides; a lapsed or returned claim is free again."""
    desk = a_desk(ledger)
    (id,) = desk.ids
    desk.claimed(id, ANNA)
    desk.claimed(id, ANNA)  # again: the lease is longer
    for action, reason in ((reviewing.claim, ()), (reviewing.release, ("x",)), (reviewing.reject, ("x",))):
        with pytest.raises(ReviewConflict, match="somebody else"):
            desk.act(action, id, BEN, *reason)
    desk.fleet.clock.pass_by(LEASE_SECONDS)
    desk.claimed(id, BEN)
    with pytest.raises(ReviewConflict):
        desk.act(reviewing.release, id, ANNA, "too late")
    desk.act(reviewing.unclaim, id, BEN)
    with pytest.raises(ReviewConflict, match="claim it first"):
        desk.act(reviewing.release, id, BEN, "not claimed")
    kinds = [kind for kind, _ in desk.audited()]

    assert desk.review(id).state == "open"
    assert kinds == ["image.held", "review.claimed", "review.claimed", "review.returned"]


def test_of_many_claims_one_wins(ledger: Ledger) -> None:
    """Reviewers who claim the same picture at the same moment: one gets it."""
    desk = a_desk(ledger)
    won, lost, barrier = list[str](), list[str](), threading.Barrier(4)

    def claim(name: str) -> None:
        barrier.wait()
        try:
            desk.act(reviewing.claim, desk.ids[0], Reviewer(name=name))
            won.append(name)
        except ReviewConflict:
            lost.append(name)

    threads = [threading.Thread(target=claim, args=(f"r{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(won), len(lost)) == (1, 3)
    assert desk.review(desk.ids[0]).reviewer == won[0]


def test_the_hard_floor_takes_two(ledger: Ledger) -> None:
    """One person can reject what is on the hard floor, only two different ones release it, and nobody is shown it."""
    desk = a_desk(ledger, "extremism", "extremism")
    first, second = desk.ids
    desk.act(reviewing.release, desk.claimed(first, ANNA), ANNA, "a museum")
    waiting = desk.review(first)
    published = desk.sweeps.publish_released(desk.now)
    desk.claimed(first, ANNA)
    with pytest.raises(Forbidden, match="somebody else"):
        desk.act(reviewing.release, first, ANNA, "again")
    with pytest.raises(Forbidden, match="shown to nobody"):
        desk.act(reviewing.look, first, ANNA)
    desk.act(reviewing.unclaim, first, ANNA)
    desk.act(reviewing.release, desk.claimed(first, BEN), BEN, "agreed")
    after = desk.sweeps.publish_released(desk.now)
    desk.act(reviewing.reject, desk.claimed(second, ANNA), ANNA, "no")
    desk.fleet.clock.pass_by(1000 * 86400)

    assert (waiting.state, waiting.first_release_by, published, after) == ("open", "anna", 0, 1)
    assert sorted(desk.states()) == ["blocked", "rendered"]
    assert "review.released_once" in [kind for kind, _ in desk.audited()]
    # The published one goes; what was rejected on the hard floor stays until somebody says otherwise.
    assert desk.sweeps.discard_old(desk.now) == 1
    assert desk.review(second).discarded_at is None


def test_a_tenant_decides_about_its_own_alone(ledger: Ledger) -> None:
    """A tenant's own reviewer sees its plain reviews, nothing of the hard floor, and nothing of others."""
    desk = a_desk(ledger, "spam_text", "extremism")
    plain, floor = desk.ids
    stranger = Reviewer(name="tom", tenant="other")
    with pytest.raises(NotFound):
        desk.act(reviewing.claim, plain, stranger)
    for action, reason in ((reviewing.claim, ()), (reviewing.release, ("x",)), (reviewing.reject, ("x",))):
        with pytest.raises(NotFound):
            desk.act(action, floor, THEIRS, *reason)
    desk.act(reviewing.release, desk.claimed(plain, THEIRS), THEIRS, "ours")

    assert desk.review(plain).state == "released" and desk.review(floor).state == "open"


@pytest.mark.parametrize("decided", [False, True])
def test_a_canceled_image_is_never_published(ledger: Ledger, decided: bool) -> None:
    """Canceling a job withdraws its reviews, also one that was released a moment before; its pictures are discarded."""
    desk = a_desk(ledger)
    (id,) = desk.ids
    if decided:
        desk.act(reviewing.release, desk.claimed(id, ANNA), ANNA, "fine")
    with ledger.begin() as conn:
        cancel_job(conn, tenant="default", id=desk.job, now=desk.now)
    published = desk.sweeps.publish_released(desk.now)
    ended = desk.sweeps.end_reviews(desk.now)

    assert desk.states() == [ImageState.CANCELED] and desk.review(id).state == "withdrawn"
    assert (ended, published, desk.shelf.published) == (1, 0, [])
    assert desk.sweeps.discard_old(desk.now) == 1


def test_a_picture_is_shown_to_whoever_claimed_it(ledger: Ledger) -> None:
    """Looking needs a claim, and is in the audit log."""
    desk = a_desk(ledger)
    (id,) = desk.ids
    with pytest.raises(ReviewConflict, match="claim it first"):
        desk.act(reviewing.look, id, ANNA)
    desk.act(reviewing.look, desk.claimed(id, ANNA), ANNA)

    assert desk.audited()[-1] == ("picture.viewed", "reviewer:anna")
