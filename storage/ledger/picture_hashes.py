"""Perceptual hashes of what was rendered, as the outcomes tell them."""

from __future__ import annotations

import json

from sqlalchemy import Connection, select

from schemas.states import ImageState
from storage.ledger.tables import image


def of_batch(
    conn: Connection, batch: str, *, after: str = "", count: int = 1000
) -> list[tuple[str, str, int]]:
    """One page of a batch's rendered images by id: (id, PDQ in hexadecimal or empty, its quality)."""
    query = select(image.c.id, image.c.result).where(
        image.c.batch == batch, image.c.id > after, image.c.state == ImageState.RENDERED.value
    )
    rows = conn.execute(query.order_by(image.c.id).limit(count)).all()
    return [(row.id, *_hash(row.result)) for row in rows]


def _hash(result: str | None) -> tuple[str, int]:
    stored = json.loads(result or "{}").get("stored") or {}
    return stored.get("pdq") or "", stored.get("pdq_quality") or 0
