"""Starts the processes of the embedded stack, restarts what dies, and ends them all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

#: Pause before a restart, doubled each time up to the longest; a process that lived a minute starts anew at the shortest.
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
HEALTHY_AFTER_SECONDS = 60.0
#: Time between SIGTERM and SIGKILL at the end.
GRACE_SECONDS = 20.0


@dataclass(kw_only=True)
class Child:
    """One process that should be running."""

    name: str
    argv: list[str]
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restarts: int = 0
    pause_seconds: float = SHORTEST_PAUSE_SECONDS
    start_at: float = field(default=0.0)


class Supervisor:
    """Keeps its children alive until `stop`; `watch` runs in the caller's thread or in one of its own."""

    def __init__(self, environ: Mapping[str, str], log_dir: Path) -> None:
        self._environ = dict(environ)
        self._log_dir = log_dir
        self._children: list[Child] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    def add(self, name: str, argv: Iterable[str]) -> None:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        child = Child(name=name, argv=list(argv), log_path=self._log_dir / f"{name}.log")
        self._children.append(child)
        self._start(child)

    def pids(self) -> dict[str, int]:
        """Name to pid of what runs now."""
        return {c.name: c.process.pid for c in self._children if c.process is not None and c.process.poll() is None}

    def restarts(self) -> dict[str, int]:
        return {child.name: child.restarts for child in self._children}

    def watch(self, on_tick: Callable[[], bool] | None = None, tick_seconds: float = 0.1) -> None:
        """Restart what has died until `stop` is called or `on_tick` returns False."""
        while not self._stopping.wait(tick_seconds):
            self._revive()
            if on_tick is not None and not on_tick():
                return

    def _revive(self) -> None:
        with self._lock:
            for child in self._children:
                if self._stopping.is_set():
                    return
                if child.process is not None and child.process.poll() is not None:
                    self._schedule(child, child.process.returncode)
                if child.process is None and time.monotonic() >= child.start_at:
                    child.restarts += 1
                    self._start(child)

    def _schedule(self, child: Child, code: int) -> None:
        lived = time.monotonic() - child.started_at
        child.pause_seconds = (
            SHORTEST_PAUSE_SECONDS if lived > HEALTHY_AFTER_SECONDS else min(child.pause_seconds * 2, LONGEST_PAUSE_SECONDS)
        )
        log.warning("process_died", name=child.name, code=code, lived_seconds=round(lived, 1))
        child.process, child.start_at = None, time.monotonic() + child.pause_seconds

    def _start(self, child: Child) -> None:
        with child.log_path.open("ab") as sink:
            # A session of its own: Ctrl-C reaches the supervisor alone, which then ends its children in order.
            child.process = subprocess.Popen(  # noqa: S603  our own interpreter and arguments
                child.argv, env=self._environ, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
            )
        child.started_at = time.monotonic()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """SIGTERM to all, then SIGKILL to what is left when the grace has passed."""
        self._stopping.set()
        with self._lock:
            running = [c.process for c in self._children if c.process is not None and c.process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + grace_seconds
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def end_with_parent(interval_seconds: float = 1.0) -> None:
    """End this process when the one that started it is gone, also where the system cannot signal it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(interval_seconds)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def role_argv(role: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "deploy.cli", "serve", role, *arguments]
