"""What is known about every input, in one SQLite file: a run of a million pictures holds none of them in memory.

Every step writes its findings here and commits; a run that was killed goes on behind its last commit.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from models.curation.reasons import Reason

_TABLES = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- every entry of the source, as it was listed; picture_name is the name without its suffix
CREATE TABLE IF NOT EXISTS entry (
    name TEXT PRIMARY KEY, file TEXT NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    kind TEXT NOT NULL, stem TEXT NOT NULL, reason TEXT, detail TEXT NOT NULL
) WITHOUT ROWID;

-- captions from tables and listings
CREATE TABLE IF NOT EXISTS caption (picture TEXT PRIMARY KEY, caption TEXT NOT NULL, source TEXT NOT NULL, times INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;

-- every input that has to be accounted for
CREATE TABLE IF NOT EXISTS item (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    file TEXT NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    caption_file TEXT, caption_start INTEGER, caption_length INTEGER, caption_name TEXT,
    step TEXT NOT NULL DEFAULT 'listed',
    reason TEXT, detail TEXT NOT NULL DEFAULT '', duplicate_of INTEGER,
    digest TEXT, exact TEXT, format TEXT, width INTEGER, height INTEGER,
    quality INTEGER, sharpness REAL, record BLOB,
    caption_original TEXT NOT NULL DEFAULT '', caption TEXT NOT NULL DEFAULT '', caption_source TEXT NOT NULL DEFAULT 'none',
    changes TEXT NOT NULL DEFAULT '', rewrite TEXT,
    score REAL, boxes TEXT, shard INTEGER
);
CREATE INDEX IF NOT EXISTS entry_stem ON entry (stem, kind);
CREATE INDEX IF NOT EXISTS item_copies ON item (duplicate_of) WHERE duplicate_of IS NOT NULL;
CREATE INDEX IF NOT EXISTS item_open ON item (step, id) WHERE reason IS NULL;
CREATE INDEX IF NOT EXISTS item_order ON item (digest, id) WHERE reason IS NULL;
CREATE INDEX IF NOT EXISTS item_reason ON item (reason, id) WHERE reason IS NOT NULL;

CREATE TABLE IF NOT EXISTS sample (place INTEGER PRIMARY KEY, item INTEGER NOT NULL, key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS shard (number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, samples INTEGER NOT NULL, facts TEXT NOT NULL);
"""
#: rows written between two commits: what a kill costs to do again
COMMIT_EVERY = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Where bytes lie: a range of a file of the place."""

    file: str
    start: int
    length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One input, as far as it is known."""

    id: int
    name: str
    piece: Piece
    caption_piece: Piece | None
    caption_name: str
    reason: Reason | None
    detail: str
    duplicate_of: int | None
    digest: str
    width: int
    height: int
    caption_original: str
    caption: str
    caption_source: str
    score: float | None
    boxes: list[tuple[int, int, int, int]]


class Index:
    """One run's SQLite file, for one process at a time."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        # A power cut may cost the last commits, which are done again; it cannot cost the file.
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = FILE;" + _TABLES
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        self._connection.execute(sql, values)

    def write(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """All rows in one transaction."""
        with self.transaction():
            self._connection.executemany(sql, rows)

    def transaction(self) -> _Transaction:
        return _Transaction(self._connection)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[sqlite3.Row]:
        """Streams; what is read must not be written meanwhile."""
        yield from self._connection.execute(sql, values)

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """First column of the first row, or None."""
        row = self._connection.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def fact(self, name: str) -> Any:
        text = self.one("SELECT value FROM fact WHERE name = ?", (name,))
        return None if text is None else json.loads(text)

    def set_fact(self, name: str, value: Any) -> None:
        self.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, json.dumps(value)))

    def items(self, where: str, values: Sequence[Any] = (), *, at_once: int = 1000) -> Iterator[Item]:
        """Items that meet a condition, by id, a page at a time: they may be written to while this goes on."""
        last = -1
        while True:
            sql = f"SELECT * FROM item WHERE id > ? AND ({where}) ORDER BY id LIMIT ?"  # noqa: S608 - conditions are ours
            page = self._connection.execute(sql, (last, *values, at_once)).fetchall()
            if not page:
                return
            yield from (item_of(row) for row in page)
            last = page[-1]["id"]

    def drop(self, item: int, reason: Reason, detail: str = "", duplicate_of: int | None = None) -> None:
        """Leaves an item out; the first reason counts."""
        sql = "UPDATE item SET reason = ?, detail = ?, duplicate_of = ? WHERE id = ? AND reason IS NULL"
        self.execute(sql, (reason.value, detail, duplicate_of, item))


@dataclass
class _Transaction:
    connection: sqlite3.Connection

    def __enter__(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.connection.execute("COMMIT" if kind is None else "ROLLBACK")


def item_of(row: sqlite3.Row) -> Item:
    caption = None
    if row["caption_file"] is not None:
        caption = Piece(file=row["caption_file"], start=row["caption_start"], length=row["caption_length"])
    return Item(
        id=row["id"],
        name=row["name"],
        piece=Piece(file=row["file"], start=row["start"], length=row["length"]),
        caption_piece=caption,
        caption_name=row["caption_name"] or "",
        reason=None if row["reason"] is None else Reason(row["reason"]),
        detail=row["detail"],
        duplicate_of=row["duplicate_of"],
        digest=row["digest"] or "",
        width=row["width"] or 0,
        height=row["height"] or 0,
        caption_original=row["caption_original"],
        caption=row["caption"],
        caption_source=row["caption_source"],
        score=row["score"],
        boxes=[tuple(box) for box in json.loads(row["boxes"] or "[]")],
    )
