"""Images whose request cannot be read any more: their text was changed, or their tenant's key is gone."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from sqlalchemy import Connection

from handlers.notices import account
from schemas.errors import SealBroken
from schemas.outcome import Failure, ImageFailed
from schemas.states import ImageState, Stage
from storage.ledger import images
from storage.ledger.images import Claimed, Ending

log = structlog.get_logger(__name__)


def give_up_unreadable(conn: Connection, claimed: Sequence[Claimed], now: float) -> list[Claimed]:
    """Those of the claimed images that can be rendered; the others fail here, and their jobs are told."""
    lost = [one for one in claimed if not one.spec]
    if lost:
        account(conn, images.settle(conn, [_failed(one) for one in lost], now), now)
        log.error("unreadable", images=[one.id for one in lost])
    return [one for one in claimed if one.spec]


def _failed(one: Claimed) -> Ending:
    failure = Failure(stage=Stage.FETCH, code=SealBroken.code, detail="its request cannot be read any more")
    outcome = ImageFailed(image=one.id, digest=one.digest, failure=failure)
    return Ending(one.id, one.digest, ImageState.FAILED, outcome.model_dump_json())
