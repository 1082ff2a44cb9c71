"""What becomes of the images of a microbatch that its worker will not finish."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from schemas.outcome import Failure, ImageFailed
from schemas.states import ImageState, Stage
from storage.ledger import images
from storage.ledger.images import Ended, Ending, Held
from storage.ledger.microbatches import Contents


def give_back(
    conn: Connection,
    held: Contents,
    ids: Iterable[str],
    *,
    died: bool,
    counted: bool,
    attempts_most: int,
    now: float,
) -> list[Ended]:
    """Plan images again, or mark them as suspects when their worker died with them on the GPU.

    Returns those that have failed by this, being the third death on at least two workers. With `counted` False no
    image of a shared microbatch is charged with the death.
    """
    if not (died and held.started):
        images.put_back(conn, microbatch=held.id, ids=ids)
        return []
    # A death alone on a GPU always counts: otherwise an image that kills every worker would never end.
    charged = counted or held.solo
    marked = [
        _after_death(one, held.worker, charged) for one in images.held(conn, microbatch=held.id, ids=ids)
    ]
    dead = [one for one in marked if hopeless(one, attempts_most)]
    images.suspect(
        conn, microbatch=held.id, images=[one for one in marked if not hopeless(one, attempts_most)]
    )
    return images.settle(conn, [_failed(one) for one in dead], now)


def hopeless(one: Held, attempts_most: int) -> bool:
    """Enough deaths, on two workers at least: a broken machine must not condemn an innocent image.

    Twice as many end it anyway, where one machine is all there is.
    """
    if one.attempts >= 2 * attempts_most:
        return True
    return one.attempts >= attempts_most and len(set(one.deaths)) >= 2


def _after_death(one: Held, worker: str, charged: bool) -> Held:
    return one._replace(attempts=one.attempts + 1, deaths=(*one.deaths, worker)) if charged else one


def _failed(one: Held) -> Ending:
    failure = Failure(
        stage=Stage.GENERATE,
        code="worker_died",
        detail=f"{one.attempts} times a worker died while rendering this image",
    )
    outcome = ImageFailed(image=one.id, digest=one.digest, failure=failure)
    return Ending(one.id, one.digest, ImageState.FAILED, outcome.model_dump_json())
