"""Sends microbatches to the workers on Modal, and speaks for them in heartbeats."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import modal
import modal.exception
import structlog

from deploy.modal_settings import ModalSettings
from schemas.errors import BadSettings, QueueUnavailable
from schemas.ids import new_id
from schemas.microbatch import Microbatch
from schemas.outcome import Heartbeat
from workers.ports import Reporter

log = structlog.get_logger(__name__)


class Call(Protocol):
    """The part of `modal.FunctionCall` that is used."""

    object_id: str

    def get(self, timeout: float | None = None) -> Any: ...

    def cancel(self) -> None: ...


class Spawner(Protocol):
    """The part of a Modal method that is used."""

    def spawn(self, payload: dict[str, Any]) -> Call: ...


def deployed(settings: ModalSettings) -> Spawner:
    """The render method of the deployed app; Modal is not contacted before the first `spawn`."""
    spawner: Spawner = modal.Cls.from_name(settings.app_name, settings.class_name)().render
    return spawner


class ModalDispatcher:
    """One `spawn` per microbatch. Thread-safe."""

    def __init__(self, spawner: Spawner, from_id: Callable[[str], Call] = modal.FunctionCall.from_id) -> None:
        self._spawner, self._from_id = spawner, from_id
        self._calls: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def submit(self, *microbatches: Microbatch) -> None:
        """Raises `QueueUnavailable` when Modal cannot take it now, `BadSettings` without a token or a deployed app."""
        for microbatch in microbatches:
            try:
                call = self._spawner.spawn(microbatch.model_dump(mode="json"))
            except (modal.exception.AuthError, modal.exception.NotFoundError) as error:
                raise BadSettings(
                    f"Modal: {type(error).__name__}; is there a token, and is the app deployed?"
                ) from error
            except (modal.exception.Error, OSError) as error:
                raise QueueUnavailable(f"Modal took no work ({type(error).__name__})") from error
            with self._lock:
                self._calls[microbatch.id] = (call.object_id, microbatch.worker)

    def cancel(self, microbatch_id: str) -> bool:
        """Stops the call, even in the middle of a render."""
        with self._lock:
            known = self._calls.pop(microbatch_id, None)
        if known is None:
            return False
        self._from_id(known[0]).cancel()
        return True

    def running(self) -> dict[str, list[str]]:
        """Ids of the microbatches Modal is still at, by worker; what has ended in any way is forgotten."""
        with self._lock:
            calls = dict(self._calls)
        by_worker: dict[str, list[str]] = {}
        for microbatch_id, (call_id, worker) in calls.items():
            if self._is_running(call_id):
                by_worker.setdefault(worker, []).append(microbatch_id)
            else:
                with self._lock:
                    self._calls.pop(microbatch_id, None)
        return by_worker

    def _is_running(self, call_id: str) -> bool:
        try:
            self._from_id(call_id).get(timeout=0)
        except TimeoutError:  # the builtin; Modal's own TimeoutError says that the call ran too long
            return True
        except (modal.exception.ConnectionError, OSError):
            return True  # nothing learnt: the next look tells
        except Exception as error:
            log.warning("modal.call_failed", call=call_id, error=type(error).__name__)
        return False

    def close(self) -> None:
        """The calls go on: they report to the API, not to this process."""


class ModalPresence:
    """Heartbeats of as many workers as there may be containers.

    A container that does not exist yet cannot say that it is ready, and the releaser sends only to workers that live. So
    the process that dispatches speaks for them: each is ready, and holds what Modal is running for it.
    """

    def __init__(
        self,
        dispatcher: ModalDispatcher,
        reporter: Reporter,
        *,
        models: Mapping[str, str],
        containers: int,
        pool: str = "modal",
        seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._dispatcher, self._reporter, self._models = dispatcher, reporter, dict(models)
        self._pool, self._seconds, self._clock = pool, seconds, clock
        self.workers: Sequence[str] = tuple(new_id("wrk") for _ in range(containers))
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="modal presence", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and says that none of the workers takes any more."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.beat()

    def beat(self) -> None:
        running = self._dispatcher.running()
        for worker in self.workers:
            self._reporter.report(
                Heartbeat(
                    worker=worker,
                    pool=self._pool,
                    queue="",
                    at=self._clock(),
                    held=tuple(running.get(worker, ())),
                    models=self._models,
                    accepting=not self._closed.is_set(),
                )
            )

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self.beat()
            except Exception as error:
                log.warning("modal.heartbeat_not_sent", error=type(error).__name__)
            self._closed.wait(self._seconds)
