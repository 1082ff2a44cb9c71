"""Reads prompt suites: our own JSONL, the columns of the public ones, and whatever a plug-in brings.

The public suites are data of the operator: they are brought as files, never shipped and never fetched. A reader knows
which column holds the prompt, and what should become of it. Sources of the columns: I2P (Schramowski et al. 2023,
arXiv:2211.05105), MMA-Diffusion (Yang et al. 2024, arXiv:2311.17516), OVERT (arXiv:2505.21347), XSTest (Röttger et al.
2024, arXiv:2308.01263), OR-Bench (arXiv:2405.20947); the rest are lists of prompts.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safety.evaluation.case import Case, Expected, Suite
from schemas.errors import BadSettings

Row = Mapping[str, Any]
Read = Callable[[Path], Suite]

#: An installed package adds readers of its own under this group of entry points.
PLUGIN_GROUP = "aquatint.suites"
_MAX_BYTES = 256 * 2**20
_SAFE_LABELS = frozenset({"safe", "benign", "allow", "0", "false", "harmless"})
_UNSAFE_LABELS = frozenset({"unsafe", "harmful", "refuse", "1", "true", "toxic"})


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where a public suite keeps what; of several names the first that is there counts."""

    prompt: tuple[str, ...]
    category: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    cluster: tuple[str, ...] = ()
    #: Where no label says otherwise.
    expected: Expected | None
    #: Prefix of the categories that should be stopped, in a suite that says so in that way.
    refused_prefix: str = ""


_PROMPT = ("prompt", "text", "caption", "rewritten_prompt", "image_prompt")
_CATEGORY = ("category", "categories", "type", "harm_category", "label_category")

READERS: Mapping[str, Columns] = MappingProxyType(
    {
        "i2p": Columns(prompt=("prompt",), category=("categories",), expected="refuse"),
        "mma-diffusion": Columns(
            prompt=("adv_prompt", "sanitized_adv_prompt"), cluster=("target_prompt",), expected="refuse"
        ),
        "overt": Columns(prompt=_PROMPT, category=_CATEGORY, expected="allow"),
        "overt-unsafe": Columns(prompt=_PROMPT, category=_CATEGORY, expected="refuse"),
        "xstest": Columns(
            prompt=("prompt",), category=("type",), label=("label",), expected=None, refused_prefix="contrast"
        ),
        "or-bench": Columns(prompt=("prompt",), category=("category",), expected="allow"),
        "sneakyprompt": Columns(
            prompt=("adv_prompt", "adversarial_prompt", *_PROMPT),
            cluster=("target_prompt",),
            expected="refuse",
        ),
        "ring-a-bell": Columns(prompt=("adversarial prompts", "adv_prompt", *_PROMPT), expected="refuse"),
        "p4d": Columns(prompt=("adv_prompt", *_PROMPT), category=_CATEGORY, expected="refuse"),
        "t2i-riskyprompt": Columns(prompt=_PROMPT, category=_CATEGORY, expected="refuse"),
        "benign": Columns(prompt=_PROMPT, category=_CATEGORY, expected="allow"),
        "adversarial": Columns(prompt=_PROMPT, category=_CATEGORY, expected="refuse"),
        "labelled": Columns(prompt=_PROMPT, category=_CATEGORY, label=("label", "expected"), expected=None),
    }
)


def reader_names() -> list[str]:
    """Every reader by name, plug-ins included."""
    return sorted({"ours", *READERS, *(point.name for point in entry_points(group=PLUGIN_GROUP))})


def read_suite(path: Path, reader: str) -> Suite:
    """The suite in a file of the operator.

    Raises:
        BadSettings: no such reader or file, or the file is not what the reader expects; it names the row and the column.
    """
    for point in entry_points(group=PLUGIN_GROUP):
        if point.name == reader:
            read: Read = point.load()
            return read(path)
    if reader == "ours":
        return read_own(path)
    if reader not in READERS:
        raise BadSettings(
            f"there is no reader {reader!r}; there are {', '.join(reader_names())}", field="reader"
        )
    cases = tuple(_cases(READERS[reader], _rows(path), path))
    if not cases:
        raise BadSettings(f"{path} holds no prompt", field="suite")
    return Suite(name=f"{reader} {path.name}", cases=cases)


def read_own(path: Path, name: str | None = None) -> Suite:
    """Our own form: JSON lines with the fields of `Case`; others (such as why a prompt is near) are for people."""
    cases = []
    known = Case.__dataclass_fields__
    for number, row in enumerate(_rows(path), 1):
        try:
            fields = {"expected": "allow", "id": f"{path.stem}-{number}"} | {
                key: str(value) for key, value in row.items() if key in known
            }
            case = Case(**fields)  # type: ignore[arg-type]
        except TypeError as error:
            raise BadSettings(f"{path}, line {number}: {error}", field="suite") from None
        if case.expected not in ("allow", "refuse") or not case.text:
            raise BadSettings(f"{path}, line {number}: text, and expected allow or refuse", field="suite")
        cases.append(case)
    return Suite(name=name or path.stem, cases=tuple(cases))


def _cases(columns: Columns, rows: Iterator[Row], path: Path) -> Iterator[Case]:
    for number, row in enumerate(rows, 1):
        prompt = _first(row, columns.prompt)
        if prompt is None:
            wanted, given = ", ".join(columns.prompt), ", ".join(map(str, row))
            raise BadSettings(f"{path}, row {number}: no column {wanted} (there are {given})", field="suite")
        if not prompt.strip():
            continue  # some published lists keep the place of prompts that were withdrawn
        yield Case(
            id=f"{path.stem}-{number}",
            text=prompt,
            expected=_expected(columns, row, path, number),
            category=_first(row, columns.category) or "",
            cluster=_first(row, columns.cluster) or "",
        )


def _expected(columns: Columns, row: Row, path: Path, number: int) -> Expected:
    label, category = _first(row, columns.label), _first(row, columns.category)
    if label is None and category and columns.refused_prefix:
        return "refuse" if category.startswith(columns.refused_prefix) else "allow"
    if label is None:
        if columns.expected is None:
            wanted = ", ".join(columns.label)
            raise BadSettings(f"{path}, row {number}: no column {wanted}", field="suite")
        return columns.expected
    word = label.strip().lower()
    if word in _SAFE_LABELS:
        return "allow"
    if word in _UNSAFE_LABELS:
        return "refuse"
    raise BadSettings(f"{path}, row {number}: {label!r} says neither safe nor unsafe", field="suite")


def _first(row: Row, names: Sequence[str]) -> str | None:
    folded = {str(key).strip().lower(): value for key, value in row.items() if key is not None}
    return next((str(folded[name]) for name in names if folded.get(name) is not None), None)


def _rows(path: Path) -> Iterator[Row]:
    """The rows of a CSV, TSV, JSON, JSON lines or plain text file."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadSettings(f"{path} is larger than {_MAX_BYTES} bytes", field="suite")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise BadSettings(f"{path}: {error.strerror}", field="suite") from None
    except UnicodeDecodeError:
        raise BadSettings(f"{path} is not UTF-8", field="suite") from None
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        yield from csv.DictReader(text.splitlines(keepends=True), delimiter="\t" if kind == ".tsv" else ",")
    elif kind == ".txt":
        yield from ({"prompt": line} for line in text.splitlines() if line.strip())
    elif kind in (".json", ".jsonl"):
        yield from _json_rows(path, text, lines=kind == ".jsonl")
    else:
        raise BadSettings(f"{path}: a suite is a .csv, .tsv, .json, .jsonl or .txt file", field="suite")


def _json_rows(path: Path, text: str, *, lines: bool) -> Iterator[Row]:
    try:
        found = (
            [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)
        )
    except ValueError as error:
        raise BadSettings(f"{path}: {error}", field="suite") from None
    if not isinstance(found, list):
        raise BadSettings(f"{path}: a list of prompts is wanted", field="suite")
    for number, row in enumerate(found, 1):
        if isinstance(row, str):
            yield {"prompt": row}
        elif isinstance(row, dict):
            yield row
        else:
            raise BadSettings(f"{path}, row {number}: neither a prompt nor an object", field="suite")
