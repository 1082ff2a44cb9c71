"""The file that lists the captions of pictures: CSV with a header, or JSONL, by file name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from schemas.errors import BadInput, OutOfRange
from schemas.finetune import MAX_CAPTION_CHARS

#: What the two columns may be called.
_NAMES = ("image", "file_name", "file", "key")
_TEXTS = ("caption", "text")
_FIELD = "captions"


def read_listing(name: str, data: bytes) -> Mapping[str, str]:
    """Caption by picture, as the file names it; typed errors name the row, from 1, without the header."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput("the file of captions is not UTF-8", field=_FIELD) from None
    rows = _csv_rows(text) if name.endswith(".csv") else _json_rows(text)
    return dict(_pair(row, values) for row, values in enumerate(rows, 1))


def caption_of(listing: Mapping[str, str], key: str) -> str | None:
    """By the whole key, else by its end: the file may name pictures from the folder that it lies in."""
    while True:
        found = listing.get(key)
        _, slash, key = key.partition("/")
        if found is not None or not slash:
            return found


def checked_caption(text: str, *, row: int | None = None) -> str:
    """One line of text; OutOfRange when it is too long."""
    line = " ".join(text.replace("\x00", " ").split())
    if len(line) > MAX_CAPTION_CHARS:
        raise OutOfRange(
            f"a caption has {len(line)} characters", field=_FIELD, limit=MAX_CAPTION_CHARS, row=row
        )
    return line


def _csv_rows(text: str) -> Iterator[Mapping[str, Any]]:
    try:
        yield from csv.DictReader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise BadInput(f"the file of captions is not CSV: {error}", field=_FIELD) from None


def _json_rows(text: str) -> Iterator[Mapping[str, Any]]:
    for row, line in enumerate(filter(str.strip, text.split("\n")), 1):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            raise BadInput("this line of the captions is not JSON", field=_FIELD, row=row) from None
        if not isinstance(values, dict):
            raise BadInput("each line of the captions is a JSON object", field=_FIELD, row=row)
        yield values


def _pair(row: int, values: Mapping[str, Any]) -> tuple[str, str]:
    name = next((values[one] for one in _NAMES if one in values), None)
    text = next((values[one] for one in _TEXTS if one in values), None)
    if not isinstance(name, str) or not isinstance(text, str):
        raise BadInput("each row of the captions has an image and a caption", field=_FIELD, row=row)
    return name, checked_caption(text, row=row)
