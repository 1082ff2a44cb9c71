"""What a curation did, as data: every input is counted once, under kept or under one reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from models.curation.histograms import Histogram, histogram
from models.curation.index import Index
from models.curation.run import Run
from schemas.base import Frozen


class ShardFacts(Frozen):
    """One written file."""

    name: str
    samples: int
    bytes: int
    sha256: str


class CurationReport(Frozen):
    """`seen` equals `kept` plus the sum of `dropped`."""

    source: str
    settings_digest: str
    seen: int
    kept: int
    #: by `Reason`
    dropped: Mapping[str, int]
    #: steps that did not run, or not for all, each with one sentence that says so
    notes: Mapping[str, str]
    #: kept pictures by width x height
    buckets: Mapping[str, int]
    shards: tuple[ShardFacts, ...]
    #: kept pictures that were enlarged, padded, and have text left out of the loss
    enlarged: int
    padded: int
    masked_text: int
    #: rules that changed captions of kept pictures, with the number of captions each changed
    caption_rules: Mapping[str, int]
    caption_sources: Mapping[str, int]
    #: what came of asking the endpoint
    rewrites: Mapping[str, int]
    encoder: str | None
    #: by caption source, the score below which pairs were left out
    score_limits: Mapping[str, float]
    #: seconds by step, and inputs per second over all of them; these alone differ from run to run
    seconds: Mapping[str, float]
    images_per_second: float


def make_report(run: Run) -> CurationReport:
    """From the index alone; equal input gives an equal report but for its times."""
    index = run.index
    seen = index.one("SELECT count(*) FROM item")
    counts = _shard_counts(index)
    seconds = dict(sorted(_facts(index, "seconds:")))
    return CurationReport(
        source=run.source.title,
        settings_digest=run.settings.digest,
        seen=seen,
        kept=index.one("SELECT count(*) FROM item WHERE reason IS NULL"),
        dropped=_counted(
            index,
            "SELECT reason, count(*) FROM item WHERE reason IS NOT NULL GROUP BY reason ORDER BY reason",
        ),
        notes=index.fact("notes") or {},
        buckets=dict(sorted(counts["buckets"].items())),
        shards=tuple(
            ShardFacts(**dict(row))
            for row in index.rows("SELECT name, samples, bytes, sha256 FROM shard ORDER BY number")
        ),
        enlarged=counts["enlarged"],
        padded=counts["padded"],
        masked_text=counts["masked_text"],
        caption_rules=_rules(index),
        caption_sources=_counted(
            index, "SELECT caption_source, count(*) FROM item WHERE reason IS NULL GROUP BY 1 ORDER BY 1"
        ),
        rewrites=_counted(
            index, "SELECT rewrite, count(*) FROM item WHERE rewrite IS NOT NULL GROUP BY 1 ORDER BY 1"
        ),
        encoder=index.fact("encoder"),
        score_limits=index.fact("limits") or {},
        seconds=seconds,
        images_per_second=round(seen / max(sum(seconds.values()), 1e-9), 2),
    )


def _facts(index: Index, prefix: str) -> Iterator[tuple[str, Any]]:
    for row in index.rows(
        "SELECT name, value FROM fact WHERE name >= ? AND name < ?", (prefix, prefix + "\uffff")
    ):
        yield row["name"].removeprefix(prefix), json.loads(row["value"])


def _counted(index: Index, sql: str) -> dict[str, int]:
    return {row[0]: row[1] for row in index.rows(sql)}


def _shard_counts(index: Index) -> dict[str, Any]:
    buckets: Counter[str] = Counter()
    sums: Counter[str] = Counter({"enlarged": 0, "padded": 0, "masked_text": 0})
    for row in index.rows("SELECT facts FROM shard"):
        facts = json.loads(row["facts"])
        buckets.update(facts.pop("buckets"))
        sums.update(facts)
    return {"buckets": buckets, **sums}


def _rules(index: Index) -> dict[str, int]:
    found: Counter[str] = Counter()
    for row in index.rows(
        "SELECT changes, count(*) AS times FROM item WHERE reason IS NULL AND changes <> '' GROUP BY changes"
    ):
        for rule in row["changes"].split(","):
            found[rule] += row["times"]
    return dict(sorted(found.items()))


def measures(index: Index) -> list[Histogram]:
    """Distributions over all inputs that could be read."""
    read = "FROM item WHERE width IS NOT NULL AND digest IS NOT NULL GROUP BY 1"
    charts = [
        histogram(
            "Shorter side",
            "pixels",
            _pairs(index, f"SELECT min(width, height), count(*) {read}"),
            low=0,
            high=_top(index, "min(width, height)"),
        ),
        histogram(
            "Shape",
            "width / height",
            _pairs(index, f"SELECT round(1.0 * width / height, 3), count(*) {read}"),
            low=0,
            high=_top(index, "1.0 * width / height"),
        ),
        histogram(
            "Sharpness",
            "variance of the Laplacian",
            _pairs(index, f"SELECT round(sharpness), count(*) {read}"),
            low=0,
            high=_top(index, "sharpness"),
        ),
        histogram(
            "Caption",
            "characters",
            _pairs(index, f"SELECT length(caption), count(*) {read}"),
            low=0,
            high=_top(index, "length(caption)"),
        ),
    ]
    low, high = index.one("SELECT min(score) FROM item"), index.one("SELECT max(score) FROM item")
    if low is not None:
        pairs = _pairs(index, "SELECT round(score, 4), count(*) FROM item WHERE score IS NOT NULL GROUP BY 1")
        charts.append(histogram("Caption and picture together", "score", pairs, low=low, high=high))
    return charts


def _pairs(index: Index, sql: str) -> Iterable[tuple[float, int]]:
    return ((row[0], row[1]) for row in index.rows(sql))


def _top(index: Index, measure: str) -> float:
    return float(index.one(f"SELECT max({measure}) FROM item WHERE digest IS NOT NULL") or 1)  # noqa: S608


def decisions(index: Index) -> Iterator[dict[str, Any]]:
    """One line per input: what became of it, and why."""
    sql = """
    SELECT item.id, item.name, item.reason, item.detail, item.caption, item.caption_original, item.caption_source, item.changes,
           item.rewrite, item.score, item.boxes, item.digest, item.width, item.height, kept.name AS kept_name
    FROM item LEFT JOIN item kept ON kept.id = item.duplicate_of ORDER BY item.name, item.id
    """
    for row in index.rows(sql):
        line = {
            "name": row["name"],
            "decision": "kept" if row["reason"] is None else "dropped",
            "reason": row["reason"],
            "detail": row["detail"],
            "duplicate_of": row["kept_name"],
            "score": row["score"],
            "caption": row["caption"],
            "caption_original": row["caption_original"],
            "caption_source": row["caption_source"],
            "caption_rules": row["changes"].split(",") if row["changes"] else [],
            "rewrite": row["rewrite"],
            "text_boxes": json.loads(row["boxes"] or "[]"),
            "digest": row["digest"],
            "width": row["width"],
            "height": row["height"],
        }
        yield {name: value for name, value in line.items() if value not in (None, "", [])}


def chart_facts(charts: list[Histogram]) -> list[dict[str, Any]]:
    return [asdict(chart) for chart in charts]
