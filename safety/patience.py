"""Calling a classifier that may hang."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Overdue(Exception):
    """The call did not answer in time, or an earlier call still has not."""


class Ended(Exception):
    """The call wanted to end its thread or process instead of answering."""


class PatientCaller:
    """Runs calls one at a time in a daemon thread and stops waiting after a while.

    A thread cannot be killed: while an overdue call is still running, further calls wait their time and are overdue
    themselves, instead of piling up threads beside it.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._busy = threading.Lock()

    def call(self, function: Callable[[], Any]) -> Any:
        """The answer of `function`; Overdue when it takes too long, Ended when it exits, else whatever it raises."""
        if not self._busy.acquire(timeout=self._timeout_seconds):
            raise Overdue
        answer: list[Any] = []
        failure: list[Exception] = []
        done = threading.Event()
        thread = threading.Thread(target=self._run, args=(function, answer, failure, done), daemon=True)
        thread.start()
        if not done.wait(self._timeout_seconds):
            raise Overdue
        if failure:
            raise failure[0]
        return answer[0]

    def _run(
        self,
        function: Callable[[], Any],
        answer: list[Any],
        failure: list[Exception],
        done: threading.Event,
    ) -> None:
        try:
            answer.append(function())
        except Exception as error:  # handed to the caller, who raises it
            failure.append(error)
        except BaseException as error:  # an exit of this thread must not end the caller's
            failure.append(Ended(type(error).__name__))
        finally:
            self._busy.release()
            done.set()
