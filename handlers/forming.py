"""Forming microbatches for open places: suspects alone, then whoever is next in fairness, filled with company."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from pydantic import TypeAdapter
from sqlalchemy import Connection

from handlers.backlog import Backlog
from handlers.estimates import Estimates, model_of
from handlers.fairness import FairLane, LaneShares
from handlers.release_params import ReleaserParams
from handlers.residency import Residency, oldest_by_model
from handlers.unreadable import give_up_unreadable
from handlers.windows import Slot, serves, slow_keys
from handlers.wording import DESCRIPTIONS
from schemas.fairness import Variation
from schemas.ids import made_at, new_id
from schemas.microbatch import ImageTask, Microbatch
from schemas.render_spec import RenderSpec
from schemas.verdict import Verdict
from storage.ledger import images
from storage.ledger.images import Claimed, Head, Suspect
from storage.ledger.microbatches import NewMicrobatch, Outstanding
from storage.ledger.sql import as_json
from storage.ledger.workers import WorkerRecord

Allowed = Callable[[Head], bool]
_VERDICTS: TypeAdapter[tuple[Verdict, ...]] = TypeAdapter(tuple[Verdict, ...])


@dataclass(frozen=True, kw_only=True)
class Formed:
    """A claimed microbatch: its row for the ledger and its message for the worker."""

    slot: Slot
    row: NewMicrobatch
    message: Microbatch


class Former:
    """Keeps what fairness and residency need between ticks; works on the caller's transaction."""

    def __init__(self, params: ReleaserParams, estimates: Estimates, backlog: Backlog) -> None:
        self._params, self._estimates, self._backlog = params, estimates, backlog
        self._lanes = (FairLane(params.weights), FairLane(params.weights))
        self._shares = LaneShares(params.bulk_reserve, params.reserve_half_life)
        self.residency = Residency(params)
        #: When the first partial microbatch that waits for company has waited long enough.
        self.waiting_until: float | None = None
        self._held_back: set[str] = set()
        self._slow: set[str] = set()
        self._oldest: dict[str, float] = {}

    def form(
        self,
        conn: Connection,
        slots: Sequence[Slot],
        workers: Sequence[WorkerRecord],
        outstanding: Sequence[Outstanding],
        now: float,
    ) -> list[Formed]:
        """Microbatches for as many of the slots as there is work for, claimed and charged."""
        self.waiting_until, self._held_back = None, set()
        for lane in (0, 1):
            self._lanes[lane].set_active(self._backlog.tenants(lane))
        heads = self._backlog.all()
        self._oldest = oldest_by_model(heads)
        self._slow = slow_keys(
            {head.batch_key for head in heads} | {one.batch_key for one in outstanding},
            self._estimates,
            self._params,
        )
        formed = self._suspects(conn, slots, workers, outstanding, now)
        busy = {one.slot.worker.id for one in formed}
        slow_workers = {
            one.worker for one in outstanding if one.batch_key in self._slow and one.gpu_done_at is None
        }
        for slot in slots:
            one = None if slot.worker.id in busy else self._next(conn, slot, workers, slow_workers, now)
            if one is not None:
                formed.append(one)
                slow_workers |= {slot.worker.id} if one.row.batch_key in self._slow else set()
        return formed

    def _suspects(
        self,
        conn: Connection,
        slots: Sequence[Slot],
        workers: Sequence[WorkerRecord],
        outstanding: Sequence[Outstanding],
        now: float,
    ) -> list[Formed]:
        """Each alone, on a worker it has not met if there is one; at most half of all places."""
        places = max(1, int(2 * len(workers) * self._params.suspect_share))
        room = min(
            places - sum(one.solo for one in outstanding),
            max(1, int(len(slots) * self._params.suspect_share)),
        )
        formed: list[Formed] = []
        free = list(slots)
        for suspect in images.suspects(conn, max(room, 0)):
            able = [slot for slot in free if serves(slot.worker, suspect.batch_key)]
            if not able:
                continue
            slot = min(able, key=lambda slot: slot.worker.id in suspect.deaths)
            microbatch = new_id("mb")
            suspects = images.claim_suspect(conn, id=suspect.id, microbatch=microbatch)
            claimed = give_up_unreadable(conn, suspects, now)
            if claimed:
                free.remove(slot)
                formed.append(self._formed(microbatch, slot, suspect.batch_key, claimed, True, now))
                self._charge(suspect, 1, 1, now)
        return formed

    def _next(
        self,
        conn: Connection,
        slot: Slot,
        workers: Sequence[WorkerRecord],
        slow_workers: set[str],
        now: float,
    ) -> Formed | None:
        allowed = self._allowed(slot, workers, slow_workers, now)
        while self._backlog:
            first = self._pick(allowed, now)
            if first is None:
                return None
            size = self._estimates.full_size(first.batch_key, first.lane)
            company = self._company(first)
            if slot.idle and self._waits(conn, first, company, size, now):
                continue
            microbatch = new_id("mb")
            claimed = self._claim(conn, [first, *company], size, microbatch, now)
            if claimed:
                return self._formed(microbatch, slot, first.batch_key, claimed, False, now)
        return None

    def _allowed(
        self, slot: Slot, workers: Sequence[WorkerRecord], slow_workers: set[str], now: float
    ) -> Allowed:
        """Which keys a slot may be given: served, not held back, not one slow key too many, of a model that may be loaded."""
        pool = {one.id for one in workers if one.pool == slot.worker.pool}
        slow_full = len(slow_workers & pool) >= max(1, int(self._params.slow_share * len(pool)))
        served = {model: since for model, since in self._oldest.items() if serves(slot.worker, model)}
        models = self.residency.models(slot.worker.id, slot.idle, served, now)

        def allowed(head: Head) -> bool:
            if head.batch_key in self._held_back or (
                head.batch_key in self._slow and (slow_full or not slot.idle)
            ):
                return False
            return model_of(head.batch_key) in models

        return allowed

    def _pick(self, allowed: Allowed, now: float) -> Head | None:
        for lane in self._shares.order(self._backlog.lanes, now):
            found = self._lanes[lane].pick(partial(self._backlog.earliest, lane, allowed=allowed))
            if found is not None:
                return found[1]
        return None

    def _company(self, first: Head) -> list[Head]:
        """The same key of other tenants by their turn, then of the other lane."""
        return sorted(
            self._backlog.same_key(first),
            key=lambda head: (head.lane != first.lane, self._lanes[head.lane].time_of(head.tenant)),
        )

    def _waits(self, conn: Connection, first: Head, company: Sequence[Head], size: int, now: float) -> bool:
        """Hold a partial microbatch back on an idle GPU while company is worth waiting for."""
        until = self._estimates.wait_for_company(first.batch_key, made_at(first.id), now)
        if until <= now:
            return False
        there = 0
        for head in (first, *company):
            if head.lane != first.lane:
                return False  # bulk of the same key fills it up at once
            there += images.waiting(
                conn, lane=head.lane, tenant=head.tenant, batch_key=head.batch_key, most=size - there
            )
            if there >= size:
                return False
        self._held_back.add(first.batch_key)
        self.waiting_until = min(until, self.waiting_until or until)
        return True

    def _claim(
        self, conn: Connection, heads: Sequence[Head], size: int, microbatch: str, now: float
    ) -> list[Claimed]:
        """Claim from the heads in their order until the microbatch is full, and charge each tenant its part."""
        claimed: list[Claimed] = []
        parts: list[tuple[Head, int]] = []
        for head in heads:
            wanted = size - len(claimed)
            if not wanted:
                break
            lane, tenant, batch_key = head.lane, head.tenant, head.batch_key
            got = images.claim(
                conn, lane=lane, tenant=tenant, batch_key=batch_key, count=wanted, microbatch=microbatch
            )
            if len(got) < wanted:
                self._backlog.drop(head)
            readable = give_up_unreadable(conn, got, now)
            claimed += readable
            parts.append((head, len(readable)))
        for head, count in parts:
            self._charge(head, count, len(claimed), now)
        self._estimates.learn_arrivals(heads[0].batch_key, (made_at(one.id) for one in claimed))
        return claimed

    def _charge(self, head: Head | Suspect, count: int, of: int, now: float) -> None:
        """The images of a microbatch share its GPU seconds; before anything is known, each counts for one second."""
        if not count:
            return
        seconds = (self._estimates.seconds(head.batch_key, of) or float(of)) * count / of
        self._lanes[head.lane].charge(head.tenant, seconds)
        self._shares.charge(head.lane, seconds, now)

    def _formed(
        self, id: str, slot: Slot, batch_key: str, claimed: Sequence[Claimed], solo: bool, now: float
    ) -> Formed:
        self.residency.sent(slot.worker.id, batch_key, now)
        good_until = now + self._params.unlisted_seconds
        row = NewMicrobatch(
            id=id,
            worker=slot.worker.id,
            batch_key=batch_key,
            images=as_json(one.id for one in claimed),
            solo=solo,
            expected_seconds=self._estimates.seconds(batch_key, len(claimed)),
            released_at=now,
            lease_until=good_until,
            good_until=good_until,
        )
        tasks = tuple(_task(one) for one in claimed)
        message = Microbatch(
            id=id, worker=slot.worker.id, batch_key=batch_key, good_until=good_until, images=tasks
        )
        return Formed(slot=slot, row=row, message=message)


def _task(one: Claimed) -> ImageTask:
    return ImageTask(
        image=one.id,
        tenant=one.tenant,
        job=one.job,
        digest=one.digest,
        spec=RenderSpec.model_validate_json(one.spec),
        alt=one.alt,
        lang=one.lang,
        copy_key=one.copy_key,
        descriptions=DESCRIPTIONS.validate_json(one.descriptions),
        fairness=Variation.model_validate_json(one.fairness) if one.fairness else None,
        verdicts=_verdicts(one.prompt_verdict, one.upload_verdicts),
        traceparent=one.traceparent,
    )


@lru_cache(maxsize=4096)
def _verdicts(prompt: str | None, uploads: str | None) -> tuple[Verdict, ...]:
    """What the stages before the worker said, as it may go into a receipt."""
    found = [Verdict.model_validate_json(prompt)] if prompt else []
    found += _VERDICTS.validate_json(uploads) if uploads else []
    return tuple(one.coarse() for one in found)
