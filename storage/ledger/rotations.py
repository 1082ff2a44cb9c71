"""Places in rotations: who has had a turn keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from storage.ledger.sql import as_json, run, statement


class Turn(NamedTuple):
    """One unit's place in one rotation of a tenant."""

    tenant: str
    cycle: str
    unit: str
    place: int


_PLACE = statement("SELECT place FROM rotation WHERE tenant = :tenant AND cycle = :cycle AND unit = :unit")
_NEXT = statement(
    "SELECT coalesce(max(place), -1) + 1 FROM rotation WHERE tenant = :tenant AND cycle = :cycle"
)
_KEEP = statement(
    """INSERT INTO rotation (tenant, cycle, unit, place) SELECT v.tenant, v.cycle, v.unit, v.place FROM {rows} AS v
       WHERE true ON CONFLICT (tenant, cycle, unit) DO NOTHING""",
    rows="tenant text, cycle text, unit text, place integer",
)


def place_of(conn: Connection, *, tenant: str, cycle: str, unit: str) -> int | None:
    """The unit's place; None when it has had no turn yet."""
    found: int | None = run(conn, _PLACE, tenant=tenant, cycle=cycle, unit=unit).scalar()
    return found


def next_place(conn: Connection, *, tenant: str, cycle: str) -> int:
    return int(run(conn, _NEXT, tenant=tenant, cycle=cycle).scalar_one())


def keep(conn: Connection, turns: Sequence[Turn]) -> None:
    """Write turns down; a unit that has got one meanwhile keeps that."""
    if turns:
        # Sorted, so that two writers cannot deadlock.
        run(conn, _KEEP, rows=as_json(sorted(set(turns))))
