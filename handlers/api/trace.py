"""Trace context: each accepted event begins a trace of its own, and remembers the caller's as a link."""

from __future__ import annotations

import os

import structlog

from schemas.cloudevent import CloudEvent

#: Extension attribute that keeps the caller's own context.
LINK = "linkedtraceparent"


def begin_trace(event: CloudEvent, caller: str | None = None) -> CloudEvent:
    """The event with a fresh `traceparent`; that of the event or of the HTTP `caller` becomes the link.

    A caller's ids are not taken over as our root, nor its sampling flag: it could otherwise write into foreign traces
    and force every one of its requests to be sampled.
    """
    linked = event.traceparent or _well_formed(event, caller)
    ours = new_traceparent()
    structlog.get_logger(__name__).info(
        "api.trace", trace_id=ours[3:35], linked_trace_id=linked[3:35] if linked else None
    )
    values = event.model_dump() | {"traceparent": ours} | ({LINK: linked} if linked else {})
    values.pop("tracestate", None)
    return CloudEvent.model_validate(values)


def new_traceparent() -> str:
    """A root of our own, not sampled unless a tracer of this installation decides so."""
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-00"


def _well_formed(event: CloudEvent, caller: str | None) -> str | None:
    return event.model_copy(update={"traceparent": caller}).traceparent if caller else None
