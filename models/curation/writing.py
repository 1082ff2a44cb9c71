"""Last step but one: what is left goes into shards, in the order of the files' digests, which is as good as shuffled."""

from __future__ import annotations

import json
from collections.abc import Iterator

from models.curation.index import item_of
from models.curation.pool import Crashed
from models.curation.run import Run
from models.curation.shards import KEY_CHARACTERS, ShardTask, ShardWriter, WrittenShard
from models.errors import CurationError

STEP = "write"
#: written down once, so that the order cannot change while shards are being written
_PLAN = """
INSERT INTO sample SELECT row_number() OVER (ORDER BY digest, id) - 1, id, substr(digest, 1, ?)
FROM item WHERE reason IS NULL
"""
_OF_SHARD = """
SELECT sample.key AS sample_key, item.* FROM sample JOIN item ON item.id = sample.item
WHERE place >= ? AND place < ? ORDER BY place
"""


def write_shards(run: Run) -> None:
    """Shards that are on record are not written again."""
    with run.step(STEP) as needed:
        if not needed:
            return
        _plan(run)
        total = run.index.one("SELECT count(*) FROM sample")
        done = run.index.one("SELECT coalesce(sum(samples), 0) FROM shard")
        run.at(STEP, done, total)
        writer = ShardWriter(
            place=run.source.place, folder=run.dest, settings=run.settings, encoder=run.index.fact("encoder")
        )
        for task, result in run.pool.map(writer, _tasks(run)):
            if isinstance(result, Crashed):
                raise CurationError(f"shard {task.number}: the process that wrote it died, twice")
            _record(run, result)
            done += len(task.items)
            run.at(STEP, done, total)
        for stray in run.dest.glob(".shard-*.partial"):
            stray.unlink()


def _plan(run: Run) -> None:
    if run.index.fact("planned"):
        return
    with run.index.transaction():
        run.index.execute("DELETE FROM sample")
        run.index.execute(_PLAN, (KEY_CHARACTERS,))
        run.index.set_fact("planned", True)


def _tasks(run: Run) -> Iterator[ShardTask]:
    size = run.settings.shards.samples
    written = {row[0] for row in run.index.rows("SELECT number FROM shard")}
    total = run.index.one("SELECT count(*) FROM sample")
    for number, start in enumerate(range(0, total, size)):
        if number not in written:
            rows = run.index.rows(_OF_SHARD, (start, start + size))
            yield ShardTask(number=number, items=tuple((row["sample_key"], item_of(row)) for row in rows))


def _record(run: Run, shard: WrittenShard) -> None:
    counts = {
        "buckets": shard.buckets,
        "enlarged": shard.enlarged,
        "padded": shard.padded,
        "masked_text": shard.masked_text,
    }
    with run.index.transaction():
        for item, reason, detail in shard.refused:
            run.index.drop(item, reason, detail)
        run.index.execute(
            "INSERT INTO shard VALUES (?, ?, ?, ?, ?, ?)",
            (shard.number, shard.name, shard.sha256, shard.bytes, shard.samples, json.dumps(counts)),
        )
