"""Tells the releaser, every few seconds, that this worker lives, and what it holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from schemas.outcome import Heartbeat
from workers.gpu import Gpu
from workers.ports import Reporter
from workers.ticker import Ticker


class Held:
    """The microbatches in the hands of this process, from receipt to report."""

    def __init__(self) -> None:
        self._ids: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, microbatch_id: str) -> Iterator[bool]:
        """True when it was not held yet; else False, once the first holder has let go."""
        with self._lock:
            other = self._ids.get(microbatch_id)
            if other is None:
                mine = self._ids[microbatch_id] = threading.Event()
        if other is not None:
            other.wait()
            yield False
            return
        try:
            yield True
        finally:
            with self._lock:
                del self._ids[microbatch_id]
            mine.set()

    def ids(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._ids)


class Pulse(Ticker):
    """A thread that reports a `Heartbeat` at once, every `seconds`, and whenever `accepting` changes."""

    def __init__(
        self,
        *,
        worker: str,
        pool: str,
        queue: str,
        models: Mapping[str, str],
        reporter: Reporter,
        gpu: Gpu,
        held: Held,
        accepting: Callable[[], bool],
        seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._worker, self._pool, self._queue, self._models = worker, pool, queue, dict(models)
        self._reporter, self._gpu, self._held, self._accepting = reporter, gpu, held, accepting
        self._clock = clock
        super().__init__(self.beat, seconds=seconds)

    def beat(self) -> Heartbeat:
        heartbeat = Heartbeat(
            worker=self._worker,
            pool=self._pool,
            queue=self._queue,
            at=self._clock(),
            held=self._held.ids(),
            gpu_done=self._gpu.take_done(),
            models=self._models,
            accepting=self._accepting(),
        )
        self._reporter.report(heartbeat)
        return heartbeat
