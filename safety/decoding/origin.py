"""Reading an original's marks in a confined process, before its file is dropped."""

from __future__ import annotations

import io

from PIL import Image

from safety.decoding.magic import media_type
from safety.provenance.ingredients import ingredient_record

#: How content credentials begin inside every format that carries them (JUMBF, ISO 19566-5), and what they are called.
_MARKS = (b"jumb", b"c2pa")


def may_have_marks(data: bytes) -> bool:
    """Whether it is worth a look: most pictures carry none, and need no process to say so."""
    return all(mark in data for mark in _MARKS)


def note_origin(data: bytes) -> bytes:
    """The record of an original as an ingredient of what is made from it; empty when it says nothing that can be read."""
    return ingredient_record(data, media_type(data, avif=True))


def warm_up() -> None:
    """Load what it takes, once: afterwards no file can be opened."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG")
    note_origin(file.getvalue())
