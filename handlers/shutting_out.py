"""Judging tenants by what is refused to them, and calling off what a suspended one has queued."""

from __future__ import annotations

import json
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from handlers import standing as standings
from handlers.cancel import cancel_finetune
from handlers.notices import account
from handlers.standing import AbuseParams
from schemas.errors import TenantSuspended
from schemas.outcome import Failure
from schemas.problem import problem
from schemas.states import Stage
from storage.ledger import audit, batches, standing
from storage.ledger.audit import Entry
from storage.ledger.engine import Ledger
from storage.ledger.suspended import cancel_planned, has_planned, open_finetunes

log = structlog.get_logger(__name__)

#: Images of one transaction.
CHUNK = 1000
_BATCHES_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class ShuttingOut:
    """Sweeps over refusals and standings."""

    ledger: Ledger
    #: None where tenants are not judged by their refusals; what an operator says still holds.
    abuse: AbuseParams | None

    def judge(self, now: float) -> int:
        """Throttle, suspend and let go again by what was refused in the window; never more to do at once."""
        if self.abuse is None:
            return 0
        with self.ledger.read() as conn:
            if not standing.anything_to_judge(conn):
                return 0
        with self.ledger.begin(wake=False) as conn:
            standing.forget(conn, now - self.abuse.window_seconds - 60)
            changed = standings.reconsider(conn, self.abuse, now)
        for one in changed:
            log.warning("standing_changed", tenant=one.tenant, state=one.state, reason=one.reason)
        return 0

    def cancel_queues(self, now: float) -> int:
        """Cancel one chunk of what suspended tenants have queued; the number of images, manifests and fine-tunes."""
        with self.ledger.read() as conn:
            suspended = [one.tenant for one in standing.troubled(conn).values() if one.state == "suspended"]
            busy = [tenant for tenant in suspended if _has_work(conn, tenant)]
        return sum(self._cancel(tenant, now) for tenant in busy)

    def _cancel(self, tenant: str, now: float) -> int:
        told = problem(TenantSuspended(field="tenant")).model_dump_json(exclude_none=True)
        failure = Failure(
            stage=Stage.SCREEN, code=TenantSuspended.code, detail=TenantSuspended(field="tenant").detail
        )
        result = json.dumps({"failure": failure.model_dump(mode="json")})
        with self.ledger.begin() as conn:
            reading = _planning(conn, tenant)
            for batch in reading:
                # Before its images, so that a planner beside this adds no more: it loses the race for the cursor.
                batches.planned(conn, id=batch, tenant=tenant, error=told)
            ended = cancel_planned(conn, tenant=tenant, result=result, now=now, count=CHUNK)
            account(conn, ended, now)
            tuning = open_finetunes(conn, tenant)
            for finetune in tuning:
                cancel_finetune(conn, tenant=tenant, id=finetune, now=now)
            data = {"images": len(ended), "batches": len(reading), "finetunes": len(tuning)}
            audit.append(
                conn, [Entry(kind="tenant.queue_canceled", actor="sweep", tenant=tenant, data=data)], now
            )
        log.warning("queue_canceled", tenant=tenant, **data)
        return sum(data.values())


def _has_work(conn: Connection, tenant: str) -> bool:
    return has_planned(conn, tenant) or bool(_planning(conn, tenant) or open_finetunes(conn, tenant))


def _planning(conn: Connection, tenant: str) -> list[str]:
    rows = batches.in_phase(conn, "planning", limit=_BATCHES_MOST)
    return [row.id for row in rows if row.tenant == tenant]
