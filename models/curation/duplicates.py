"""Third step: of each group of copies the best is kept, and every other one says which that is.

Pictures are ranked by pixels, then sharpness. From the best downwards each is kept unless it is a near copy of one that
is kept already, so every picture that is left out lies within the radius of one that stays: no chains of small changes.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from models.curation.fingerprint import GRID, RECORD, require_hashes
from models.curation.index import COMMIT_EVERY, Index
from models.curation.near_search import Pairs, near_pairs
from models.curation.reasons import Reason
from models.curation.run import Run
from models.curation.settings import DuplicateSettings

Records: TypeAlias = npt.NDArray[Any]

STEP = "duplicates"

_RANKED = """
SELECT id, exact, quality, record FROM item WHERE reason IS NULL
ORDER BY width * height DESC, sharpness DESC, length DESC, name, id
"""
#: a copy of a copy is a copy of what is kept
_POINT_TO_KEPT = """
UPDATE item SET duplicate_of = (SELECT kept.duplicate_of FROM item kept WHERE kept.id = item.duplicate_of)
WHERE reason = 'duplicate' AND duplicate_of IN (SELECT id FROM item WHERE reason = 'duplicate')
"""
#: what a copy says about the picture is as true of the one that is kept
_INHERIT = """
UPDATE item SET caption_source = 'copy',
    caption_original = (SELECT c.caption_original FROM item c WHERE c.duplicate_of = item.id AND c.caption <> '' ORDER BY c.id LIMIT 1),
    caption = (SELECT c.caption FROM item c WHERE c.duplicate_of = item.id AND c.caption <> '' ORDER BY c.id LIMIT 1)
WHERE reason IS NULL AND caption = '' AND EXISTS (SELECT 1 FROM item c WHERE c.duplicate_of = item.id AND c.caption <> '')
"""


def drop_duplicates(run: Run) -> None:
    """Exact copies first, then near ones; needs the fingerprints of all."""
    with run.step(STEP) as needed:
        if not needed:
            return
        run.at(STEP, 0)
        folder = run.work / "near"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            with closing(_Scratch(folder / "scratch.sqlite")) as scratch:
                _drop_exact(run.index, scratch)
                if run.settings.duplicates.near:
                    _drop_near(run, scratch, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        run.index.execute(_POINT_TO_KEPT)
        run.index.execute(_INHERIT)


class _Scratch:
    """Keys and pairs that need not outlive the step."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(
            """
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
            CREATE TABLE first (key BLOB PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
            CREATE TABLE dropped (item INTEGER PRIMARY KEY, kept INTEGER NOT NULL, detail TEXT NOT NULL);
            CREATE TABLE pair (second INTEGER, first INTEGER, distance INTEGER NOT NULL, PRIMARY KEY (second, first)) WITHOUT ROWID;
            """
        )

    def close(self) -> None:
        self._connection.close()

    def first_with(self, key: bytes, value: int) -> int | None:
        """What was there first under this key; None when this is it."""
        added = self._connection.execute("INSERT OR IGNORE INTO first VALUES (?, ?)", (key, value))
        if added.rowcount:
            return None
        return int(self._connection.execute("SELECT value FROM first WHERE key = ?", (key,)).fetchone()[0])

    def forget_keys(self) -> None:
        self._connection.execute("DELETE FROM first")

    def drop(self, item: int, kept: int, detail: str) -> None:
        self._connection.execute("INSERT INTO dropped VALUES (?, ?, ?)", (item, kept, detail))

    def dropped(self) -> Iterator[tuple[int, int, str]]:
        yield from self._connection.execute("SELECT item, kept, detail FROM dropped ORDER BY item")
        self._connection.execute("DELETE FROM dropped")

    def add_pairs(self, pairs: Pairs) -> None:
        columns = zip(pairs.second.tolist(), pairs.first.tolist(), pairs.distance.tolist(), strict=True)
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT OR IGNORE INTO pair VALUES (?, ?, ?)", columns)
        self._connection.execute("COMMIT")

    def pairs(self) -> Iterator[tuple[int, int, int]]:
        """(worse, better, distance) in the order of rank."""
        yield from self._connection.execute("SELECT second, first, distance FROM pair ORDER BY second, first")


def _drop_exact(index: Index, scratch: _Scratch) -> None:
    for row in index.rows(_RANKED):
        kept = scratch.first_with(row["exact"].encode(), row["id"])
        if kept is not None:
            scratch.drop(row["id"], kept, "equal pixels")
    _record(index, scratch.dropped())
    scratch.forget_keys()


def _drop_near(run: Run, scratch: _Scratch, folder: Path) -> None:
    require_hashes()
    ranked = _Ranked.collect(run.index, scratch, folder, run.settings.duplicates.min_quality)
    if not len(ranked.ids):
        return
    for number, pairs in enumerate(
        _near_copies(ranked.records, run.settings.duplicates, folder, run.settings.workers)
    ):
        scratch.add_pairs(pairs)
        if number % 100 == 0:
            run.at(STEP, 0)
    leader = np.memmap(folder / "leader", np.int64, mode="w+", shape=(len(ranked.ids),))
    leader[:] = np.arange(len(leader))
    for worse, better, distance in scratch.pairs():
        if leader[worse] == worse and leader[better] == better:
            leader[worse] = better
            scratch.drop(int(ranked.ids[worse]), int(ranked.ids[better]), f"{distance} bits apart")
    _record(run.index, scratch.dropped())


def _record(index: Index, dropped: Iterable[tuple[int, int, str]]) -> None:
    batch: list[tuple[int, int, str]] = []
    for row in dropped:
        batch.append(row)
        if len(batch) >= COMMIT_EVERY:
            _drop(index, batch)
            batch = []
    _drop(index, batch)


def _drop(index: Index, batch: list[tuple[int, int, str]]) -> None:
    with index.transaction():
        for item, kept, detail in batch:
            index.drop(item, Reason.DUPLICATE, detail, duplicate_of=kept)


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """Ids and fingerprints in the order of rank, in files; pictures with equal fingerprints stand there once."""

    ids: npt.NDArray[np.int64]
    records: Records

    @classmethod
    def collect(cls, index: Index, scratch: _Scratch, folder: Path, min_quality: int) -> _Ranked:
        count = 0
        with (folder / "ids").open("wb") as ids, (folder / "records").open("wb") as records:
            for row in index.rows(_RANKED):
                if row["quality"] < min_quality:
                    continue  # too little to see for its hashes to mean anything
                kept = scratch.first_with(row["record"], row["id"])
                if kept is not None:
                    scratch.drop(row["id"], kept, "0 bits apart")
                    continue
                ids.write(int(row["id"]).to_bytes(8, "little"))
                records.write(row["record"])
                count += 1
        if not count:
            return cls(ids=np.zeros(0, np.int64), records=np.zeros(0, RECORD))
        return cls(
            ids=np.memmap(folder / "ids", "<i8", mode="r"),
            records=np.memmap(folder / "records", RECORD, mode="r"),
        )


def _near_copies(
    records: Records, settings: DuplicateSettings, folder: Path, threads: int
) -> Iterator[Pairs]:
    """Pairs of rows that the settings call copies; the better one first."""
    pdq, phash = records["pdq"], records["phash"][:, None]
    # More threads than bands at once would cost memory and bring nothing.
    threads = min(threads, 8)
    for pairs in near_pairs(pdq, settings.pdq_radius, folder, threads=threads):
        agreed = pairs if settings.agree == "either" else _within(pairs, phash, settings.phash_radius)
        yield _same_colours(agreed, records, settings.colour_tolerance)
    if settings.agree == "either":
        for pairs in near_pairs(phash, settings.phash_radius, folder, threads=threads):
            yield _same_colours(pairs, records, settings.colour_tolerance)
    if settings.mirrored:
        for pairs in near_pairs(pdq, settings.pdq_radius, folder, others=records["mirror"], threads=threads):
            yield _same_colours(_ordered(pairs), records, settings.colour_tolerance, mirrored=True)


def _within(pairs: Pairs, hashes: npt.NDArray[np.uint64], radius: int) -> Pairs:
    distance = np.bitwise_count(hashes[pairs.first] ^ hashes[pairs.second]).sum(1)
    return _chosen(pairs, distance <= radius)


def _same_colours(pairs: Pairs, records: Records, tolerance: float, *, mirrored: bool = False) -> Pairs:
    """Hashes see light and dark only: a red mug and a green one are not copies."""
    first = records["colour"][pairs.first].reshape(-1, GRID, GRID, 3).astype(np.int16)
    second = records["colour"][pairs.second].reshape(-1, GRID, GRID, 3).astype(np.int16)
    if mirrored:
        second = second[:, :, ::-1]
    cells = np.abs(first - second).mean(3).max((1, 2))
    return _chosen(pairs, cells <= tolerance)


def _ordered(pairs: Pairs) -> Pairs:
    """A picture is no copy of itself, however symmetrical."""
    first, second = np.minimum(pairs.first, pairs.second), np.maximum(pairs.first, pairs.second)
    return _chosen(Pairs(first=first, second=second, distance=pairs.distance), first != second)


def _chosen(pairs: Pairs, chosen: npt.NDArray[np.bool_]) -> Pairs:
    return Pairs(first=pairs.first[chosen], second=pairs.second[chosen], distance=pairs.distance[chosen])
