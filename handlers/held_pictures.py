"""What becomes of held pictures without anybody's doing: late reviews end, released pictures are published, old ones go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from handlers import reviewing
from schemas.errors import AquatintError, NotFound, SealBroken
from schemas.outcome import ImageRendered, QuarantineRef
from storage.ledger import reviews
from storage.ledger.engine import Ledger
from storage.ledger.sql import AnyRow

log = structlog.get_logger(__name__)

#: Publishes the released picture of a tenant; raises what the quarantine and the way out raise. It may be repeated: what
#: is stored already is found by its digest.
Publish = Callable[[str, QuarantineRef], ImageRendered]


@dataclass(frozen=True, kw_only=True)
class HeldPictures:
    """Sweeps; each commits for itself, and a process that dies in between only leaves work for the next look."""

    ledger: Ledger
    publish: Publish
    #: Removes a quarantined picture by its key; one that is gone is no error.
    discard: Callable[[str], None]

    def end_reviews(self, now: float) -> int:
        """Those that nobody decided in time, and those whose images ended otherwise."""
        with self.ledger.read() as conn:
            if not reviews.any_due(conn, now):
                return 0
        with self.ledger.begin() as conn:
            return reviewing.withdraw(conn, now) + reviewing.expire(conn, now)

    def publish_released(self, now: float) -> int:
        """A page of released pictures that are not published yet; one that cannot be now holds up no other."""
        done, after = 0, ""
        while not done:
            with self.ledger.read() as conn:
                rows = reviews.unsettled(conn, after=after)
            if not rows:
                break
            done, after = sum(self._publish(row, now) for row in rows), rows[-1].id
        return done

    def discard_old(self, now: float) -> int:
        """Quarantined pictures that have been kept long enough."""
        with self.ledger.read() as conn:
            rows = reviews.discardable(conn, now)
        for row in rows:
            self.discard(QuarantineRef.model_validate_json(row.quarantined).key)
            with self.ledger.begin(wake=False) as conn:
                reviewing.discarded(conn, row, "sweep", now)
        return len(rows)

    def _publish(self, row: AnyRow, now: float) -> bool:
        try:
            outcome = self.publish(row.tenant, QuarantineRef.model_validate_json(row.quarantined))
        except (NotFound, SealBroken) as error:
            # No repetition brings back a picture that is gone.
            log.error("held_picture_lost", review=row.id, image=row.image, code=error.code)
            with self.ledger.begin() as conn:
                return reviewing.published(conn, row, reviewing.unpublishable(row, error.code), now)
        except AquatintError as error:
            # The decision stands in the ledger: it is tried again until the store, or its operator, is there.
            log.warning(
                "publishing_waits", review=row.id, image=row.image, code=error.code, actor=error.actor
            )
            return False
        with self.ledger.begin() as conn:
            # Picture and receipt are stored: state, counters and webhooks commit together.
            done = reviewing.published(conn, row, outcome, now)
        log.info("held_picture_published", review=row.id, image=row.image)
        return done
