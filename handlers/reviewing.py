"""Reviews of held pictures: opened with the report, claimed by one person at a time, decided once, audited.

Everything happens in the caller's transaction: a decision, the image's state, the counters of its job, the owed webhooks
and the audit entry commit together. A release commits a decision alone; `handlers/oversight.py` then has the picture
published, however often that takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from handlers.notices import account
from safety.human_review import EXPIRED, on_hard_floor, refused
from schemas.errors import Forbidden, NotFound, ReviewConflict
from schemas.ids import is_id, new_id
from schemas.outcome import Failure, ImageBlocked, ImageFailed, ImageHeld, ImageRendered
from schemas.states import ImageState, Stage
from schemas.verdict import Verdict
from storage.ledger import audit, held, reviews, standing
from storage.ledger.audit import Entry
from storage.ledger.images import Ending
from storage.ledger.reviews import NewReview
from storage.ledger.sql import AnyRow

#: How long one person may look before somebody else may claim it.
LEASE_SECONDS = 15 * 60.0
MAX_REASON = 500


@dataclass(frozen=True, kw_only=True)
class ReviewTerms:
    """How long things take, in seconds."""

    #: From the report to the moment at which nobody's decision counts as a no.
    review_seconds: float = 72 * 3600.0
    #: From the report to the moment at which a picture that was not released is discarded, by policy digest.
    keep_seconds: Callable[[str], float] = lambda _policy_digest: 30 * 86400.0


@dataclass(frozen=True, kw_only=True)
class Reviewer:
    """Who decides. One of a tenant's own people sees that tenant's alone, and decides nothing on the hard floor."""

    name: str
    tenant: str | None = None

    @property
    def actor(self) -> str:
        return f"reviewer:{self.name}"


def reviewer_of(identity: str) -> Reviewer:
    """From ``name`` or ``name@tenant``, as the settings write it."""
    name, _, tenant = identity.partition("@")
    return Reviewer(name=name, tenant=tenant or None)


def open_reviews(
    conn: Connection,
    outcomes: Iterable[ImageHeld],
    owners: Mapping[str, tuple[str, str]],
    terms: ReviewTerms,
    now: float,
) -> list[Entry]:
    """One review for each image that has just become held; `owners` gives tenant and job. Returns what to audit."""
    new = [_new(one, *owners[one.image], terms, now) for one in outcomes]
    reviews.add(conn, new)
    return [
        Entry(
            kind="image.held",
            actor="worker",
            tenant=one.tenant,
            about=one.image,
            data={"review": one.id, "digest": one.digest, "hard_floor": one.hard_floor},
        )
        for one in new
    ]


def _new(one: ImageHeld, tenant: str, job: str, terms: ReviewTerms, now: float) -> NewReview:
    floor = on_hard_floor(one.verdict)
    keep = terms.review_seconds + terms.keep_seconds(one.verdict.policy_digest)
    return NewReview(
        id=new_id("rev"),
        image=one.image,
        job=job,
        tenant=tenant,
        digest=one.digest,
        verdict=one.verdict.model_dump_json(),
        quarantined=one.quarantined.model_dump_json(),
        hard_floor=floor,
        created_at=now,
        expires_at=now + terms.review_seconds,
        # Duties to keep or to destroy differ by country: on the hard floor a person says when.
        keep_until=None if floor else now + keep,
    )


def found(conn: Connection, id: str, reviewer: Reviewer) -> AnyRow:
    """A review that this reviewer may see; NotFound for any other."""
    row = reviews.get(conn, id, tenant=reviewer.tenant) if is_id(id, "rev") else None
    if row is None or (row.hard_floor and reviewer.tenant is not None):
        # A tenant's own people are not even told what is held on the hard floor.
        raise NotFound("there is no such review", field="id")
    return row


def claim(conn: Connection, id: str, reviewer: Reviewer, now: float) -> AnyRow:
    """Take a review into one's hands for a quarter of an hour; claiming it again extends that."""
    row = found(conn, id, reviewer)
    claimed = reviews.claim(conn, id=id, reviewer=reviewer.name, until=now + LEASE_SECONDS, now=now)
    if claimed is None:
        raise _conflict(row, now)
    if (row.state, row.reviewer) != ("claimed", reviewer.name):
        audit.append(conn, [_entry("review.claimed", claimed, reviewer)], now)
    return claimed


def unclaim(conn: Connection, id: str, reviewer: Reviewer, now: float) -> AnyRow:
    """Give a review back undecided."""
    row = found(conn, id, reviewer)
    freed = reviews.unclaim(conn, id=id, reviewer=reviewer.name, now=now)
    if freed is None:
        raise _conflict(row, now)
    audit.append(conn, [_entry("review.returned", freed, reviewer)], now)
    return freed


def look(conn: Connection, id: str, reviewer: Reviewer, now: float) -> AnyRow:
    """Whoever has claimed a review may see the picture itself, which is noted; nobody does on the hard floor."""
    row = found(conn, id, reviewer)
    if row.hard_floor:
        raise Forbidden("pictures on the hard floor are shown to nobody", field="id")
    if row.state != "claimed" or row.reviewer != reviewer.name or row.lease_until <= now:
        raise _conflict(row, now)
    audit.append(conn, [_entry("picture.viewed", row, reviewer)], now)
    return row


def release(conn: Connection, id: str, reviewer: Reviewer, reason: str, now: float) -> AnyRow:
    """Decide that a picture may be published; on the hard floor this takes a second person.

    Forbidden for whoever released it first, ReviewConflict without a claim.
    """
    row = found(conn, id, reviewer)
    if row.hard_floor and row.first_release_by == reviewer.name:
        raise Forbidden("somebody else has to release this one as well", field="id")
    first = row.hard_floor and row.first_release_by is None
    decide, kind = (
        (reviews.first_release, "review.released_once") if first else (reviews.release, "review.released")
    )
    decided = decide(conn, id=id, reviewer=reviewer.name, reason=reason, now=now)
    if decided is None:
        raise _conflict(row, now)
    audit.append(conn, [_entry(kind, decided, reviewer, reason)], now)
    return decided


def reject(conn: Connection, id: str, reviewer: Reviewer, reason: str, now: float) -> AnyRow:
    """Decide that a picture is not published: its image ends as blocked, at once."""
    row = found(conn, id, reviewer)
    decided = reviews.reject(conn, id=id, reviewer=reviewer.name, reason=reason, now=now)
    if decided is None:
        raise _conflict(row, now)
    _block(conn, [decided], "review.rejected", now)
    standing.note(conn, decided.tenant, refused=1, now=now)
    audit.append(conn, [_entry("review.rejected", decided, reviewer, reason)], now)
    return decided


def expire(conn: Connection, now: float) -> int:
    """End reviews that nobody decided in time, as if they had been rejected."""
    late = reviews.expire(conn, now)
    _block(conn, late, EXPIRED, now)
    audit.append(conn, [_entry("review.expired", row) for row in late], now)
    return len(late)


def withdraw(conn: Connection, now: float) -> int:
    """End reviews of images that are not held any more, because they were canceled or erased."""
    gone = reviews.withdraw(conn, now)
    audit.append(conn, [_entry("review.withdrawn", row) for row in gone], now)
    return len(gone)


def published(conn: Connection, row: AnyRow, outcome: ImageRendered | ImageFailed, now: float) -> bool:
    """Note that a released picture is published, or that it never can be; False when that was noted before."""
    if reviews.settle(conn, id=row.id, now=now) is None:
        return False
    state = ImageState.RENDERED if isinstance(outcome, ImageRendered) else ImageState.FAILED
    ending = Ending(outcome.image, outcome.digest, state, outcome.model_dump_json())
    account(conn, held.settle(conn, [ending], now), now)
    kind = "image.published" if state is ImageState.RENDERED else "image.lost"
    audit.append(
        conn,
        [Entry(kind=kind, actor="publisher", tenant=row.tenant, about=row.image, data={"review": row.id})],
        now,
    )
    return True


def unpublishable(row: AnyRow, code: str) -> ImageFailed:
    """The outcome of a released image whose picture cannot be had any more."""
    failure = Failure(stage=Stage.STORE, code=code, detail="the held picture cannot be published")
    return ImageFailed(image=row.image, digest=row.digest, failure=failure)


def discarded(conn: Connection, row: AnyRow, actor: str, now: float) -> bool:
    """Note that a quarantined picture is gone; False when that was noted before, or its review is still open."""
    if not reviews.discarded(conn, id=row.id, now=now):
        return False
    audit.append(
        conn,
        [
            Entry(
                kind="quarantine.discarded",
                actor=actor,
                tenant=row.tenant,
                about=row.image,
                data={"review": row.id},
            )
        ],
        now,
    )
    return True


def _block(conn: Connection, rows: Sequence[AnyRow], reason: str, now: float) -> None:
    endings = []
    for row in rows:
        verdict = refused(Verdict.model_validate_json(row.verdict), reason)
        outcome = ImageBlocked(image=row.image, digest=row.digest, verdict=verdict)
        endings.append(Ending(row.image, row.digest, ImageState.BLOCKED, outcome.model_dump_json()))
    account(conn, held.settle(conn, endings, now), now)


def _entry(kind: str, row: AnyRow, reviewer: Reviewer | None = None, reason: str = "") -> Entry:
    data = {"image": row.image, "digest": row.digest, "hard_floor": bool(row.hard_floor)}
    actor = reviewer.actor if reviewer else "oversight"
    return Entry(
        kind=kind,
        actor=actor,
        tenant=row.tenant,
        about=row.id,
        data=data | ({"reason": reason} if reason else {}),
    )


def _conflict(row: AnyRow, now: float) -> ReviewConflict:
    """Why a change was not possible, from the row as it was."""
    if row.state in ("released", "rejected", "expired", "withdrawn") or row.expires_at <= now:
        state = row.state if row.state not in ("open", "claimed") else "expired"
        return ReviewConflict(f"this review has ended: {state}", field="id", limit=state)
    if row.state == "claimed" and row.lease_until > now:
        return ReviewConflict("somebody else has claimed it", field="id", limit="one reviewer at a time")
    return ReviewConflict("claim it first", field="id", limit="claimed")
