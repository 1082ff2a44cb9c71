"""A thread that reports at once, every few seconds, and whenever it is asked to."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class Ticker:
    """Calls `beat`, which may fail: a missed beat costs nothing until the third."""

    def __init__(self, beat: Callable[[], object], *, seconds: float) -> None:
        self._beat, self._seconds = beat, seconds
        self._closed = False
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def beat_now(self) -> None:
        """Safe in a signal handler of a thread that does nothing else with this ticker."""
        self._due.set()

    def close(self) -> None:
        """Ends the thread after a last beat."""
        self._closed = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._due.clear()
            last = self._closed
            try:
                self._beat()
            except Exception as error:
                log.warning("heartbeat_not_sent", error=type(error).__name__)
            if last:
                return
            self._due.wait(self._seconds)
