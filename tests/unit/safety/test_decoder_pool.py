"""Decoder processes: confined, replaced when a file breaks them, and never believed."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pictures import a_picture, as_file

from safety.decoding import process as process_module
from safety.decoding.pool import DecoderPool
from safety.decoding.wire import ALL_LIMITS, ANSWER, GREETING, HELLO, VERSION, Limits, Status
from safety.input_image import PictureReader, decode, inspect
from schemas.errors import (
    BadImage,
    DecoderBusy,
    DecoderUnavailable,
    ImageDamaged,
    ImageTooCostly,
    ImageTooLarge,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
PNG = as_file(a_picture())


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    made = DecoderPool(seconds=60.0)
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_comes_back_is_what_is_decoded_here(pool: DecoderPool, kind: str) -> None:
    """The process and the code in it give the same pixels and facts, opaque or not."""
    reader = PictureReader(open=pool.open)
    for mode in ("RGB", "RGBA") if kind != "JPEG" else ("RGB", "L"):
        picture = a_picture(mode=mode)
        if mode == "RGBA":
            picture.putalpha(a_picture(mode="L", seed=3))
        data = as_file(picture, kind)
        assert np.array_equal(reader.decode(data), decode(data))
        assert reader.inspect(data) == inspect(data)


def test_refusals_are_the_same_too(pool: DecoderPool) -> None:
    """The type, the sentence and the limit come from our own table, whoever looked at the bytes."""
    for data in (b"", b"GIF89a", PNG[:-50], PNG[:40], as_file(a_picture(2, 2)), as_file(a_picture(400, 20))):
        with pytest.raises(BadImage) as there:
            pool.open(data)
        with pytest.raises(BadImage) as here:
            inspect(data)
        told = [(type(one.value), one.value.detail, one.value.limit) for one in (there, here)]
        assert told[0] == told[1]


@linux
def test_the_process_is_held_to_its_limits(pool: DecoderPool) -> None:
    """Address space, writing, further files and core files are limited by the kernel, before it sees a byte."""
    assert pool.limits == ALL_LIMITS and pool.missing_limits == Limits(0)
    pool.open(PNG)
    limits = Path(f"/proc/{pool._idle[0].pid}/limits").read_text()
    held = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()[1:]}
    assert held["Max address space"] == ["1000000000", "1000000000"]
    assert held["Max file size"] == held["Max core file size"] == ["0", "0"]
    assert held["Max open files"] == ["3", "3"]
    assert int(held["Max cpu time"][0]) <= 65


@linux
def test_it_knows_none_of_our_secrets(pool: DecoderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment is empty, its working folder says nothing, and what it prints goes nowhere."""
    monkeypatch.setenv("AQUATINT_SECRET_KEY", "canary")
    pool.close()
    pool.open(PNG)
    here = Path(f"/proc/{pool._idle[0].pid}")
    assert (here / "environ").read_bytes() == b""
    assert (here / "cwd").readlink() == Path("/")
    assert (here / "fd/1").readlink() == (here / "fd/2").readlink() == Path("/dev/null")


@linux
def test_a_process_loads_neither_tensors_nor_frameworks(pool: DecoderPool) -> None:
    """It maps Pillow and the interpreter, and starts fast because there is nothing else in it."""
    pool.open(PNG)
    mapped = Path(f"/proc/{pool._idle[0].pid}/maps").read_text()
    assert "_imaging" in mapped
    assert not any(name in mapped for name in ("numpy", "pydantic", "torch", "onnxruntime", "sqlite"))


def test_a_killed_process_takes_one_picture_with_it(pool: DecoderPool) -> None:
    """The next picture is decoded by another process; nobody waits, nothing is left behind."""
    pool.open(PNG)
    victim = pool._idle[-1]
    os.kill(victim.pid, 9)
    with pytest.raises(BadImage):
        pool.open(PNG)
    assert victim not in pool._idle
    assert pool.open(PNG).width == 40


def test_no_more_than_agreed_decode_at_once() -> None:
    """Further callers wait, and after their patience are told that the decoders are busy: not that a picture is bad."""
    pool = DecoderPool(at_once=1, patience_seconds=0.05)
    with pool._borrowed():
        waiting: list[Exception] = []

        def ask() -> None:
            try:
                pool.open(PNG)
            except Exception as error:
                waiting.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    pool.close()
    assert [type(error) for error in waiting] == [DecoderBusy] and waiting[0].retryable  # type: ignore[attr-defined]


def test_processes_are_replaced_after_a_while() -> None:
    """So that what a decoder leaks does not add up."""
    pool = DecoderPool(pictures_each=2, seconds=60.0)
    pids = []
    for _ in range(3):
        pool.open(PNG)
        pids += [one.pid for one in pool._idle]
    pool.close()
    assert len(set(pids)) == 2


def test_memory_is_bounded() -> None:
    """A picture that fits no limit of memory is refused as too costly, and the next one is decoded."""
    pool = DecoderPool(memory_bytes=60_000_000, seconds=60.0)
    large = as_file(a_picture(64, 64).resize((4000, 4000)), "JPEG", quality=5)
    with pytest.raises(ImageTooCostly):
        pool.open(large)
    assert pool.open(PNG).width == 40
    pool.close()


HELLO_BYTES = HELLO.pack(GREETING, VERSION, int(ALL_LIMITS))
#: Programs that stand in for a process that hostile bytes have taken over. Each says hello and reads the question.
TAKEN_OVER = {
    "claims a huge picture": ANSWER.pack(Status.DONE, 3, 2**31, 2**31, 100, 0.0) + bytes(100),
    "claims more bytes than there can be": ANSWER.pack(Status.DONE, 3, 40, 24, 2**40, 0.0),
    "sends fewer bytes than its size": ANSWER.pack(Status.DONE, 3, 40, 24, 10, 0.0) + bytes(10),
    "sends more bytes than its size": ANSWER.pack(Status.DONE, 3, 40, 24, 5000, 0.0) + bytes(5000),
    "five channels": ANSWER.pack(Status.DONE, 5, 40, 24, 4800, 0.0) + bytes(4800),
    "no pixels": ANSWER.pack(Status.DONE, 3, 0, 0, 0, 0.0),
    "an unknown status": ANSWER.pack(77, 3, 40, 24, 2880, 0.0) + bytes(2880),
    "an unknown reason": ANSWER.pack(Status.REFUSED, 200, 0, 0, 0, 0.0),
    "a reason with a tail": ANSWER.pack(Status.REFUSED, 12, 0, 0, 50, 0.0) + bytes(50),
    "half a header": b"\x01\x02",
    "nothing": b"",
}


@pytest.mark.parametrize("name", sorted(TAKEN_OVER))
def test_answers_are_not_believed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a process answers, the caller gets a whole picture or a typed error, and no foreign text."""
    program = (
        f"import os,sys; os.write(0, {HELLO_BYTES!r}); os.read(0, 100000); os.write(0, {TAKEN_OVER[name]!r})"
    )
    monkeypatch.setattr(process_module, "_PROGRAM", program.replace("{", "{{").replace("}", "}}"))
    pool = DecoderPool(seconds=60.0)
    with pytest.raises(ImageDamaged, match="breaks its decoder"):
        pool.open(PNG)
    pool.close()


def _standing_in(monkeypatch: pytest.MonkeyPatch, work: str, seconds: float = 1.0) -> DecoderPool:
    program = f"import os,sys,time; os.write(0, {HELLO_BYTES!r}); os.read(0, 100000); {work}"
    monkeypatch.setattr(process_module, "_PROGRAM", program)
    return DecoderPool(seconds=seconds)


def test_a_process_that_computes_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time it is killed, and the picture is at fault, because the process was busy with it."""
    pool = _standing_in(monkeypatch, "exec('while 1: pass')")
    monkeypatch.setattr(
        process_module, "_BUSY_SHARE", 0.01
    )  # on a loaded machine it gets little of its second
    with pytest.raises(ImageTooCostly, match="too long"):
        pool.open(PNG)


def test_a_machine_that_is_too_slow_is_not_the_pictures_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was given no time has done nothing wrong: the call may be repeated."""
    pool = _standing_in(monkeypatch, "time.sleep(3600)")
    with pytest.raises(DecoderBusy):
        pool.open(PNG)


@linux
def test_what_the_kernel_ends_for_its_cpu_time_is_too_costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that used up its CPU seconds is ended by the kernel, however long it would be waited for."""
    work = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 9)); exec('while 1: pass')"
    pool = _standing_in(monkeypatch, work, seconds=60.0)
    with pytest.raises(ImageTooCostly, match="too long"):
        pool.open(PNG)


def test_a_process_that_cannot_start_is_the_operators_to_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is decoded in our own process instead."""
    monkeypatch.setattr(process_module, "_PROGRAM", "raise SystemExit(3)")
    with pytest.raises(DecoderUnavailable):
        DecoderPool().open(PNG)


def test_large_pictures_pass_whole() -> None:
    """More than any pipe holds at once, both ways."""
    pool = DecoderPool(seconds=60.0)
    data = as_file(a_picture(1200, 900), "PNG")
    opened = pool.open(data)
    pool.close()
    assert (opened.width, opened.height, len(opened.pixels)) == (1200, 900, 3 * 1200 * 900)


def test_many_threads_share_the_processes(pool: DecoderPool) -> None:
    """Answers are never mixed up between callers."""
    pictures = {seed: a_picture(30 + seed, 20, seed=seed) for seed in range(8)}
    wrong: list[int] = []

    def look(seed: int) -> None:
        opened = pool.open(as_file(pictures[seed]))
        if opened.pixels != pictures[seed].tobytes():
            wrong.append(seed)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in pictures for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_picture_for_which_memory_was_never_asked_is_refused_by_its_header(pool: DecoderPool) -> None:
    """A WebP of 16383x16383 pixels is refused before its decoder sets a gigabyte aside for it."""
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + b"\xfe\x3f\0" + b"\xfe\x3f\0"
    data = b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    began = time.process_time()
    with pytest.raises(ImageTooLarge, match="16383x16383"):
        pool.open(data)
    assert time.process_time() - began < 5
