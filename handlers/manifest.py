"""Reading a manifest, CSV or JSONL, row by row in bounded memory; a bad row does not stop its neighbours."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from handlers.recipes import check_columns
from schemas.errors import (
    AquatintError,
    BadInput,
    BadManifest,
    MalformedJson,
    OutOfRange,
    UnknownField,
    WrongType,
)
from schemas.recipe import Recipe

Format = Literal["csv", "jsonl"]

MAX_COLUMNS = 128
MAX_CELL_CHARS = 8192
#: A line is read whole, so this bounds the memory; no row of legal cells comes near it.
MAX_LINE_BYTES = 1024 * 1024
MAX_ROWS = 1_000_000

_SUFFIXES: dict[str, Format] = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row, numbered from 1 below the header: its cells by column, or the JSON object of a line."""

    number: int
    cells: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row that cannot be read, with its number in the error."""

    number: int
    error: BadInput


def format_of(key: str) -> Format:
    """Which form a manifest has, by the end of its key; BadManifest for any other."""
    for suffix, format in _SUFFIXES.items():
        if key.lower().endswith(suffix):
            return format
    raise BadManifest(f"a manifest ends in {', '.join(_SUFFIXES)}", field="key", limit=sorted(_SUFFIXES))


def read_manifest(file: BinaryIO, format: Format, recipe: Recipe | None) -> Iterator[Row | BadRow]:
    """All rows in order. BadManifest when nothing can be made of the whole: wrong encoding, no header, no row."""
    rows = _csv_rows(file, recipe) if format == "csv" else _json_rows(file)
    number = 0
    for row in rows:
        number = row.number
        if number > MAX_ROWS:
            raise BadManifest("the manifest is too long: split it", limit=MAX_ROWS, row=number)
        yield row
    if not number:
        raise BadManifest("the manifest has no rows")


def _lines(file: BinaryIO) -> Iterator[str]:
    """Decoded lines with their ends; UTF-8 with or without a byte order mark, and nothing else."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            if line.startswith(_BYTE_ORDER_MARKS):
                raise BadManifest(
                    "the manifest is UTF-16 or UTF-32: save it as UTF-8", field="encoding", limit="UTF-8"
                )
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) > MAX_LINE_BYTES:
            raise BadManifest(f"line {number} is too long", limit=MAX_LINE_BYTES)
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadManifest(
                f"line {number} is not UTF-8 (byte {error.start + 1}): save the manifest as UTF-8",
                field="encoding",
                limit="UTF-8",
            ) from None


def _csv_rows(file: BinaryIO, recipe: Recipe | None) -> Iterator[Row | BadRow]:
    lines = _lines(file)
    first = next(lines, None)
    if first is None:
        raise BadManifest("the manifest is empty")
    delimiter = _delimiter(first)
    reader = csv.reader(_chained(first, lines), delimiter=delimiter, strict=True)
    header = _header(reader, recipe)
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(number=number, error=BadManifest(f"the row cannot be read: {error}", row=number))
            continue
        if not any(cell.strip() for cell in cells):
            continue
        try:
            yield Row(number=number, cells=_cells(header, cells))
        except BadInput as fault:
            yield BadRow(
                number=number,
                error=type(fault)(fault.detail, field=fault.field, limit=fault.limit, row=number),
            )


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str) -> str:
    """A comma, unless the header has none: spreadsheets of many countries write semicolons or tabs."""
    return next((mark for mark in (",", "\t", ";") if mark in header), ",")


def _header(reader: Iterator[list[str]], recipe: Recipe | None) -> list[str]:
    try:
        names = [name.strip() for name in next(reader)]
    except csv.Error as error:
        raise BadManifest(f"the header cannot be read: {error}", field="header") from None
    if not any(names):
        raise BadManifest("the first line must name the columns", field="header")
    if len(names) > MAX_COLUMNS:
        raise BadManifest(f"{len(names)} columns", field="header", limit=MAX_COLUMNS)
    for place, name in enumerate(names, 1):
        if not name or "\x00" in name or len(name) > 64:
            raise BadManifest(
                f"column {place} has no usable name: is there a header, in UTF-8?", field="header"
            )
        if name in names[: place - 1]:
            raise BadManifest(f"column {name!r} appears twice", field=name)
    try:
        check_columns(recipe, set(names))
    except AquatintError as error:
        raise BadManifest(error.detail, field=error.field, limit=error.limit) from None
    return names


def _cells(header: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise WrongType(f"{len(cells)} cells under {len(header)} columns", limit=len(header))
    for name, cell in zip(header, cells, strict=True):
        _check_text(name, cell)
    return dict(zip(header, cells, strict=True))


def _check_text(name: str, text: str) -> None:
    if len(text) > MAX_CELL_CHARS:
        raise OutOfRange(f"{len(text)} characters", field=name, limit=MAX_CELL_CHARS)
    if "\x00" in text:
        raise WrongType("the cell holds a NUL character", field=name)


def _json_rows(file: BinaryIO) -> Iterator[Row | BadRow]:
    number = 0
    for line in _lines(file):
        number += 1
        if not line.strip():
            continue
        try:
            yield Row(number=number, cells=_object(line))
        except BadInput as fault:
            yield BadRow(
                number=number,
                error=type(fault)(fault.detail, field=fault.field, limit=fault.limit, row=number),
            )


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line, object_pairs_hook=_no_repeats, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError):
            raise MalformedJson(f"{error.msg} at column {error.colno}") from None
        raise MalformedJson("the line is not JSON that we can read") from None
    if not isinstance(value, dict):
        raise WrongType("each line must be a JSON object")
    return value


def _no_repeats(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise UnknownField("the field appears twice", field=name)
        found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise MalformedJson(f"{name} is not JSON")
