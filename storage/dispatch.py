"""The way of a microbatch to a worker."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from schemas.errors import QueueUnavailable
from schemas.microbatch import Microbatch
from storage.broker.publisher import Publisher
from storage.broker.task_message import task_message
from storage.broker.topology import work_queue


class Dispatcher(Protocol):
    """Hands microbatches over; their outcomes come back as reports, never through here."""

    def submit(self, *microbatches: Microbatch) -> None:
        """The worker side has them when this returns; it may have them twice, and it may still lose them.

        Raises `QueueMissing` when a worker is gone, `QueueUnavailable` when nothing can be handed over now.
        """

    def close(self) -> None: ...


class CancellingDispatcher(Dispatcher, Protocol):
    """A dispatcher that can take a microbatch back."""

    def cancel(self, microbatch_id: str) -> bool:
        """True when the microbatch will not be rendered; its images still have to be put back by the caller."""


class CeleryDispatcher:
    """To the queue of the worker that the microbatch names.

    The queue is not declared here: it exists while its worker lives, and nobody would empty a new one.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def submit(self, *microbatches: Microbatch) -> None:
        settings = self._publisher.settings
        self._publisher.publish(
            *(
                task_message(each, settings.queue_prefix + work_queue(each.worker), settings.message_key)
                for each in microbatches
            )
        )

    def close(self) -> None:
        self._publisher.close()


class InProcessDispatcher:
    """To threads of this process; what waits is lost with the process, which the ledger's leases repair."""

    def __init__(self, render: Callable[[Microbatch], object], *, threads: int = 3) -> None:
        self._render = render
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="render")
        self._waiting: dict[str, Future[object]] = {}

    def submit(self, *microbatches: Microbatch) -> None:
        for microbatch in microbatches:
            try:
                future = self._pool.submit(self._render, microbatch)
            except RuntimeError as error:
                raise QueueUnavailable("the dispatcher is closed") from error
            self._waiting[microbatch.id] = future
            future.add_done_callback(lambda _, id=microbatch.id: self._waiting.pop(id, None))  # type: ignore[misc]

    def cancel(self, microbatch_id: str) -> bool:
        future = self._waiting.get(microbatch_id)
        return future is not None and future.cancel()

    def close(self) -> None:
        """Waits for what is being rendered; drops what is not."""
        self._pool.shutdown(cancel_futures=True)
