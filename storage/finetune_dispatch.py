"""The way of a fine-tune to a trainer."""

from __future__ import annotations

from typing import Protocol

from schemas.finetune import FinetuneStop, FinetuneTask
from storage.broker.publisher import Outgoing, Publisher
from storage.broker.sealed_body import seal_body
from storage.broker.topology import finetune_queue


class FinetuneDispatcher(Protocol):
    """Hands fine-tunes over; what comes of them comes back as reports, never through here."""

    def send(self, *messages: FinetuneTask | FinetuneStop) -> None:
        """The trainers' queues have them when this returns; they may have them twice, and may still lose them.

        Raises `QueueMissing` when a trainer is gone, `QueueUnavailable` when nothing can be handed over now.
        """


class QueueFinetuneDispatcher:
    """To the queue of the trainer that the message names, which exists while that lives."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def send(self, *messages: FinetuneTask | FinetuneStop) -> None:
        self._publisher.publish(*(self._outgoing(one) for one in messages))

    def _outgoing(self, message: FinetuneTask | FinetuneStop) -> Outgoing:
        settings = self._publisher.settings
        queue = settings.queue_prefix + finetune_queue(message.trainer)
        return Outgoing(queue=queue, body=seal_body(settings.message_key, message.model_dump_json(), queue))
