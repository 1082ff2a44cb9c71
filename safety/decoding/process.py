"""One decoder process, seen from outside: started without our environment, asked, watched, and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from safety.decoding.refusals import Refusal, Refused
from safety.decoding.wire import ANSWER, GREETING, HELLO, QUESTION, VERSION, Answer, Limits, Operation, Status
from schemas.errors import DecoderBusy, DecoderUnavailable
from schemas.input_limits import MAX_INPUT_PIXELS

#: A loaded machine takes its time; an idle one needs a tenth of a second.
START_SECONDS = 30.0
#: It may wait so many times its CPU seconds: the kernel counts those, and this only ends what does not even compute.
_WALL_TO_CPU = 3.0
#: Of its time limit, the share that a process must have computed for the picture to be at fault and not the machine.
_BUSY_SHARE = 0.4
#: Between hanging up and the exit status that says why.
_LAST_BREATH_SECONDS = 2.0
_MOST_BYTES = {Operation.OPEN: 4 * MAX_INPUT_PIXELS, Operation.NOTE_ORIGIN: 4_000_000}

_PROGRAM = "import sys; sys.path[:] = {path!r}; from safety.decoding.child import main; main({memory}, {avif}, {origin!r})"


class DecoderProcess:
    """Not for several threads at once; unusable after any exception but Refused with `alive` still true."""

    def __init__(self, *, memory_bytes: int, avif: bool = False, origin: str = "") -> None:
        """Starts and waits until it is ready; DecoderUnavailable when it is not."""
        ours, theirs = socket.socketpair()
        self._line, self.answered, self._cpu_seconds = ours, 0, 0.0
        program = _PROGRAM.format(path=_search_path(), memory=memory_bytes, avif=avif, origin=origin)
        try:
            with theirs:
                # An empty environment: whatever hostile bytes bring it to, it knows none of our secrets.
                self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and program)
                    [sys.executable, "-I", "-S", "-B", "-c", program],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                    cwd="/" if os.name == "posix" else None,
                )
        except OSError as error:
            ours.close()
            raise DecoderUnavailable(f"a decoder process cannot be started: {error.strerror}") from error
        self.limits = self._greeted()

    def _greeted(self) -> Limits:
        try:
            greeting, version, limits = HELLO.unpack(
                self._receive(HELLO.size, time.monotonic() + START_SECONDS)
            )
        except (OSError, EOFError) as error:
            self.end()
            raise DecoderUnavailable("a decoder process ended, or hung, before it was ready") from error
        if greeting != GREETING or version != VERSION:
            self.end()
            raise DecoderUnavailable("a decoder process of another version answered")
        return Limits(limits)

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def alive(self) -> bool:
        return self._line.fileno() >= 0

    def ask(self, operation: Operation, data: bytes, seconds: float) -> tuple[Answer, bytes]:
        """Its answer, of a length that was checked; Refused for what a picture is at fault for.

        `seconds` are of its CPU. A process that takes too long, dies or talks nonsense is ended. DecoderBusy when the machine was at fault.
        """
        deadline = time.monotonic() + _WALL_TO_CPU * seconds
        try:
            self._send(QUESTION.pack(operation, len(data), seconds), deadline)
            self._send(data, deadline)
            answer = Answer.unpack(self._receive(ANSWER.size, deadline))
            payload = self._payload(operation, answer, deadline)
        except TimeoutError:
            raise self._overdue(seconds) from None
        except _Nonsense:
            self.end()
            raise Refused(Refusal.CRASHED) from None
        except (OSError, EOFError):
            raise self._died(seconds) from None
        self.answered += 1
        self._cpu_seconds = max(self._cpu_seconds, min(answer.cpu_seconds, 1e9))
        return answer, payload

    def _payload(self, operation: Operation, answer: Answer, deadline: float) -> bytes:
        if answer.status == Status.REFUSED:
            # Whatever else it says: only reasons that exist, with figures that fit a sentence.
            if answer.detail not in set(Refusal) or answer.length:
                raise _Nonsense
            refused = Refused(Refusal(answer.detail), answer.first, answer.second)
            self.answered += 1
            if refused.reason is Refusal.TOO_MUCH_MEMORY:
                self.end()  # what is left of its memory is in pieces
            raise refused
        if answer.status != Status.DONE or answer.length > _MOST_BYTES[operation]:
            raise _Nonsense
        return self._receive(answer.length, deadline)

    def _send(self, data: bytes, deadline: float) -> None:
        rest = memoryview(data)
        while rest:
            self._line.settimeout(_left(deadline))
            rest = rest[self._line.send(rest[: 1 << 20]) :]

    def _receive(self, length: int, deadline: float) -> bytes:
        found = bytearray(length)
        rest = memoryview(found)
        while rest:
            self._line.settimeout(_left(deadline))
            got = self._line.recv_into(rest)
            if not got:
                raise EOFError
            rest = rest[got:]
        return bytes(found)

    def _overdue(self, seconds: float) -> Exception:
        spent = self.end() - self._cpu_seconds
        if spent < _BUSY_SHARE * seconds:
            return DecoderBusy("the machine is too busy to decode pictures in time")
        return Refused(Refusal.TOO_SLOW, round(seconds))

    def _died(self, seconds: float) -> Exception:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_BREATH_SECONDS)
        self.end()
        code = self._process.returncode
        if code == -getattr(signal, "SIGXCPU", 0):
            return Refused(Refusal.TOO_SLOW, round(seconds))
        # SIGKILL, when it was not ours, is the kernel's answer to a system without memory.
        return Refused(Refusal.TOO_MUCH_MEMORY if code == -getattr(signal, "SIGKILL", 0) else Refusal.CRASHED)

    def end(self) -> float:
        """End it now, and wait until it has; returns the CPU seconds of its whole life, as the kernel counted them."""
        self._line.close()
        if self._process.poll() is not None:
            return self._cpu_seconds
        with suppress(ProcessLookupError):
            self._process.kill()
        return self._reaped()

    def _reaped(self) -> float:
        if not hasattr(os, "wait4"):
            self._process.wait()
            return self._cpu_seconds
        try:
            _, status, usage = os.wait4(self._process.pid, 0)
        except ChildProcessError:
            self._process.wait()
            return self._cpu_seconds
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime


class _Nonsense(Exception):
    """An answer that no decoder of ours gives."""


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _search_path() -> list[str]:
    """Where it finds the standard library, Pillow and this package, and nothing of what an environment could add."""
    here = str(Path(__file__).resolve().parents[2])
    return [*dict.fromkeys([here, *(part for part in sys.path if part and Path(part).is_absolute())])]
