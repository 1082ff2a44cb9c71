"""Statements in two dialects: lists and tables of values travel as one JSON parameter, so that every statement is compiled
once whatever the number of rows."""

# ruff: noqa: S608  (the templates are constants of this package; every value is a bound parameter)

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, TypeAlias

from sqlalchemy import Connection, CursorResult, Row, TextClause, text

Statement = Mapping[str, TextClause]
#: A row as the database gave it, or with its sealed columns opened.
AnyRow: TypeAlias = Row[*tuple[Any, ...]] | SimpleNamespace


def statement(template: str, rows: str = "") -> Statement:
    """`template` for SQLite and PostgreSQL.

    ``{ids}`` stands for the strings in the JSON list `:ids`, ``{rows}`` for a table of the JSON rows `:rows` with the
    columns that `rows` declares (``"id text, n integer"``), ``{skip_locked}`` for the row lock of a claim.
    """
    columns = [column.split(maxsplit=1) for column in rows.split(",")] if rows else []
    return {
        "sqlite": text(
            template.format(
                ids="(SELECT value FROM json_each(:ids))",
                rows=f"(SELECT {_sqlite(columns)} FROM json_each(:rows))",
                skip_locked="",
            )
        ),
        "postgresql": text(
            template.format(
                ids="(SELECT json_array_elements_text(CAST(:ids AS json)))",
                rows=f"(SELECT {_postgres(columns)} FROM json_array_elements(CAST(:rows AS json)))",
                skip_locked="FOR UPDATE SKIP LOCKED",
            )
        ),
    }


def _sqlite(columns: Sequence[Sequence[str]]) -> str:
    return (
        ", ".join(f"json_extract(value, '$[{place}]') AS {name}" for place, (name, _) in enumerate(columns))
        or "1"
    )


def _postgres(columns: Sequence[Sequence[str]]) -> str:
    return (
        ", ".join(f"CAST(value->>{place} AS {kind}) AS {name}" for place, (name, kind) in enumerate(columns))
        or "1"
    )


def run(conn: Connection, prepared: Statement, **parameters: Any) -> CursorResult[*tuple[Any, ...]]:
    return conn.execute(prepared[conn.dialect.name], parameters)


def as_json(values: Iterable[Any]) -> str:
    return json.dumps(list(values), separators=(",", ":"), ensure_ascii=False)
