"""Tables that give captions to pictures: CSV, TSV and JSON lines, read row by row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from models.errors import CurationUnusable

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
#: files of a folder that are read as tables rather than as inputs
TABLE_STEMS = ("captions", "metadata")
#: names of columns, in the order of preference
PICTURE_COLUMNS = ("image", "file_name", "filename", "path", "image_path", "file", "picture", "key")
CAPTION_COLUMNS = ("caption", "text", "prompt", "description", "alt", "title")
MAX_ROW_CHARACTERS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionRow:
    """What one row says; the caption is empty where the table has none."""

    picture: str
    caption: str


def is_table(name: str) -> bool:
    """Whether a file of a folder is a caption table by its name."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and path.stem.lower() in TABLE_STEMS


def read_rows(file: BinaryIO, name: str) -> Iterator[CaptionRow]:
    """Every row of the table; raises CurationUnusable naming the row that cannot be read."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
    if PurePosixPath(name).suffix.lower() in (".jsonl", ".ndjson"):
        yield from _json_rows(text, name)
    else:
        yield from _csv_rows(text, name)


def _json_rows(text: io.TextIOWrapper, name: str) -> Iterator[CaptionRow]:
    number = 0
    while line := text.readline(MAX_ROW_CHARACTERS + 1):
        number += 1
        if len(line) > MAX_ROW_CHARACTERS:
            raise CurationUnusable(f"{name}, row {number}: longer than {MAX_ROW_CHARACTERS} characters")
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError:
            raise CurationUnusable(f"{name}, row {number}: not valid JSON") from None
        if not isinstance(values, dict):
            raise CurationUnusable(f"{name}, row {number}: not a JSON object")
        picture = _first(values, PICTURE_COLUMNS)
        if picture is None:
            raise CurationUnusable(f"{name}, row {number}: names no picture; use {PICTURE_COLUMNS[0]!r}")
        yield CaptionRow(picture=picture, caption=_first(values, CAPTION_COLUMNS) or "")


def _csv_rows(text: io.TextIOWrapper, name: str) -> Iterator[CaptionRow]:
    tabs = PurePosixPath(name).suffix.lower() == ".tsv"
    reader = csv.reader((line.replace("\0", "") for line in text), delimiter="\t" if tabs else ",")
    try:
        header = [column.strip().lower() for column in next(reader, [])]
        picture = _column(header, PICTURE_COLUMNS)
        caption = _column(header, CAPTION_COLUMNS)
        if picture is None:
            raise CurationUnusable(f"{name}: no column names the pictures; call it {PICTURE_COLUMNS[0]!r}")
        for row in reader:
            if len(row) > picture and row[picture].strip():
                said = row[caption].strip() if caption is not None and len(row) > caption else ""
                yield CaptionRow(picture=row[picture].strip(), caption=said)
    except csv.Error as error:
        raise CurationUnusable(f"{name}, row {reader.line_num}: {error}") from None


def caption_in_json(text: str) -> str:
    """The caption of a sidecar: a JSON object with one of the known fields, or a bare string; "" where there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if isinstance(value, dict):
        return _first(value, CAPTION_COLUMNS) or ""
    return value if isinstance(value, str) else ""


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((values[name] for name in names if isinstance(values.get(name), str)), None)


def _column(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)
