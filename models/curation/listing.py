"""First step: every entry of the source becomes one input with its caption beside it."""

from __future__ import annotations

import sqlite3
from pathlib import PurePosixPath

from models.curation.caption_tables import is_table
from models.curation.index import COMMIT_EVERY, Index
from models.curation.reasons import Reason
from models.curation.run import Run
from models.curation.source import Entry, Source
from models.errors import CurationUnusable

STEP = "list"
#: suffixes of files that hold the caption of the picture of the same name, in the order of preference
CAPTION_SUFFIXES = (".txt", ".caption", ".json")
#: a listing does not say how long its files are
UNKNOWN_LENGTH = -1

_PAIR = """
INSERT INTO item (name, file, start, length, reason, detail, caption_file, caption_start, caption_length, caption_name, caption_original, caption_source)
SELECT p.name, p.file, p.start, p.length, p.reason, p.detail, c.file, c.start, c.length, c.name,
       coalesce(t.caption, ''), CASE WHEN coalesce(t.caption, '') = '' THEN 'none' ELSE t.source END
FROM entry p
LEFT JOIN entry c ON c.name = (
    SELECT s.name FROM entry s WHERE s.kind LIKE 'caption%' AND s.reason IS NULL AND s.stem IN (p.stem, p.name) ORDER BY s.kind LIMIT 1
)
LEFT JOIN caption t ON t.picture = p.name
WHERE p.kind = 'picture' ORDER BY p.name
"""
_ORPHANS = """
INSERT INTO item (name, file, start, length, reason, detail)
SELECT c.name, c.file, c.start, c.length, coalesce(c.reason, ?), c.detail FROM entry c
WHERE c.kind LIKE 'caption%' AND (c.reason IS NOT NULL OR NOT EXISTS (
    SELECT 1 FROM entry p WHERE p.kind = 'picture' AND (p.stem = c.stem OR p.name = c.stem)
)) ORDER BY c.name
"""


def list_source(run: Run) -> None:
    """Fills the index; a listing that was cut short starts anew."""
    with run.step(STEP) as needed:
        if not needed:
            return
        for table in ("entry", "caption", "item"):
            run.index.execute(f"DELETE FROM {table}")  # noqa: S608 - names are ours
        if run.source.listing:
            _items_from_listing(run)
        else:
            _entries(run)
            _captions(run.index, run.source)
            with run.index.transaction():
                run.index.execute(_PAIR)
                run.index.execute(_ORPHANS, (Reason.CAPTION_WITHOUT_PICTURE.value,))
            _count_unmatched(run)
            run.index.execute("DELETE FROM entry")
        if not run.index.one("SELECT 1 FROM item LIMIT 1"):
            raise CurationUnusable(f"{run.source.title}: there is nothing in it")


def _entries(run: Run) -> None:
    batch: list[Entry] = []
    count = 0
    for entry in run.source.entries():
        batch.append(entry)
        count += 1
        if len(batch) >= COMMIT_EVERY:
            _add(run.index, batch)
            batch = []
            run.at(STEP, count)
    _add(run.index, batch)
    run.at(STEP, count, count)


def _add(index: Index, entries: list[Entry]) -> None:
    with index.transaction():
        for entry in entries:
            _add_one(index, entry)


def _add_one(index: Index, entry: Entry) -> None:
    """An archive may hold one name twice; both are accounted for."""
    suffix = PurePosixPath(entry.name).suffix.lower()
    stem = entry.name[: len(entry.name) - len(suffix)] if suffix else entry.name
    kind = "table" if is_table(entry.name) else "picture"
    if suffix in CAPTION_SUFFIXES:
        kind = f"caption {CAPTION_SUFFIXES.index(suffix)}"
    name, times = entry.name, 1
    while True:
        try:
            index.execute(
                "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name, entry.file, entry.offset, entry.length, kind, stem, entry.refusal, entry.detail),
            )
            return
        except sqlite3.IntegrityError:
            times += 1
            name = f"{entry.name}#{times}"


def _captions(index: Index, source: Source) -> None:
    """Captions from the tables that lie among the pictures; of several rows about one picture the last counts."""
    tables = [
        Entry(name=row["name"], file=row["file"], offset=row["start"], length=row["length"])
        for row in index.rows("SELECT * FROM entry WHERE kind = 'table' AND reason IS NULL ORDER BY name")
    ]
    for table in tables:
        index.write(
            "INSERT OR REPLACE INTO caption (picture, caption, source) VALUES (?, ?, 'table')",
            ((row.picture, row.caption) for row in source.rows(table)),
        )


def _count_unmatched(run: Run) -> None:
    unmatched = run.index.one(
        "SELECT count(*) FROM caption t WHERE NOT EXISTS (SELECT 1 FROM entry p WHERE p.name = t.picture)"
    )
    if unmatched:
        run.note("captions", f"{unmatched} rows of caption tables name a picture that is not there.")


def _items_from_listing(run: Run) -> None:
    """A listing's rows are the inputs; whether the files exist shows when they are read."""
    name = run.source.listing
    table = Entry(
        name=name, file=name, length=next((f.size for f in run.source.place.files() if f.name == name), 0)
    )
    with run.index.transaction():
        for count, row in enumerate(run.source.rows(table), 1):
            first = run.index.one("SELECT 1 FROM caption WHERE picture = ?", (row.picture,)) is None
            if first:
                run.index.execute(
                    "INSERT INTO caption (picture, caption, source) VALUES (?, ?, 'listing')",
                    (row.picture, row.caption),
                )
            run.index.execute(
                "INSERT INTO item (name, file, start, length, reason, caption_original, caption_source) VALUES (?, ?, 0, ?, ?, ?, ?)",
                (
                    row.picture,
                    row.picture,
                    UNKNOWN_LENGTH,
                    None if first else Reason.NAMED_TWICE.value,
                    row.caption,
                    "listing" if row.caption else "none",
                ),
            )
            if count % COMMIT_EVERY == 0:
                run.at(STEP, count)
