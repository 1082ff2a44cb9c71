"""The same function over many tasks, in order, in worker processes: a task that crashes its process takes no other with it."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

#: tasks under way per process: enough to keep them busy, few enough to keep memory constant
AHEAD = 4


@dataclass(frozen=True)
class Crashed:
    """Stands in for the result of a task whose process died."""


class Pool:
    """`workers` processes; with one worker everything runs in this process, where a crash is ours."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end()

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | Crashed]]:
        """Each task with its result, in order; `function` and tasks must survive pickling."""
        if self._workers == 1:
            yield from ((task, function(task)) for task in tasks)
            return
        waiting: deque[_Started[Task]] = deque()
        source = iter(tasks)
        try:
            for task in source:
                waiting.append(self._start(function, task))
                if len(waiting) >= AHEAD * self._workers:
                    yield self._finish(function, waiting)
            while waiting:
                yield self._finish(function, waiting)
        finally:
            for started in waiting:
                started.future.cancel()

    def _start(self, function: Callable[[Task], Any], task: Task) -> _Started[Task]:
        try:
            return _Started(task, self._running().submit(function, task))
        except BrokenProcessPool:
            self._end()
            return _Started(task, self._running().submit(function, task))

    def _finish(self, function: Callable[[Task], Any], waiting: deque[_Started[Task]]) -> tuple[Task, Any]:
        started = waiting.popleft()
        try:
            return started.task, started.future.result()
        except BrokenProcessPool:
            # All that were under way broke with it. Each goes again, this one alone, so that the guilty one is known.
            self._end()
            result = _alone(function, started.task)
            for place, other in enumerate(waiting):
                if other.future.cancelled() or not _succeeded(other.future):
                    waiting[place] = self._start(function, other.task)
            return started.task, result

    def _running(self) -> ProcessPoolExecutor:
        if self._executor is None:
            # Spawned, not forked: the parent may hold threads and sessions that do not survive a fork.
            self._executor = ProcessPoolExecutor(self._workers, multiprocessing.get_context("spawn"))
        return self._executor

    def _end(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


@dataclass
class _Started(Generic[Task]):
    task: Task
    future: Future[Any]


def _succeeded(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _alone(function: Callable[[Task], Result], task: Task) -> Result | Crashed:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        try:
            return executor.submit(function, task).result()
        except BrokenProcessPool:
            return Crashed()
