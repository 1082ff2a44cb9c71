"""Descriptions of images that were looked at again."""

from __future__ import annotations

from sqlalchemy import Connection

from storage.ledger.sealed import sealed_text
from storage.ledger.sql import run, statement

_REPLACE = statement("UPDATE image SET descriptions = :words WHERE id = :id AND tenant = :tenant")


def replace(conn: Connection, *, tenant: str, id: str, descriptions: str) -> None:
    """Put other descriptions (their JSON) in the place of an image's; state and digest stay."""
    words = sealed_text(conn, "image", "descriptions", descriptions, tenant=tenant, row=id)
    run(conn, _REPLACE, id=id, tenant=tenant, words=words)
