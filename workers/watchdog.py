"""Ends a process whose render hangs: nothing else can stop a thread that waits for a GPU for ever."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger(__name__)


def kill_this_process() -> None:
    """SIGKILL: no handler and no cleanup that could hang as well."""
    os.kill(os.getpid(), signal.SIGKILL)


class Watchdog:
    """Calls `bite` when a watched render shows no progress for max(`least_seconds`, `factor` x the expected seconds).

    Nothing is reported: a supervisor starts the worker again, and the lost lease makes its images suspects.
    """

    def __init__(
        self,
        *,
        least_seconds: float = 60.0,
        factor: float = 20.0,
        unknown_seconds: float = 600.0,
        bite: Callable[[], None] = kill_this_process,
    ) -> None:
        self._least, self._factor, self._unknown, self._bite = least_seconds, factor, unknown_seconds, bite
        self._changed = threading.Condition()
        self._name: str | None = None
        self._limit = 0.0
        self._alive_at = 0.0
        self._closed = False
        self._thread: threading.Thread | None = None

    def limit_seconds(self, expected_seconds: float | None) -> float:
        """How long a render may show no progress; the first of its kind, whose time is unknown, may load and compile."""
        return (
            self._unknown if expected_seconds is None else max(self._least, self._factor * expected_seconds)
        )

    @contextmanager
    def watching(self, name: str, expected_seconds: float | None) -> Iterator[None]:
        with self._changed:
            self._name, self._limit, self._alive_at = (
                name,
                self.limit_seconds(expected_seconds),
                time.monotonic(),
            )
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._name = None

    def alive(self) -> None:
        """The render made a step."""
        self._alive_at = time.monotonic()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                left = self._alive_at + self._limit - time.monotonic()
                if self._name is None:
                    self._changed.wait()
                elif left > 0:
                    self._changed.wait(left)
                else:
                    log.critical("worker.render_hangs", microbatch=self._name, limit_seconds=self._limit)
                    self._name = None
                    self._bite()
