"""The queues of the system, in one place, for every broker.

Everything lives on the default exchange, which routes by queue name: no binding can be forgotten, and kombu's virtual
transports (SQLite, Redis, SQS, memory), which keep bindings per process, need none.
"""

from __future__ import annotations

from typing import Any

from kombu import Exchange, Queue

from storage.broker.connection import BrokerSettings

#: Reports of the workers on their way to the recorder.
OUTCOMES = "outcomes"

#: Deliveries before RabbitMQ gives a message up. High on purpose: the broker counts messages that were only fetched, so a
#: worker that crashes in a loop would use up innocent ones; the releaser counts attempts.
DELIVERY_LIMIT = 1000

DEFAULT_EXCHANGE = Exchange("", type="direct")


def work_queue(worker_id: str) -> str:
    """The name of the queue that this worker alone consumes."""
    return f"work.{worker_id}"


def finetune_queue(trainer_id: str) -> str:
    """The name of the queue that this trainer alone consumes: a lane of its own, which no picture ever waits behind."""
    return f"finetune.{trainer_id}"


def outcomes(settings: BrokerSettings) -> Queue:
    return _queue(settings, settings.queue_prefix + OUTCOMES, None)


def work(settings: BrokerSettings, worker_id: str) -> Queue:
    """The worker's queue; it expires when nobody has consumed it for a while, since a new start has a new name."""
    return _queue(
        settings, settings.queue_prefix + work_queue(worker_id), settings.work_queue_expires_seconds
    )


def finetune(settings: BrokerSettings, trainer_id: str) -> Queue:
    """The trainer's queue, which expires as a worker's does."""
    name = settings.queue_prefix + finetune_queue(trainer_id)
    return _queue(settings, name, settings.work_queue_expires_seconds)


def declare(channel: Any, *queues: Queue) -> None:
    """Makes the queues unless they exist; every producer and consumer does it on its own channel."""
    for queue in queues:
        queue(channel).declare()


def _queue(settings: BrokerSettings, name: str, expires_seconds: float | None) -> Queue:
    arguments: dict[str, Any] = {}
    if settings.is_rabbitmq:
        arguments = {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
        }
    # kombu turns `expires` into x-expires where the broker knows it; Redis and SQS keep the queue.
    return Queue(
        name,
        DEFAULT_EXCHANGE,
        routing_key=name,
        durable=True,
        queue_arguments=arguments,
        expires=expires_seconds,
    )
