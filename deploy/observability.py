"""Logs as JSON lines, error reports, and what must never be in either."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from schemas.settings import Settings

#: Fields that never reach a log in clear, whoever logs them.
SECRET_FIELDS = frozenset(
    {"prompt", "negative_prompt", "alt", "body", "secret", "secret_key", "authorization", "token", "password", "signature", "url", "link", "data", "payload"}
)
_SIGNED_LINK = re.compile(r"https?://\S*[?&](?:signature|X-Amz-Signature|sig|token)=\S+", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(\w+://[^:/@\s]*:)[^@/\s]+@")


def configure_logging(settings: Settings, process: str, stream: TextIO | None = None) -> None:
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
        structlog.processors.format_exc_info,
        redact,
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


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Last step before the line is written: known secret fields and links that grant access are masked."""
    for name, value in event.items():
        if name in SECRET_FIELDS and value:
            event[name] = "[redacted]"
        elif isinstance(value, str):
            event[name] = _URL_PASSWORD.sub(r"\1[redacted]@", _SIGNED_LINK.sub("[signed link]", value))
    return event


def start_error_reports(settings: Settings, process: str) -> None:
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
        max_request_body_size="never",
        send_default_pii=False,
        before_send=_scrub,
    )
    sentry_sdk.set_tag("process", process)


def _scrub(event: Any, hint: Any) -> Any:
    """Keep what happened and where; drop whatever may quote a customer: bodies, log fields, breadcrumbs."""
    for field in ("request", "extra", "breadcrumbs", "message"):
        event.pop(field, None)
    record = hint.get("log_record")
    if record is not None:
        # The text of a log line is its whole set of fields; its name is enough to find the line.
        name = record.msg.get("event") if isinstance(record.msg, dict) else record.name
        event["logentry"] = {"message": str(name)}
    for fault in (event.get("exception") or {}).get("values", []):
        if isinstance(fault.get("value"), str):
            fault["value"] = _SIGNED_LINK.sub("[signed link]", _URL_PASSWORD.sub(r"\1[redacted]@", fault["value"]))
    return event
