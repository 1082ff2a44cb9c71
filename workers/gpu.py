"""The GPU: one microbatch at a time, measured and watched."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from schemas.microbatch import Microbatch
from schemas.outcome import GpuDone
from workers.watchdog import Watchdog

#: Weight of the newest measurement in the expected seconds per image.
NEWEST = 0.3


class Gpu:
    """Whoever holds the turn renders; everything before and after runs beside it."""

    def __init__(self, watchdog: Watchdog, clock: Callable[[], float] = time.time) -> None:
        self.watchdog, self._clock = watchdog, clock
        self._turn = threading.Lock()
        self._done_lock = threading.Lock()
        self._done: GpuDone | None = None
        self._seconds_per_image: dict[str, float] = {}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits until the GPU is free."""
        with self._turn:
            yield

    @contextmanager
    def rendering(self, microbatch: Microbatch, images: int) -> Iterator[None]:
        """Around the render itself, inside the turn: keeps the time, and lets the watchdog look on."""
        per_image = self._seconds_per_image.get(microbatch.batch_key)
        began = time.monotonic()
        with self.watchdog.watching(microbatch.id, None if per_image is None else per_image * images):
            yield
        seconds = time.monotonic() - began
        latest = seconds / images
        self._seconds_per_image[microbatch.batch_key] = (
            latest if per_image is None else per_image + NEWEST * (latest - per_image)
        )
        with self._done_lock:
            self._done = GpuDone(microbatch=microbatch.id, at=self._clock(), seconds=seconds, images=images)

    def take_done(self) -> GpuDone | None:
        """The microbatch that left the GPU last, once: it travels with the next report, not in a message of its own."""
        with self._done_lock:
            done, self._done = self._done, None
        return done
