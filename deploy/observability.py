"""Logs as JSON lines, error reports, and what must never be in either."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, MutableMapping
from functools import partial
from typing import Any, TextIO

import structlog
from pydantic import SecretStr

from deploy.redaction import Redactor, exception_text, message_of
from schemas.settings import Settings

#: Longest chain of exceptions that is looked through.
_CHAIN_MOST = 20


def configure_logging(
    settings: Settings, process: str, stream: TextIO | None = None, *, redactor: Redactor | None = None
) -> None:
    """JSON lines for our loggers and every library's, on standard error unless another stream is given."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_process(process),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )
    final: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.ExceptionRenderer(exception_text),
        _redacting(redactor or redactor_of(settings)),
        structlog.processors.JSONRenderer(),
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=final, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # Request lines would carry signed links; httpx and uvicorn log them at info.
    for name in ("httpx", "httpcore", "uvicorn.access", "botocore", "urllib3", "watchfiles", "alembic", "uvicorn.error"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _with_process(process: str) -> structlog.typing.Processor:
    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["process"] = process
        return event

    return add


def _redacting(redactor: Redactor) -> structlog.typing.Processor:
    """The last step before a line is written, whichever library it comes from."""

    def clean(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return redactor.event(event)

    return clean


def redactor_of(settings: Settings, key: bytes | None = None) -> Redactor:
    """Knows the secrets of this installation; without a key its hashes of prompts are this process's alone."""
    return Redactor(key or os.urandom(32), _secrets(settings))


def _secrets(settings: Settings) -> Iterator[str]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret"):
            yield from value


def start_error_reports(settings: Settings, process: str, *, redactor: Redactor | None = None) -> None:
    """Sentry, when a DSN is set; local variables and request bodies stay here, since they may hold prompts."""
    dsn = settings.sentry_dsn.get_secret_value()
    if not dsn:
        return
    import sentry_sdk

    sentry_sdk.init(
        dsn=dsn,
        environment=settings.environment,
        server_name=process,
        include_local_variables=False,
        include_source_context=True,
        max_request_body_size="never",
        send_default_pii=False,
        max_breadcrumbs=0,
        before_breadcrumb=lambda _crumb, _hint: None,
        before_send=partial(scrub, redactor or redactor_of(settings)),
    )
    sentry_sdk.set_tag("process", process)


def scrub(redactor: Redactor, event: Any, hint: Any) -> Any:
    """Keep what happened and where; drop whatever may quote a customer: bodies, log fields, breadcrumbs, messages."""
    for field in ("request", "extra", "breadcrumbs", "message", "user"):
        event.pop(field, None)
    record = hint.get("log_record")
    if record is not None:
        # The text of a log line is its whole set of fields; its name is enough to find the line.
        name = record.msg.get("event") if isinstance(record.msg, dict) else record.name
        event["logentry"] = {"message": redactor.text(str(name))}
    said = _messages(hint.get("exc_info"))
    for fault in (event.get("exception") or {}).get("values", []):
        if isinstance(fault.get("value"), str):
            fault["value"] = redactor.text(said.get(fault["value"], fault["value"]))
    return event


def _messages(exc_info: Any) -> dict[str, str]:
    """What each exception of a chain says, and what of it may be told."""
    error = exc_info[1] if exc_info else None
    found: dict[str, str] = {}
    while error is not None and len(found) < _CHAIN_MOST:
        found.setdefault(str(error), message_of(error))
        error = error.__cause__ or error.__context__
    return found
