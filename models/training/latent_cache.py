"""Encoded pictures as shards: latents, edge maps and words, under the digest of the encoder that made them.

    CACHE/<encoder digest>/<width>x<height>/<shard>.safetensors

A shard holds `latents` float16 (N, C, h, w), `edges` packed bits uint8 (N, H W / 8), `digests` of the pictures uint8
(N, 32), `weights` uint8 (N, h, w) where some cells do not count (0 to 255), and in its header the label of each row.
Another encoder has another folder, so a latent can never be stale; a picture is found again by its digest.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.training.recipe import Bucket

_DIGEST_LENGTH = 16

Label = dict[str, Any]  # {"scene": {...}} or {"caption": "..."}


@dataclass(frozen=True, kw_only=True)
class EncodedPictures:
    """Rows of one shard; `edges` uint8 (N, H, W) of 0 and 1, `weights` uint8 (N, h, w) or None where all cells count."""

    latents: Tensor
    edges: npt.NDArray[np.uint8]
    digests: Sequence[bytes]
    labels: Sequence[Label]
    weights: Tensor | None = None


class LatentCache:
    """The shards of one encoder."""

    def __init__(self, folder: Path, encoder_digest: str) -> None:
        self.path = folder / encoder_digest[:_DIGEST_LENGTH]

    def shard_file(self, bucket: Bucket, name: str) -> Path:
        """Where a shard is stored."""
        return self.path / bucket.name / f"{name}.safetensors"

    def add(self, bucket: Bucket, name: str, rows: EncodedPictures) -> None:
        """Write one shard, whole or not at all."""
        path = self.shard_file(bucket, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {
            "latents": rows.latents.half().contiguous(),
            "edges": torch.from_numpy(np.packbits(rows.edges.reshape(len(rows.edges), -1), axis=1)),
            "digests": torch.from_numpy(
                np.frombuffer(b"".join(rows.digests), np.uint8).reshape(-1, 32).copy()
            ),
        }
        if rows.weights is not None:
            tensors["weights"] = rows.weights.contiguous()
        draft = path.with_suffix(".writing")
        save_file(tensors, draft, metadata={"labels": json.dumps(list(rows.labels))})
        draft.replace(path)

    def digests(self, bucket: Bucket) -> set[bytes]:
        """The pictures of one size that are encoded already."""
        found: set[bytes] = set()
        for path in self._shards(bucket):
            with safe_open(path, "np") as shard:
                found.update(row.tobytes() for row in shard.get_tensor("digests"))
        return found

    def table(self, bucket: Bucket) -> "LatentTable":
        """All rows of one size; where a source was noted, those of its pictures, with its captions."""
        path = self._source_file(bucket)
        captions = None
        if path.exists():
            rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            captions = {bytes.fromhex(row["digest"]): row["caption"] for row in rows}
        return LatentTable(bucket, self._shards(bucket), captions)

    def note_source(self, bucket: Bucket, captions: Mapping[bytes, str]) -> None:
        """Remember which pictures, by digest, belong to the data now, and what is said of them."""
        path = self._source_file(bucket)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".writing")
        with draft.open("w", encoding="utf-8") as file:
            for digest, caption in sorted(captions.items()):
                file.write(json.dumps({"digest": digest.hex(), "caption": caption}) + "\n")
        draft.replace(path)

    def _source_file(self, bucket: Bucket) -> Path:
        return self.path / bucket.name / "source.jsonl"

    def _shards(self, bucket: Bucket) -> list[Path]:
        return sorted((self.path / bucket.name).glob("*.safetensors"))


class LatentTable:
    """All rows of one size, read from the shards as they are asked for: the files are mapped, not loaded."""

    def __init__(
        self, bucket: Bucket, shards: Sequence[Path], captions: Mapping[bytes, str] | None = None
    ) -> None:
        self.bucket = bucket
        self._shards = [load_file(path) for path in shards]
        self._starts = np.cumsum([0, *(len(shard["latents"]) for shard in self._shards)])
        self.labels: list[Label] = []
        self._rows: Sequence[int] = range(int(self._starts[-1]))
        if captions is None:
            for path in shards:
                with safe_open(path, "np") as shard:
                    self.labels += json.loads(shard.metadata()["labels"])
            return
        digests = [row.tobytes() for shard in self._shards for row in shard["digests"].numpy()]
        self._rows = [i for i, digest in enumerate(digests) if digest in captions]
        self.labels = [{"caption": captions[digests[i]]} for i in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def latents(self, rows: Sequence[int]) -> Tensor:
        """Latents (B, C, h, w), float16."""
        return torch.stack([self._row("latents", row) for row in rows])

    def first_latents(self, count: int) -> Tensor:
        """The first rows there are, at most `count`."""
        return self.latents(range(min(count, len(self))))

    def edges(self, rows: Sequence[int]) -> Tensor:
        """Edge maps (B, 1, H, W), float32 of 0 and 1."""
        packed = torch.stack([self._row("edges", row) for row in rows]).numpy()
        maps = np.unpackbits(packed, axis=1).reshape(len(rows), 1, self.bucket.height, self.bucket.width)
        return torch.from_numpy(maps).float()

    def weights(self, rows: Sequence[int]) -> Tensor | None:
        """What counts, (B, 1, h, w) in [0, 1]; None where everything does."""
        if not any("weights" in shard for shard in self._shards):
            return None
        height, width = self.bucket.height // 8, self.bucket.width // 8
        all_of_it = torch.full((height, width), 255, dtype=torch.uint8)
        return torch.stack([self._row("weights", row, all_of_it) for row in rows]).unsqueeze(1).float() / 255

    def _row(self, name: str, row: int, default: Tensor | None = None) -> Tensor:
        place = self._rows[row]
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        shard = self._shards[number]
        if default is not None and name not in shard:
            return default
        return shard[name][place - int(self._starts[number])]


def encoder_digest(*modules: nn.Module) -> str:
    """sha256, hex, of all weights of an encoder."""
    total = hashlib.sha256()
    for module in modules:
        for name, value in sorted(module.state_dict().items()):
            total.update(name.encode())
            total.update(value.detach().float().contiguous().numpy().tobytes())
    return total.hexdigest()


def picture_digest(pixels: npt.NDArray[np.uint8]) -> bytes:
    """sha256 of a picture's size and pixels, uint8 (H, W, 3)."""
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).digest()
