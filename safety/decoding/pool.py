"""A few warm decoder processes: one hostile file costs at most the process that met it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from safety.decoding.magic import media_type
from safety.decoding.opening import Opened
from safety.decoding.process import DecoderProcess
from safety.decoding.refusals import Refusal, Refused, error_of
from safety.decoding.wire import ALL_LIMITS, Limits, Operation
from schemas.errors import DecoderBusy
from schemas.input_limits import MAX_INPUT_PIXELS, MAX_INPUT_SIDE

#: What decoding the largest picture takes, with its conversions, is about half of this.
MEMORY_BYTES = 1_000_000_000
#: Of CPU, for one picture.
SECONDS = 5.0
AT_ONCE = 4
#: A process is replaced after so many pictures, so that no leak of a decoder adds up.
PICTURES_EACH = 500


class DecoderPool:
    """Decodes hostile bytes in confined processes, at most `at_once` at the same time; safe to share between threads.

    Processes start with the first picture and end with this process, or with `close`. On systems other than Linux some
    limits do not exist; `limits` says which hold.
    """

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        seconds: float = SECONDS,
        patience_seconds: float = 30.0,
        memory_bytes: int = MEMORY_BYTES,
        pictures_each: int = PICTURES_EACH,
        avif: bool = False,
        origin: str = "",
    ) -> None:
        """`origin` is ``module:name`` of a function from an original's bytes to a record of where it comes from."""
        self._seconds, self._patience, self._each = seconds, patience_seconds, pictures_each
        self._start: Callable[[], DecoderProcess] = lambda: DecoderProcess(
            memory_bytes=memory_bytes, avif=avif, origin=origin
        )
        self.avif, self._notes_origin = avif, bool(origin)
        self._room = threading.BoundedSemaphore(at_once)
        self._lock, self._idle, self._owner = threading.Lock(), list[DecoderProcess](), os.getpid()

    def open(self, data: bytes) -> Opened:
        """The pixels of one whole picture; a BadImage says what is wrong with anything else.

        DecoderBusy when none was free for long; DecoderUnavailable when none can be started.
        """
        try:
            media_type(data, avif=self.avif)  # most of what is no picture never reaches a process
            with self._borrowed() as process:
                answer, pixels = process.ask(Operation.OPEN, data, self._seconds)
        except Refused as refused:
            raise error_of(refused) from None
        width, height, channels = answer.first, answer.second, answer.detail
        fits = 0 < width <= MAX_INPUT_SIDE and 0 < height <= MAX_INPUT_SIDE
        if not fits or channels not in (3, 4) or width * height > MAX_INPUT_PIXELS:
            raise error_of(Refused(Refusal.CRASHED))
        if len(pixels) != width * height * channels:
            raise error_of(Refused(Refusal.CRASHED))
        return Opened(width=width, height=height, channels=channels, pixels=pixels)

    def note_origin(self, data: bytes) -> bytes:
        """What an original says about where it comes from; empty when that is nothing, or cannot be read."""
        if not self._notes_origin:
            return b""
        try:
            with self._borrowed() as process:
                return process.ask(Operation.NOTE_ORIGIN, data, self._seconds)[1]
        except Refused:
            return b""

    @property
    def limits(self) -> Limits:
        """What decoder processes are really held to here; starts one to find out."""
        with self._borrowed() as process:
            return process.limits

    @property
    def missing_limits(self) -> Limits:
        """What this system does not enforce."""
        return ALL_LIMITS & ~self.limits

    @contextmanager
    def _borrowed(self) -> Iterator[DecoderProcess]:
        if not self._room.acquire(timeout=self._patience):
            raise DecoderBusy
        try:
            process = self._warm() or self._start()
            try:
                yield process
            finally:
                self._give_back(process)
        finally:
            self._room.release()

    def _warm(self) -> DecoderProcess | None:
        with self._lock:
            if self._owner != os.getpid():
                # Forked since: the processes belong to the parent, and so do their answers.
                self._idle, self._owner = [], os.getpid()
            return self._idle.pop() if self._idle else None

    def _give_back(self, process: DecoderProcess) -> None:
        if not process.alive:
            return
        if process.answered >= self._each:
            process.end()
            return
        with self._lock:
            self._idle.append(process)

    def close(self) -> None:
        """End the processes that are idle; others start when they are needed again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()
