"""The loops of one process: started together, stopped together, and never half dead."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

import structlog

log = structlog.get_logger(__name__)

Loop = Callable[[threading.Event], None]

#: How long a loop may take to come to its end after `stop`.
JOIN_SECONDS = 15.0


class Crew:
    """Named loops in threads; when one fails, all stop, so that a supervisor starts the whole process anew."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.failed: list[str] = []
        self._threads: list[threading.Thread] = []
        #: Called once when the crew is to stop, e.g. to end a server in the main thread.
        self.on_stop: Callable[[], None] | None = None

    def add(self, name: str, loop: Loop) -> None:
        thread = threading.Thread(target=self._run, args=(name, loop), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, name: str, loop: Loop) -> None:
        try:
            loop(self.stop)
        except Exception:
            log.exception("loop_failed", loop=name)
        if not self.stop.is_set():
            # It failed, or came back though nobody asked it to: half a process would look alive.
            self.failed.append(name)
            self.request_stop()

    def request_stop(self) -> None:
        self.stop.set()
        if self.on_stop is not None:
            self.on_stop()

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT stop the crew; for processes without a server that handles them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self.request_stop()

    def wait(self) -> int:
        """Block until stopped; the exit code: 0 for an orderly end, 1 when a loop failed."""
        while not self.stop.wait(0.5):
            pass
        return self.join()

    def join(self) -> int:
        self.request_stop()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
        late = [thread.name for thread in self._threads if thread.is_alive()]
        if late:
            log.warning("loops_still_running", loops=late)
        return 1 if self.failed else 0
