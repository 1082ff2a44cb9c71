"""Runs a trainer from its start to its orderly end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from schemas.errors import QueueUnavailable
from storage.broker.connection import BrokerSettings
from storage.broker.consumer import Consumer, Delivery
from storage.broker.publisher import Publisher
from storage.broker.topology import finetune, outcomes
from workers.brand_pictures import Stores
from workers.ports import BrokerReporter
from workers.trainer import Trainer, TrainerSettings
from workers.tuning import Tuner

log = structlog.get_logger(__name__)

#: Longest wait for a message before the loop looks whether a run has ended.
_DRAIN_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """What the composition root hands to `run_trainer`."""

    broker: BrokerSettings
    trainer: TrainerSettings
    #: A tenant's stores, and how its pictures are looked at.
    stores: Callable[[str], Stores]
    tuner: Tuner


def run_trainer(config: TrainerConfig, stop: threading.Event) -> None:
    """Serve until told to stop; what is being trained is then called off and given back."""
    queue = finetune(config.broker, config.trainer.trainer_id)
    reports = outcomes(config.broker)
    publisher, consumer = Publisher(config.broker, reports), Consumer(config.broker, queue, prefetch=10)
    # The queue must be there before the first heartbeat invites the releaser to publish to it.
    consumer.declare()
    trainer = Trainer(
        replace(config.trainer, queue=queue.name, message_key=config.broker.message_key),
        tuner=config.tuner,
        stores=config.stores,
        reporter=BrokerReporter(publisher, reports.name),
    )
    trainer.start()
    try:
        while not stop.is_set():
            _serve_once(trainer, consumer)
    finally:
        trainer.stop()
        _acknowledge(consumer, trainer.settled())
        consumer.close()
        publisher.close()


def _serve_once(trainer: Trainer, consumer: Consumer) -> None:
    try:
        for delivery in consumer.drain(10, _DRAIN_SECONDS):
            _acknowledge(consumer, trainer.take(delivery))
    except QueueUnavailable as error:
        # What was not acknowledged comes again, or its lease runs out.
        log.warning("trainer.queue_waits", error=error.code)
        consumer.close()
    # Its adapter is stored and the broker has confirmed the report: only now may the message go.
    _acknowledge(consumer, trainer.settled())


def _acknowledge(consumer: Consumer, deliveries: Sequence[Delivery]) -> None:
    try:
        consumer.ack(deliveries)
    except QueueUnavailable:
        log.info("trainer.acknowledgement_lost")  # it comes again, and is recognised
