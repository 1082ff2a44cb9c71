"""Which workers may be sent a microbatch now, and when the next may."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median_low

from handlers.estimates import Estimates, model_of
from handlers.release_params import ReleaserParams
from storage.ledger.microbatches import Outstanding
from storage.ledger.workers import WorkerRecord


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place for one microbatch at a worker."""

    worker: WorkerRecord
    #: True when nothing is on its GPU or on the way there.
    idle: bool
    #: When its GPU is expected to be free.
    free_at: float


@dataclass(frozen=True, kw_only=True)
class Openings:
    slots: tuple[Slot, ...]
    #: When a place opens without any further message, if one does.
    next_at: float | None


def live(workers: Iterable[WorkerRecord], now: float, params: ReleaserParams) -> list[WorkerRecord]:
    """Those that take work and were heard of within the lease."""
    return [
        one
        for one in workers
        if one.accepting and one.lost_at is None and now - one.seen_at <= params.lease_seconds
    ]


def by_worker(outstanding: Iterable[Outstanding]) -> dict[str, list[Outstanding]]:
    found: dict[str, list[Outstanding]] = {}
    for one in outstanding:
        found.setdefault(one.worker, []).append(one)
    return found


def openings(
    workers: Sequence[WorkerRecord],
    outstanding: Iterable[Outstanding],
    estimates: Estimates,
    params: ReleaserParams,
    now: float,
) -> Openings:
    """The late rule: a worker gets its next microbatch when its GPU is expected free within the lead, and never more than
    the window holds. What is off the GPU but still being stored takes no place."""
    held = by_worker(one for one in outstanding if one.gpu_done_at is None)
    median = typical_seconds(held)
    round_trip = 2 * estimates.latency + params.tick
    lead = round_trip + params.lead_margin
    slots: list[Slot] = []
    later: list[float] = []
    for worker in workers:
        mine = held.get(worker.id, [])
        if len(mine) >= window(mine, round_trip, params) or (mine and _behind_slow(mine, median, params)):
            continue
        free_at = expected_free(mine, estimates.latency, now)
        if mine and free_at - lead > now:
            later.append(free_at - lead)
        else:
            slots.append(Slot(worker=worker, idle=not mine, free_at=free_at))
    slots.sort(key=lambda slot: (not slot.idle, slot.free_at, slot.worker.id))
    return Openings(slots=tuple(slots), next_at=min(later, default=None))


def window(mine: Sequence[Outstanding], round_trip: float, params: ReleaserParams) -> int:
    """k: two in practice, more only where the round trip is longer than a render; two when nothing is known."""
    shortest = min((one.expected_seconds for one in mine), default=0.0)
    if shortest <= 0:
        return min(2, params.window_most)
    return min(1 + math.ceil(round_trip / shortest), params.window_most)


def expected_free(mine: Sequence[Outstanding], latency: float, now: float) -> float:
    """When a worker's GPU has done all it holds, in the order it was sent; an overdue one is due now."""
    free = 0.0
    for one in mine:
        start = one.started_at if one.started_at is not None else max(free, one.released_at + latency)
        free = max(start + one.expected_seconds, now)
    return max(free, now)


def typical_seconds(held: dict[str, list[Outstanding]]) -> float:
    seconds = [one.expected_seconds for mine in held.values() for one in mine if one.expected_seconds > 0]
    return median_low(seconds) if seconds else 0.0


def _behind_slow(mine: Sequence[Outstanding], median: float, params: ReleaserParams) -> bool:
    # A wrong estimate of a slow render would hold up whatever waits behind it for just as long.
    return median > 0 and any(one.expected_seconds > params.slow_factor * median for one in mine)


def slow_keys(keys: Iterable[str], estimates: Estimates, params: ReleaserParams) -> set[str]:
    """Keys whose full microbatch takes many times the median of all keys in play."""
    seconds = {key: estimates.full_seconds(key) for key in keys}
    known = [value for value in seconds.values() if value > 0]
    if not known:
        return set()
    limit = params.slow_factor * median_low(known)
    return {key for key, value in seconds.items() if value > limit}


def serves(worker: WorkerRecord, batch_key: str) -> bool:
    """Whether a worker has announced the model of a key, by name and digest."""
    name, _, digest = model_of(batch_key).rpartition("@")
    return worker.models.get(name, "")[: len(digest)] == digest and bool(digest)
