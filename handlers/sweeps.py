"""What must happen now and then, in one process of the installation: expiries, clean-up, daily roots."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from schemas.errors import AquatintError
from storage.ledger.engine import Ledger

log = structlog.get_logger(__name__)

#: The name of the leader lock.
LOCK = "sweeps"
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One chore.

    `run(now)` does a bounded slice of it in transactions of its own and says how much it did: after more than nothing it
    is called again at once, so that a large backlog never holds a transaction open for long.
    """

    name: str
    #: Between two looks when there was nothing left to do.
    every_seconds: float
    run: Callable[[float], int]


class Sweeper:
    """Runs the sweeps that are due; one that fails is tried again at its next time, and holds up no other."""

    def __init__(self, sweeps: Sequence[Sweep], *, clock: Callable[[], float] = time.time) -> None:
        self._sweeps, self._clock = tuple(sweeps), clock
        self._due = dict.fromkeys((sweep.name for sweep in sweeps), 0.0)
        if len(self._due) < len(self._sweeps):
            raise ValueError("two sweeps have the same name")

    def step(self) -> bool:
        """Run one slice of the sweep that has waited longest; False when none is due."""
        now = self._clock()
        waiting = [sweep for sweep in self._sweeps if self._due[sweep.name] <= now]
        if not waiting:
            return False
        sweep = min(waiting, key=lambda one: self._due[one.name])
        done = self._run(sweep, now)
        # Behind the others that are due, so that one with a backlog does not keep them waiting.
        self._due[sweep.name] = now if done else now + sweep.every_seconds
        return True

    def _run(self, sweep: Sweep, now: float) -> int:
        try:
            done = sweep.run(now)
        except AquatintError as error:
            log.error("sweep_waits", sweep=sweep.name, error=error.code, actor=error.actor)
            return 0
        except Exception as error:  # a fault in one chore must not end the others
            log.error("sweep_failed", sweep=sweep.name, error=type(error).__name__)
            return 0
        if done:
            log.info("swept", sweep=sweep.name, count=done)
        return done


def run_sweeps(sweeper: Sweeper, ledger: Ledger, stop: threading.Event) -> None:
    """Sweep until told to stop, while this process holds the leader lock."""
    lock = ledger.lock(LOCK)
    try:
        while not stop.is_set():
            try:
                if not lock.acquire() or not (lock.held() and sweeper.step()):
                    stop.wait(_LOOK_SECONDS)
            except AquatintError as error:
                log.error("sweeps_wait", error=error.code, actor=error.actor)
                stop.wait(2 * _LOOK_SECONDS)
    finally:
        lock.release()
