# ruff: noqa: ARG002  # Celery calls these with all of them
"""The worker under Celery: one task, one queue of its own, a pool of threads.

Threads, so that fetching and storing run beside the render, in one process that owns the GPU. Celery acknowledges a
message after the task has returned, which is after its report was confirmed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar

import structlog
from celery import Celery, Task
from celery.exceptions import Reject
from celery.signals import worker_ready, worker_shutting_down
from celery.worker.consumer import Consumer as CeleryConsumer
from pydantic import ValidationError

from schemas.errors import KeyMissing, QueueUnavailable, SealBroken
from schemas.microbatch import Microbatch
from storage.broker import sqlite_transport
from storage.broker.connection import BrokerSettings
from storage.broker.sealed_body import open_body
from storage.broker.task_message import TASK_NAME
from storage.broker.topology import DEFAULT_EXCHANGE, work
from workers.worker import Worker, WorkerSettings

log = structlog.get_logger(__name__)


def make_app(broker: BrokerSettings, settings: WorkerSettings, handle: Callable[..., object]) -> Celery:
    """The Celery application of one worker; `handle(microbatch, redelivered=...)` does the work."""
    sqlite_transport.register()
    queue = work(broker, settings.worker_id)
    app = Celery("aquatint", broker=broker.url, set_as_current=False)
    app.conf.update(
        broker_transport_options=broker.transport_options
        | ({"longest_wait_seconds": 0.2} if broker.is_sqlite else {}),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_queues=[queue],
        task_default_queue=queue.name,
        task_default_exchange=DEFAULT_EXCHANGE.name,
        task_default_exchange_type=DEFAULT_EXCHANGE.type,
        task_default_routing_key=queue.name,
        task_create_missing_queues=False,
        task_acks_late=True,
        task_acks_on_failure_or_timeout=False,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_pool="threads",
        worker_concurrency=settings.threads,
        worker_prefetch_multiplier=1,
        worker_consumer=f"{__name__}:QuietConsumer",
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # A redelivery of what is still being rendered waits for the first run, which reports (see Worker.handle).
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_soft_shutdown_timeout=0,
    )
    _add_task(app, handle, broker.message_key, queue.name)
    return app


def _add_task(app: Celery, handle: Callable[..., object], message_key: bytes, queue: str) -> None:
    @app.task(name=TASK_NAME, bind=True)  # type: ignore[untyped-decorator]  # celery has no types
    def render(task: Task, payload: dict[str, Any]) -> None:
        try:
            microbatch = Microbatch.model_validate(open_body(message_key, payload, queue))
        except (ValidationError, SealBroken, KeyMissing) as error:
            log.error("worker.message_refused", message=task.request.id, error=type(error).__name__)
            raise Reject(requeue=False) from None  # a lease of the releaser brings its images back
        try:
            handle(microbatch, redelivered=bool(task.request.delivery_info.get("redelivered")))
        except QueueUnavailable:
            log.warning("worker.report_not_sent", microbatch=microbatch.id)
            raise Reject(requeue=True) from None
        # Returning acknowledges: pictures and receipts are stored, the broker has confirmed the report.


class QuietConsumer(CeleryConsumer):  # type: ignore[misc]  # celery has no types
    """Celery's consumer, whose complaints would quote messages, and so prompts, in the log."""

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc]
        """Without the step that makes 28 exchanges and queues on RabbitMQ for tasks with a countdown: there are none."""

        default_steps: ClassVar[list[str]] = [
            step for step in CeleryConsumer.Blueprint.default_steps if "delayed_delivery" not in step
        ]

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        log.error("worker.message_unreadable", error=type(exc).__name__)
        message.ack()

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        log.error("worker.message_invalid", error=type(exc).__name__)
        message.reject()

    def on_unknown_message(self, body: Any, message: Any) -> None:
        log.error("worker.message_unknown")
        message.reject()

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        log.error("worker.task_unknown", task=str(message.headers.get("task"))[:100])
        message.reject()


def serve(app: Celery, worker: Worker) -> int:
    """Runs the Celery worker in this thread, which must be the main one, until SIGTERM or SIGINT; returns its exit code."""

    def stop(**_: Any) -> None:
        worker.stop()

    def ready(**_: Any) -> None:
        # Ctrl-C ends it as gently as SIGTERM: Celery's own handler would call that a failure.
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))

    with ExitStack() as connected:
        for event, receiver in ((worker_shutting_down, stop), (worker_ready, ready)):
            event.connect(receiver, weak=False)
            connected.callback(event.disconnect, receiver)
        program = app.Worker(
            hostname=f"aquatint-worker@{worker.settings.worker_id}",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
            loglevel="WARNING",
        )
        program.start()
        app.close()
        return program.exitcode or 0
