"""The program of a decoder process: confines itself, then answers questions on its standard input until that ends."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from safety.decoding.opening import open_picture
from safety.decoding.refusals import Refusal, Refused
from safety.decoding.wire import ANSWER, GREETING, HELLO, QUESTION, VERSION, Limits, Operation, Status

#: Both directions of one socket.
_LINE = 0
_READ_AT_ONCE = 1 << 20
#: Lifetime of a process in CPU seconds, whatever its limit for one picture is raised to.
_LIFETIME_CPU_SECONDS = 3600

Origin = Callable[[bytes], bytes]


def main(memory_bytes: int, avif: bool, origin: str) -> None:
    """Serve until the other side hangs up; `origin` names a function ``module:name`` for NOTE_ORIGIN, or is empty."""
    note = _function(origin) if origin else None
    _warm_up(avif)
    limits = confine(memory_bytes)
    _write(HELLO.pack(GREETING, VERSION, limits))
    while header := _read(QUESTION.size):
        operation, length, seconds = QUESTION.unpack(header)
        data = _read(length)
        _allow_cpu(seconds)
        _write(*_answer(operation, data, avif, note))


def _function(path: str) -> Origin:
    module, _, name = path.partition(":")
    loaded = importlib.import_module(module)
    loaded.warm_up()
    found: Origin = getattr(loaded, name)
    return found


def _warm_up(avif: bool) -> None:
    """Decode one of each kind: what Pillow loads on first use could not be loaded once no file can be opened."""
    import io

    from PIL import Image, ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("PNG", "JPEG", "WEBP", *(("AVIF",) if avif else ())):
        file = io.BytesIO()
        Image.new("RGB", (16, 16), "white").save(file, kind, icc_profile=profile, exif=Image.Exif())
        open_picture(file.getvalue(), avif=avif)


def confine(memory_bytes: int) -> Limits:
    """Give up whatever decoding does not need; returns what this system agreed to."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return Limits(0)
    wanted = (
        (Limits.MEMORY, resource.RLIMIT_AS, memory_bytes),
        (Limits.NO_WRITING, resource.RLIMIT_FSIZE, 0),
        (Limits.NO_CORE, resource.RLIMIT_CORE, 0),
        (Limits.CPU, resource.RLIMIT_CPU, _LIFETIME_CPU_SECONDS),
        # Standard input is open already; with no further descriptor there is no file and no connection.
        (Limits.NO_FILES, resource.RLIMIT_NOFILE, 3),
    )
    held = Limits(0)
    for limit, kind, value in wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (value, value))
            held |= limit
    if sys.platform == "darwin":
        held &= ~Limits.MEMORY  # accepted there, and not enforced
    return held


def _allow_cpu(seconds: float) -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        # Whole seconds: the kernel knows no finer, and ends the process at the first tick above.
        until = int(_cpu_seconds() + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (min(until, _LIFETIME_CPU_SECONDS), _LIFETIME_CPU_SECONDS))


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def _answer(operation: int, data: bytes, avif: bool, note: Origin | None) -> tuple[bytes, bytes]:
    try:
        if operation == Operation.NOTE_ORIGIN:
            record = _noted(note, data)
            return ANSWER.pack(Status.DONE, 0, 0, 0, len(record), _cpu_seconds()), record
        opened = open_picture(data, avif=avif)
    except Refused as refused:
        return _refusal(refused), b""
    except MemoryError:
        return _refusal(Refused(Refusal.TOO_MUCH_MEMORY)), b""
    size = (opened.width, opened.height, len(opened.pixels))
    return ANSWER.pack(Status.DONE, opened.channels, *size, _cpu_seconds()), opened.pixels


def _noted(note: Origin | None, data: bytes) -> bytes:
    try:
        return note(data) if note else b""
    except Exception:
        return b""  # what it says cannot be read: then it says nothing


def _refusal(refused: Refused) -> bytes:
    return ANSWER.pack(Status.REFUSED, refused.reason, refused.first, refused.second, 0, _cpu_seconds())


def _read(length: int) -> bytes:
    """Exactly so many bytes; empty when the other side hung up before the first."""
    parts = bytearray()
    while len(parts) < length:
        part = os.read(_LINE, min(_READ_AT_ONCE, length - len(parts)))
        if not part:
            if parts:
                raise EOFError
            break
        parts += part
    return bytes(parts)


def _write(*parts: bytes) -> None:
    for part in parts:
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(_LINE, rest) :]
