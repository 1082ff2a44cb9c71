"""Accepting events: validated, screened, recognised when repeated, and durable before anyone is told so."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection

from handlers.finetunes import FinetunePlanner, new_finetune
from handlers.planner import Origin, Plan, Planner, write
from handlers.recipes import Prepared, RecipeBook, from_invocation
from handlers.refusals import request_refused
from handlers.triggers import Trigger, tenant_of_upload, trigger_for
from schemas.base import Frozen
from schemas.cloudevent import (
    FINETUNE_REQUESTED,
    GENERATION_REQUESTED,
    OBJECT_CREATED,
    RECIPE_INVOKED,
    CloudEvent,
)
from schemas.errors import BadInput, PromptRefused, Unsupported
from schemas.finetune import FinetuneRequest
from schemas.ids import new_id
from schemas.input_reference import InputReference
from schemas.object_event import ObjectCreated
from schemas.problem import from_validation
from schemas.request import GenerationRequest, RecipeInvocation
from storage.ledger import batches, events, kept_inputs
from storage.ledger import finetunes as finetune_rows
from storage.ledger.batches import NewBatch
from storage.ledger.engine import Ledger
from storage.ledger.finetunes import NewFinetune

log = structlog.get_logger(__name__)

Kind = Literal["job", "batch", "finetune", "ignored"]
#: By how an id begins: a repeat of an event became what the first one became, whatever its type says now.
_KINDS: dict[str, Kind] = {"job": "job", "bat": "batch", "fin": "finetune"}
Data = TypeVar("Data", bound=Frozen)


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What an event became; `duplicate` when it had become that before. An ignored upload has no id."""

    id: str | None
    kind: Kind
    duplicate: bool


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What an event is about to become: an id, and how its rows are written in the transaction that remembers it."""

    id: str
    write: Callable[[Connection], object]


class Intake:
    """The door for events. When `accept` returns, everything is committed and the event may be acknowledged.

    Raises BadInput and NotFound for what the sender must change, Temporary for what may be sent again.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        planner: Planner,
        recipes: RecipeBook,
        triggers: Sequence[Trigger] = (),
        finetunes: FinetunePlanner | None = None,
        localise: Callable[[ObjectCreated], ObjectCreated | None] = lambda created: created,
        admit: Callable[[str], None] = lambda _tenant: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`localise` gives an upload the bucket and key by which our stores know it; None when it lies elsewhere.

        `admit` raises TenantSuspended or TenantThrottled for a tenant that may not ask now.
        """
        self._ledger, self._planner, self._recipes, self._triggers, self._clock = (
            ledger,
            planner,
            recipes,
            triggers,
            clock,
        )
        self._localise, self._admit = localise, admit
        self._by_type: dict[str, Callable[[CloudEvent, str], Accepted]] = {
            GENERATION_REQUESTED: self._generation,
            RECIPE_INVOKED: self._recipe,
            OBJECT_CREATED: self._object,
        }
        if finetunes is not None:
            self._by_type[FINETUNE_REQUESTED] = partial(self._finetune, finetunes)

    def accept(self, event: CloudEvent, tenant: str) -> Accepted:
        """Accept one event for a tenant."""
        handle = self._by_type.get(event.type)
        if handle is None:
            raise Unsupported(
                f"events of type {event.type!r} mean nothing here", field="type", limit=sorted(self._by_type)
            )
        return handle(event, tenant)

    def _generation(self, event: CloudEvent, tenant: str) -> Accepted:
        def shape(now: float) -> _Rows:
            request = _parsed(GenerationRequest, event.data)
            origin = Origin(tenant=tenant, traceparent=event.traceparent)
            return _job_rows(self._planner.shape(request, origin, now), now)

        return self._once(event, tenant, shape)

    def _recipe(self, event: CloudEvent, tenant: str) -> Accepted:
        def shape(now: float) -> _Rows:
            prepared = from_invocation(self._recipes, _parsed(RecipeInvocation, event.data))
            plan = self._planner.shape(prepared.request, _origin(prepared, event, tenant), now)
            return _job_rows(plan, now)

        return self._once(event, tenant, shape)

    def _finetune(self, planner: FinetunePlanner, event: CloudEvent, tenant: str) -> Accepted:
        def shape(now: float) -> _Rows:
            request = _parsed(FinetuneRequest, event.data)
            new = new_finetune(
                request,
                planner.spec(request, tenant),
                id=new_id("fin"),
                tenant=tenant,
                traceparent=event.traceparent,
                now=now,
            )
            return _Rows(id=new.id, write=lambda conn: _add_finetune(conn, new, request.images))

        return self._once(event, tenant, shape)

    def _once(self, event: CloudEvent, tenant: str, shape: Callable[[float], _Rows]) -> Accepted:
        now = self._clock()
        try:
            self._admit(tenant)
            rows = shape(now)
        except BadInput as error:
            # A repeat of what was accepted stays accepted, even if it would be refused today (a deadline that has passed).
            with self._ledger.read() as conn:
                known = events.became_of(conn, tenant=tenant, source=event.source, id=event.id)
            if known is None:
                if isinstance(error, PromptRefused):
                    request_refused(self._ledger, tenant, error, now)
                raise
            return Accepted(id=known, kind=_KINDS[known[:3]], duplicate=True)
        with self._ledger.begin() as conn:
            known = events.remember(
                conn, tenant=tenant, source=event.source, id=event.id, became=rows.id, now=now
            )
            if known is None:
                rows.write(conn)
        became, repeated = known or rows.id, known is not None
        kind = _KINDS[became[:3]]
        log.info(
            "accepted",
            **{kind: became},
            event_id=event.id,
            trace_id=trace_id(event.traceparent),
            duplicate=repeated,
        )
        return Accepted(id=became, kind=kind, duplicate=repeated)

    def _object(self, event: CloudEvent, tenant: str) -> Accepted:
        return self.object_created(_parsed(ObjectCreated, event.data), tenant, traceparent=event.traceparent)

    def object_created(
        self, created: ObjectCreated, tenant: str, *, traceparent: str | None = None
    ) -> Accepted:
        """Accept an upload as a manifest, once per bucket, key and version; one that no trigger wants is ignored."""
        known_here = self._localise(created)
        trigger = trigger_for(self._triggers, known_here) if known_here else None
        if known_here is None or trigger is None:
            return Accepted(id=None, kind="ignored", duplicate=False)
        created = known_here
        new = self._batch(created, trigger, tenant_of_upload(trigger, created, tenant), traceparent)
        self._admit(new.tenant)
        with self._ledger.begin() as conn:
            known = events.remember(
                conn,
                tenant=new.tenant,
                source=created.source,
                id=created.dedupe_id,
                became=new.id,
                now=new.created_at,
            )
            if known is None:
                batches.add(conn, new)
        log.info(
            "accepted", batch=known or new.id, trace_id=trace_id(traceparent), duplicate=known is not None
        )
        return Accepted(id=known or new.id, kind="batch", duplicate=known is not None)

    def _batch(
        self, created: ObjectCreated, trigger: Trigger, tenant: str, traceparent: str | None
    ) -> NewBatch:
        webhook = trigger.webhook
        return NewBatch(
            id=new_id("bat"),
            tenant=tenant,
            bucket=created.bucket,
            key=created.key,
            version=created.version,
            # With its version: what the recipe is called tomorrow must not change a batch that is half planned.
            recipe=self._recipes.get(trigger.recipe).ref if trigger.recipe else None,
            webhook_url=webhook.url if webhook else None,
            webhook_events=json.dumps(webhook.events) if webhook else None,
            traceparent=traceparent,
            created_at=self._clock(),
        )


def _add_finetune(conn: Connection, new: NewFinetune, references: Sequence[str]) -> None:
    finetune_rows.add(conn, new)
    named = [InputReference.parse(text) for text in references if not text.endswith("/")]
    kept_inputs.need(conn, new.tenant, new.id, [one.key for one in named if one.place == "inputs"])


def trace_id(traceparent: str | None) -> str | None:
    """The trace of a W3C traceparent, by which the lines of all processes about it are found."""
    return traceparent[3:35] if traceparent else None


def _job_rows(plan: Plan, now: float) -> _Rows:
    return _Rows(id=plan.job.id, write=lambda conn: write(conn, [plan], now))


def _origin(prepared: Prepared, event: CloudEvent, tenant: str) -> Origin:
    return Origin(
        tenant=tenant,
        row_key=prepared.row_key,
        recipe=prepared.recipe,
        words=prepared.words,
        traceparent=event.traceparent,
    )


def _parsed(kind: type[Data], data: Any) -> Data:
    try:
        return kind.model_validate(data)
    except ValidationError as invalid:
        raise from_validation(invalid) from None
