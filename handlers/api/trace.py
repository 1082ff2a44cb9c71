"""Trace context: the caller's trace goes on through our spans to its webhook, under our own sampling."""

from __future__ import annotations

import os

import structlog

from schemas.cloudevent import CloudEvent


def continue_trace(event: CloudEvent, caller: str | None = None) -> CloudEvent:
    """The event with a `traceparent` of ours, in the trace of the event or else of the HTTP `caller`.

    The trace id is kept, so that a customer finds the webhook in its own trace. The sampling flag and `tracestate` are
    not: a caller could otherwise force every one of its requests to be recorded here.
    """
    known = event.traceparent or _well_formed(event, caller)
    ours = new_traceparent(known[3:35] if known else None)
    structlog.get_logger(__name__).info("api.trace", trace_id=ours[3:35], span_id=ours[36:52])
    values = event.model_dump() | {"traceparent": ours}
    values.pop("tracestate", None)
    return CloudEvent.model_validate(values)


def new_traceparent(trace_id: str | None = None) -> str:
    """A new span, of a new trace unless `trace_id` is given; not sampled unless a tracer of this installation decides so."""
    return f"00-{trace_id or os.urandom(16).hex()}-{os.urandom(8).hex()}-00"


def _well_formed(event: CloudEvent, caller: str | None) -> str | None:
    return event.model_copy(update={"traceparent": caller}).traceparent if caller else None
