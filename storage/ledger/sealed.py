"""Which columns hold customers' words, and how they are sealed on the way in and opened on the way out.

The ledger's own functions do it, so that nobody above them meets a sealed text. A ledger opened without the
installation's secret stores plain texts; plain rows of older installations are read as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection

from schemas.errors import KeyMissing
from storage.ledger.sql import AnyRow
from storage.ledger.tenant_keys import keyring
from storage.sealing import is_sealed, taken_apart

#: Table to the columns that are sealed. docs/privacy.md says of every other text column why it is not.
SEALED: Mapping[str, tuple[str, ...]] = {
    "image": ("spec", "alt", "descriptions", "fairness"),
    "job": ("metadata", "row_key"),
    "batch": ("error",),
    "row_error": ("problem",),
    "delivery": ("body",),
    "idempotency": ("body",),
    "finetune": ("spec", "metadata"),
    "erasure": ("keys",),
}
#: What stands in a column whose words were dropped; NULL in the others.
BLANK: Mapping[str, str] = {
    "spec": "{}",
    "alt": "",
    "descriptions": "[]",
    "metadata": "{}",
    "body": "",
    "keys": "[]",
}
#: What an erased job, batch or fine-tune says in the place of a problem's words.
ERASED_PROBLEM = json.dumps(
    {
        "type": "about:blank",
        "title": "erased",
        "status": 410,
        "code": "erased",
        "detail": "its words were erased",
    }
)
#: Nothing can be learnt from these.
_EMPTY = frozenset({None, "", "{}", "[]"})

_IDENTITY: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "row_error": lambda row: f"{row['batch']}/{row['row']}",
    "idempotency": lambda row: f"{row['route']}/{row['key']}",
}


def is_worth_sealing(text: str | None) -> bool:
    """Whether anything can be learnt from a text."""
    return text not in _EMPTY


def sealed(
    conn: Connection, table: str, rows: Iterable[Mapping[str, Any]], *, only_plain: bool = False
) -> list[dict[str, Any]]:
    """Rows to be inserted, each with its tenant and key columns, with their words sealed; TenantErased for an erased tenant.

    `only_plain` leaves what looks sealed as it is; for rows that lie in the ledger, never for what a customer sends.
    """
    keys, words = keyring(conn), SEALED[table]
    made = [dict(row) for row in rows]
    if keys is None:
        return made
    for row in made:
        key = keys.for_sealing(conn, row["tenant"])
        identity = _identity(table, row)
        for column in words:
            if is_worth_sealing(row.get(column)) and not (only_plain and is_sealed(row[column])):
                row[column] = key.seal(row[column], f"{table}.{column}", identity)
    return made


def erased_tenants(conn: Connection, tenants: Iterable[str]) -> set[str]:
    """Those for which nothing can be sealed any more."""
    keys = keyring(conn)
    return set() if keys is None else {tenant for tenant in tenants if keys.is_erased(conn, tenant)}


def sealed_text(conn: Connection, table: str, column: str, text: str, *, tenant: str, row: str) -> str:
    """One text for one column of a row that exists."""
    keys = keyring(conn)
    if keys is None or not is_worth_sealing(text):
        return text
    return keys.for_sealing(conn, tenant).seal(text, f"{table}.{column}", row)


def opened(conn: Connection, table: str, rows: Iterable[AnyRow]) -> list[AnyRow]:
    """Rows as they were before they were sealed; each must have its tenant and key columns.

    Where the tenant's key was dropped, blanks stand for the words and `erased_at` is set. SealBroken for words that
    were changed, KeyMissing when they need a secret which is not here.
    """
    return [_opened(conn, table, row) for row in rows]


def _opened(conn: Connection, table: str, row: AnyRow) -> AnyRow:
    values = dict(columns(row))
    needed = [name for name in SEALED[table] if _is_sealed(values.get(name))]
    if not needed:
        return row
    identity = _identity(table, values)
    for name in needed:
        plain = open_text(conn, table, name, values[name], tenant=values["tenant"], row=identity)
        if plain is None:
            plain = BLANK.get(name)
            values["erased_at"] = values.get("erased_at") or 0.0
        values[name] = plain
    return SimpleNamespace(**values)


def open_text(conn: Connection, table: str, column: str, text: str, *, tenant: str, row: str) -> str | None:
    """One text of one column, sealed or plain; None where the tenant's key was dropped."""
    if not is_sealed(text):
        return text
    keys = keyring(conn)
    if keys is None:
        raise KeyMissing("this ledger holds sealed texts and was opened without the installation's secret")
    number, blob = taken_apart(text)
    key = keys.for_opening(conn, tenant, number)
    return None if key is None else key.opened(blob, f"{table}.{column}", row)


def columns(row: AnyRow) -> Mapping[str, Any]:
    """The columns of a row by name, whether something in it was opened or not."""
    return vars(row) if isinstance(row, SimpleNamespace) else row._asdict()


def _is_sealed(value: object) -> bool:
    return isinstance(value, str) and is_sealed(value)


def _identity(table: str, row: Mapping[str, Any]) -> str:
    of = _IDENTITY.get(table)
    return str(row["id"]) if of is None else of(row)


def blank_spec(batch_key: str) -> str:
    """What is left of an image's spec: the size, which its batch key says anyway."""
    _, _, size = batch_key.rpartition("/")[0].rpartition("/")  # model/size/steps
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        return BLANK["spec"]
    return json.dumps({"width": int(width), "height": int(height)})
