"""Reads back what was written: the samples of a curated folder, in order."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import CurationUnusable

INDEX_FILE = "index.json"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A picture file with its caption; `facts` is the sample's JSON."""

    key: str
    suffix: str
    picture: bytes
    caption: str
    facts: dict[str, Any]


def shard_paths(dest: Path) -> list[Path]:
    """The shards of a finished curation; raises CurationUnusable for anything else."""
    try:
        index = json.loads((dest / INDEX_FILE).read_text(encoding="utf-8"))
        return [dest / shard["name"] for shard in index["shards"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CurationUnusable(f"{dest}: not a finished curation ({type(error).__name__})") from None


def read_samples(dest: Path) -> Iterator[Sample]:
    """Every sample of every shard, one at a time."""
    for path in shard_paths(dest):
        yield from read_shard(path)


def read_shard(path: Path) -> Iterator[Sample]:
    """The samples of one shard; members of a sample stand together."""
    parts: dict[str, bytes] = {}
    key = ""
    with tarfile.open(path, "r:") as archive:
        for info in archive:
            name, _, suffix = info.name.partition(".")
            if name != key and parts:
                yield _sample(key, parts)
                parts = {}
            key = name
            file = archive.extractfile(info)
            assert file is not None
            parts[suffix] = file.read()
            archive.members = []  # type: ignore[attr-defined]  # else every header stays in memory
    if parts:
        yield _sample(key, parts)


def _sample(key: str, parts: dict[str, bytes]) -> Sample:
    suffix = next(suffix for suffix in parts if suffix not in ("json", "txt"))
    facts = json.loads(parts["json"])
    return Sample(key=key, suffix=suffix, picture=parts[suffix], caption=parts["txt"].decode(), facts=facts)


def export_files(dest: Path, folder: Path) -> list[tuple[Path, str]]:
    """Plain picture files in `folder`, each with its caption; for small sets."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for sample in read_samples(dest):
        path = folder / f"{sample.key}.{sample.suffix}"
        path.write_bytes(sample.picture)
        pairs.append((path, sample.caption))
    return pairs
