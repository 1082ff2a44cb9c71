"""Images that a worker has drawn and not published: they wait for a person."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from schemas.outcome import ImageHeld
from schemas.states import ImageState
from storage.ledger import held
from storage.ledger.images import Ended, Ending


def hold(conn: Connection, outcomes: Sequence[ImageHeld]) -> list[Ended]:
    """Mark images as held that are still open; returns only those that changed, as `images.settle` does.

    A held image has not ended; its job stays open.
    """
    wanted = [Ending(one.image, one.digest, ImageState.HELD, one.model_dump_json()) for one in outcomes]
    return held.hold(conn, wanted)
