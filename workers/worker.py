"""A worker without its queue: what Celery, Modal and the in-process dispatcher share."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from schemas.microbatch import Microbatch
from schemas.outcome import Finished
from workers.fetch import Fetcher
from workers.finishing import Finishing, WayOut
from workers.gpu import Gpu
from workers.heartbeat import Held, Pulse
from workers.input_reading import InputReader
from workers.ports import OutputScreen, Renderer, Reporter, Stores
from workers.render import Ports, render_microbatch
from workers.stop import Stop
from workers.watchdog import Watchdog

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """How one worker behaves."""

    #: Unique for each start, e.g. "wrk_...": a new start is a new worker.
    worker_id: str
    pool: str = "default"
    #: Where the releaser publishes for this worker.
    queue: str = ""
    #: None where something else vouches for this worker, as Modal does.
    heartbeat_seconds: float | None = 5.0
    #: After SIGTERM, how long the render on the GPU may go on before it is asked to stop at its next step.
    grace_seconds: float = 30.0
    #: Microbatches in hand at once: one on the GPU, the others being fetched or stored.
    threads: int = 3
    io_threads: int = 4
    hang_seconds: float = 60.0
    first_hang_seconds: float = 600.0


class Worker:
    """Renders what it is given, reports, and says that it lives; a context manager."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        renderer: Renderer,
        screen: OutputScreen,
        stores: Stores,
        reporter: Reporter,
        way_out: WayOut,
        inputs: InputReader | None = None,
        clock: Callable[[], float] = time.time,
        watchdog: Watchdog | None = None,
    ) -> None:
        self.settings, self._clock = settings, clock
        self._watchdog = watchdog or Watchdog(
            least_seconds=settings.hang_seconds, unknown_seconds=settings.first_hang_seconds
        )
        gpu, self.stop_signal, self._held = Gpu(self._watchdog, clock), Stop(), Held()
        self._io = ThreadPoolExecutor(settings.io_threads, thread_name_prefix="images")
        self.ports = Ports(
            renderer=renderer,
            fetch=Fetcher(stores, renderer, inputs).fetch,
            screen=screen,
            finishing=Finishing(way_out=way_out, stores=stores),
            stores=stores,
            reporter=reporter,
            gpu=gpu,
            stop=self.stop_signal,
            io=self._io,
        )
        self._pulse = self._make_pulse()
        self._hurry: threading.Timer | None = None

    def _make_pulse(self) -> Pulse | None:
        settings, ports = self.settings, self.ports
        if settings.heartbeat_seconds is None:
            return None
        return Pulse(
            worker=settings.worker_id,
            pool=settings.pool,
            queue=settings.queue,
            models=ports.renderer.models,
            reporter=ports.reporter,
            gpu=ports.gpu,
            held=self._held,
            accepting=lambda: not self.stop_signal.stopping.is_set(),
            seconds=settings.heartbeat_seconds,
            clock=self._clock,
        )

    def handle(self, microbatch: Microbatch, *, redelivered: bool = False) -> Finished | None:
        """The report that accounts for the microbatch; None when this process was at it already and has now reported it.

        Raises `QueueUnavailable` when the report could not be sent.
        """
        with self._held.hold(microbatch.id) as first:
            if not first:
                # Delivered again over a new connection while the first delivery was being worked on.
                return None
            with structlog.contextvars.bound_contextvars(microbatch=microbatch.id, worker=microbatch.worker):
                finished = render_microbatch(microbatch, self.ports, redelivered=redelivered, now=self._clock)
                ends = Counter(outcome.type.rpartition(".")[2] for outcome in finished.outcomes)
                log.info("worker.microbatch_finished", batch_key=microbatch.batch_key, **ends)
            return finished

    def stop(self) -> None:
        """Starts nothing more, says so, and after the grace period asks the render on the GPU to leave."""
        self.stop_signal.stopping.set()
        if self._pulse is not None:
            self._pulse.beat_now()
        self._hurry = threading.Timer(self.settings.grace_seconds, self.stop_signal.hurry.set)
        self._hurry.daemon = True
        self._hurry.start()

    def __enter__(self) -> Self:
        if self._pulse is not None:
            self._pulse.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_signal.stopping.set()
        if self._hurry is not None:
            self._hurry.cancel()
        if self._pulse is not None:
            self._pulse.close()
        self._io.shutdown()
        self._watchdog.close()
