"""A slice of the hostile uploads of `benchmarks/hostile_uploads.py`, through a real decoder process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.hostile_pictures import MAKERS, hostile_files
from benchmarks.hostile_uploads import require_clean
from safety.decoding.pool import DecoderPool
from safety.input_image import PictureReader, decode
from schemas.errors import BadImage


@pytest.fixture(scope="module")
def reader() -> Iterator[PictureReader]:
    pool = DecoderPool(seconds=60.0)
    yield PictureReader(open=pool.open)
    pool.close()


@pytest.mark.parametrize("seed", range(3))
def test_each_is_refused_for_a_reason_or_becomes_a_clean_picture(reader: PictureReader, seed: int) -> None:
    """No kind of hostile file ends in anything else: no crash, no foreign error, no half picture."""
    ends = set()
    for kind, data in hostile_files(seed, len(MAKERS)):
        try:
            clean = reader.clean(data)
        except BadImage as error:
            assert type(error) is not BadImage and error.detail, kind
            ends.add(error.code)
        else:
            require_clean(clean)
            ends.add("decoded")
    assert {"decoded", "image_damaged", "image_too_large", "image_unsupported", "image_animated"} <= ends


def test_what_is_honest_stays_what_it_shows(reader: PictureReader) -> None:
    """The clean copy has exactly the pixels of the original, whatever kind of picture that was."""
    for kind, data in hostile_files(7, 4 * len(MAKERS)):
        if kind in ("honest", "odd_modes"):
            assert (decode(reader.clean(data).png) == decode(data)).all()
