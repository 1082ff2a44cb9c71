"""Webdataset shards: tar archives of `<key>.jpg|png|webp`, `<key>.txt` and `<key>.json`, the same bytes for the same input."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.curation.buckets import Box, apply_fit, moved_boxes, padded_boxes, plan_fit
from models.curation.decode import Pixels, decode
from models.curation.index import Item
from models.curation.inspection import read_picture
from models.curation.places import Place
from models.curation.reasons import Reason, Refused
from models.curation.settings import CurationSettings, ShardSettings

#: characters of the source file's digest that name a sample
KEY_CHARACTERS = 24


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """One shard to be written: its items in order, each with its key."""

    number: int
    items: tuple[tuple[str, Item], ...]


@dataclass(frozen=True, kw_only=True)
class WrittenShard:
    """A shard that is on the disk, and what could not go into it."""

    number: int
    name: str
    sha256: str
    bytes: int
    samples: int
    buckets: Mapping[str, int] = field(default_factory=dict)
    enlarged: int = 0
    padded: int = 0
    masked_text: int = 0
    refused: tuple[tuple[int, Reason, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ShardWriter:
    """Writes one shard; runs in any process."""

    place: Place
    folder: Path
    settings: CurationSettings
    encoder: str | None

    def __call__(self, task: ShardTask) -> WrittenShard:
        name = f"shard-{task.number:06d}.tar"
        partial = self.folder / f".{name}.partial"
        tally = _Tally()
        with partial.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                for key, item in task.items:
                    try:
                        self._add(archive, key, item, tally)
                    except Refused as refused:
                        tally.refused.append((item.id, Reason.SOURCE_CHANGED, str(refused)))
            file.flush()
            os.fsync(file.fileno())
        with partial.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = partial.stat().st_size
        partial.replace(self.folder / name)
        _sync(self.folder)
        return WrittenShard(
            number=task.number,
            name=name,
            sha256=sha256,
            bytes=size,
            samples=len(task.items) - len(tally.refused),
            buckets=dict(sorted(tally.buckets.items())),
            enlarged=tally.enlarged,
            padded=tally.padded,
            masked_text=tally.masked_text,
            refused=tuple(tally.refused),
        )

    def _add(self, archive: tarfile.TarFile, key: str, item: Item, tally: _Tally) -> None:
        data = read_picture(self.place, item.piece, self.settings.read.max_bytes)
        if hashlib.sha256(data).hexdigest() != item.digest:
            raise Refused(Reason.SOURCE_CHANGED, "other bytes than before")
        pixels = decode(data, item.name, self.settings.read).pixels
        fit = plan_fit(pixels.shape[1], pixels.shape[0], self.settings.buckets)
        padding, text = padded_boxes(fit), moved_boxes(item.boxes, fit)
        picture = encode(apply_fit(pixels, fit), self.settings.shards)
        facts = {
            "width": fit.bucket[0],
            "height": fit.bucket[1],
            "bucket": list(fit.bucket),
            "digest": hashlib.sha256(picture).hexdigest(),
            "masked": [list(box) for box in [*padding, *text]],
            "source": item.name,
            "source_digest": item.digest,
            "source_size": [item.width, item.height],
            "caption_original": item.caption_original,
            "caption_source": item.caption_source,
            "scores": {} if item.score is None else {self.encoder: round(item.score, 6)},
        }
        _write(archive, f"{key}.{self.settings.shards.format}", picture)
        _write(archive, f"{key}.json", json.dumps(facts, ensure_ascii=False, sort_keys=True).encode())
        _write(archive, f"{key}.txt", item.caption.encode())
        tally.count(
            f"{fit.bucket[0]}x{fit.bucket[1]}", enlarged=fit.enlarged > 1 + 1e-9, padding=padding, text=text
        )


@dataclass(kw_only=True)
class _Tally:
    buckets: dict[str, int] = field(default_factory=dict)
    enlarged: int = 0
    padded: int = 0
    masked_text: int = 0
    refused: list[tuple[int, Reason, str]] = field(default_factory=list)

    def count(self, bucket: str, *, enlarged: bool, padding: Iterable[Box], text: Iterable[Box]) -> None:
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.enlarged += enlarged
        self.padded += bool(list(padding))
        self.masked_text += bool(list(text))


def encode(pixels: Pixels, settings: ShardSettings) -> bytes:
    """The picture (H, W, 3) as a file."""
    picture, buffer = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    options: dict[str, Any] = {
        "jpg": {"format": "JPEG", "quality": settings.quality, "subsampling": 0, "optimize": True},
        "png": {"format": "PNG", "compress_level": 6},
        "webp": {"format": "WEBP", "lossless": True, "method": 4},
    }[settings.format]
    picture.save(buffer, **options)
    return buffer.getvalue()


def _write(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # no time, no owner: nothing of the machine gets into the bytes
    info.size, info.mode = len(data), 0o644
    archive.addfile(info, io.BytesIO(data))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
