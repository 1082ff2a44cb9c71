"""Runs a worker process from its start to its orderly end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog
from pydantic import ValidationError

from schemas.errors import QueueUnavailable
from schemas.microbatch import Microbatch
from storage.broker.connection import BrokerSettings
from storage.broker.consumer import Consumer, Delivery
from storage.broker.publisher import Publisher
from storage.broker.topology import outcomes, work
from workers.celery_app import make_app, serve
from workers.finishing import WayOut
from workers.input_reading import InputReader
from workers.ports import BrokerReporter, OutputScreen, Renderer, Stores
from workers.worker import Worker, WorkerSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """What the composition root hands to `run_worker`."""

    broker: BrokerSettings
    worker: WorkerSettings
    stores: Stores
    screen: OutputScreen
    way_out: WayOut
    #: Reads the pictures that requests brought; None: in this process, and only files from before there were records.
    inputs: InputReader | None = None
    #: Opens the models: called once, in the worker process, before anything is accepted.
    renderer: Callable[[], Renderer]


def run_worker(config: WorkerConfig) -> int:
    """Serves until SIGTERM, then finishes what is on the GPU and gives back the rest; returns the exit code, 0 for that.

    Must be called in the main thread. The renderer's, the store's and the settings' errors pass through before the
    first heartbeat.
    """
    queue = work(config.broker, config.worker.worker_id)
    settings = replace(config.worker, queue=queue.name)
    reports = outcomes(config.broker)
    publisher = Publisher(config.broker, reports)
    renderer = config.renderer()
    reporter = BrokerReporter(publisher, reports.name)
    try:
        worker = Worker(
            settings,
            renderer=renderer,
            screen=config.screen,
            stores=config.stores,
            reporter=reporter,
            way_out=config.way_out,
            inputs=config.inputs,
        )
        # The queue must be there before the first heartbeat invites the releaser to publish to it.
        leftovers = Consumer(config.broker, queue, prefetch=100)
        leftovers.declare()
        with worker:
            code = serve(make_app(config.broker, settings, worker.handle), worker)
            give_back_the_rest(leftovers, worker)
        return code
    finally:
        publisher.close()


def give_back_the_rest(queue: Consumer, worker: Worker) -> None:
    """Returns what the releaser sent and no thread took up, so that it need not wait for a lease to run out."""
    try:
        while deliveries := queue.drain(100, timeout=0.2):
            for delivery in deliveries:
                _give_back(delivery, worker)
            queue.ack(deliveries)  # the returns are confirmed
    except QueueUnavailable as error:
        log.warning("worker.rest_not_returned", error=error.detail)
    finally:
        queue.close()


def _give_back(delivery: Delivery, worker: Worker) -> None:
    try:
        microbatch = Microbatch.model_validate(json.loads(delivery.body)[0][0])
    except (ValueError, ValidationError, LookupError, TypeError):
        return  # not a microbatch: nobody waits for it
    # It is stopping, so nothing is rendered: what is stored is reported, the rest returned.
    worker.handle(microbatch, redelivered=delivery.redelivered)
