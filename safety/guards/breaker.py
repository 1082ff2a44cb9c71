"""A circuit breaker: a service that keeps failing is left alone, then probed once at a time, ever more seldom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """What one process knows of one service; safe to share between threads."""

    def __init__(
        self,
        *,
        open_after_failures: int = 5,
        first_pause_seconds: float = 5.0,
        longest_pause_seconds: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._first, self._longest = (
            open_after_failures,
            first_pause_seconds,
            longest_pause_seconds,
        )
        self._clock, self._lock = clock, threading.Lock()
        self._failures = self._openings = 0
        #: While it is open: when the next probe may go out.
        self._probe_at: float | None = None

    def allows(self) -> bool:
        """Whether a call may go out now; while the breaker is open one probe may, when its time has come."""
        with self._lock:
            if self._probe_at is None:
                return True
            now = self._clock()
            if now < self._probe_at:
                return False
            # The next caller waits for this probe, or for as long again should its answer never come.
            self._probe_at = now + self._pause()
            return True

    def failed(self) -> None:
        """Count a failure; the breaker opens after so many in a row, and after a probe that failed."""
        with self._lock:
            self._failures += 1
            if self._probe_at is not None:
                self._openings += 1
            if self._failures >= self._limit:
                self._probe_at = self._clock() + self._pause()

    def succeeded(self) -> None:
        """Close the breaker."""
        with self._lock:
            self._failures = self._openings = 0
            self._probe_at = None

    def _pause(self) -> float:
        return min(self._first * float(1 << min(self._openings, 30)), self._longest)
