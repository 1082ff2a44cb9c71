"""Who has gone silent, and which microbatches nobody will finish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from handlers.release_params import ReleaserParams
from storage.ledger.marks import Mark
from storage.ledger.microbatches import Outstanding
from storage.ledger.workers import WorkerRecord


@dataclass(frozen=True, kw_only=True)
class Losses:
    #: Workers that died with work in their hands.
    workers: frozenset[str]
    #: Their microbatches, and those that no heartbeat lists.
    microbatches: tuple[Outstanding, ...]
    #: Pools of which so many died in the last minute that no image is to blame.
    mass_death: frozenset[str]


def losses(
    workers: Sequence[WorkerRecord],
    outstanding: Sequence[Outstanding],
    mark: Mark | None,
    params: ReleaserParams,
    now: float,
) -> Losses:
    """What is lost as far as the recorder has read; nothing while it is not reading.

    Silence is measured on the recorder's mark and not on the clock: heartbeats that wait unread in the queue, or
    could not be sent because the broker was away, are no sign of death.
    """
    if mark is None or not outstanding:
        return Losses(workers=frozenset(), microbatches=(), mass_death=frozenset())
    patience = params.lease_seconds + params.grace_seconds
    known = {one.id: one for one in workers}

    def silent(id: str, released_at: float) -> bool:
        seen_at = known[id].seen_at if id in known else released_at
        return mark.at - max(seen_at, mark.since) > patience

    def unlisted(one: Outstanding) -> bool:
        return mark.at > max(one.lease_until, mark.since + params.lease_seconds) + params.grace_seconds

    gone = tuple(one for one in outstanding if silent(one.worker, one.released_at) or unlisted(one))
    dead = frozenset(one.worker for one in gone if silent(one.worker, one.released_at))
    return Losses(workers=dead, microbatches=gone, mass_death=mass_death(workers, dead, params, now))


def mass_death(
    workers: Iterable[WorkerRecord], dead: frozenset[str], params: ReleaserParams, now: float
) -> frozenset[str]:
    """Pools of at least `mass_pool` workers of which more than `mass_share` died within the window."""
    size: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for one in workers:
        died = one.id in dead or (one.lost_at is not None and now - one.lost_at <= params.mass_window)
        lives = one.lost_at is None and now - one.seen_at <= params.mass_window
        size[one.pool] += died or lives
        lost[one.pool] += died
    return frozenset(
        pool
        for pool in size
        if size[pool] >= params.mass_pool and lost[pool] > params.mass_share * size[pool]
    )
