"""What an original says about where it comes from is read in a confined process, before its file is dropped."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from pictures import a_picture, as_file

pytest.importorskip("c2pa")

from signed_pictures import signed_file

from safety.decoding.origin import may_have_marks
from safety.decoding.pool import DecoderPool
from safety.decoding.wire import ALL_LIMITS
from safety.provenance.ingredients import ingredient_record


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    made = DecoderPool(at_once=1, seconds=60.0, origin="safety.decoding.origin:note_origin")
    yield made
    made.close()


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_the_marks_of_a_signed_picture_are_noted(pool: DecoderPool, format: str) -> None:
    """The same record as without the confinement, though the process can open no file and call nobody."""
    data = signed_file(format)  # type: ignore[arg-type]
    noted = pool.note_origin(data)
    assert pool.missing_limits == ALL_LIMITS & 0
    assert may_have_marks(data)
    assert len(noted) > 1000 and b"c2pa" in noted
    assert (
        abs(len(noted) - len(ingredient_record(data, f"image/{format}"))) < 200
    )  # they differ in random names


def test_pictures_without_marks_cost_nothing(pool: DecoderPool) -> None:
    """Most carry none: they are not even shown to a process, and one that is shown one says nothing."""
    for kind in ("PNG", "JPEG", "WEBP"):
        data = as_file(a_picture(), kind)
        assert not may_have_marks(data) and pool.note_origin(data) == b""


def test_broken_marks_are_no_marks(pool: DecoderPool) -> None:
    """Whatever is wrong inside them, the picture itself can still be used, and the next one's are read."""
    whole, rng = signed_file("jpeg"), random.Random(1)
    for _ in range(20):
        broken = bytearray(whole)
        for _ in range(8):
            broken[rng.randrange(20, len(whole) // 2)] = rng.randrange(256)
        assert isinstance(pool.note_origin(bytes(broken)), bytes)
    assert pool.note_origin(whole)


def test_without_a_reader_nothing_is_noted() -> None:
    """A pool that was given no way to read marks has none, and starts no process to find out."""
    pool = DecoderPool()
    assert pool.note_origin(signed_file()) == b"" and pool._idle == []
