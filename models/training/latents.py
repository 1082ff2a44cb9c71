# ruff: noqa: S311 - draws by lot, no secrets
"""Renders encoded once: the transformer's training set. Captions are not stored but said anew for every pass.

python -m models.training.latents --config models/training/starter.toml --out WORK --part 0 --parts 2
"""

import argparse
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from random import Random
from typing import Self

import torch
from torch import Tensor

from models.catalogue.captions import training_scene
from models.catalogue.world import Scene
from models.training.autoencoder import FoldedAutoencoderKL
from models.training.checkpoint import load_checkpoint, save_checkpoint
from models.training.config import Bucket, Recipe
from models.training.progress import say
from models.training.renders import render_batch
from models.training.train_autoencoder import load_autoencoder


@dataclass(frozen=True)
class LatentSet:
    """Latents of one bucket, float16 (N, C, h, w), with the scene of each."""

    latents: Tensor
    scenes: list[Scene]


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation of each latent channel, (C,)."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, latents: Tensor) -> Self:
        """Measured on the first 8 000 latents (N, C, h, w)."""
        sample = latents[:8000].float()
        return cls(sample.mean((0, 2, 3)), sample.std((0, 2, 3)))

    def normalise(self, latents: Tensor) -> Tensor:
        """Latents (N, C, h, w) to zero mean and unit variance per channel, float32."""
        return (latents.float() - self.mean.view(1, -1, 1, 1)) / self.deviation.view(1, -1, 1, 1)


def main() -> None:
    """Render and encode one part of the set; the parts run side by side, one per core."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe, started = Recipe.read(args.config), time.monotonic()
    model = load_autoencoder(args.out, recipe)
    state = {}
    for number, bucket in enumerate(recipe.buckets):
        count = round(recipe.latents.count * bucket.share / args.parts)
        rng = Random(f"latents {recipe.seed} {args.part} {number}")
        state[bucket_name(bucket)] = _encode(model, rng, bucket, count, recipe.latents.encode_batch)
        say(f"{bucket_name(bucket)}: {count} latents, {time.monotonic() - started:.0f} s")
    save_checkpoint(part_file(args.out, args.part), state)


def bucket_name(bucket: Bucket) -> str:
    """Key of a bucket in the file."""
    return f"{bucket.width}x{bucket.height}"


def part_file(folder: Path, part: int) -> Path:
    """Where one part of the set is stored."""
    return folder / f"latents-{part}.pt"


def load_latents(folder: Path, recipe: Recipe) -> list[LatentSet]:
    """All parts found in `folder`, joined; one set per bucket, in the recipe's order."""
    states = [load_checkpoint(path) for path in sorted(folder.glob("latents-*.pt"))]
    sets = []
    for bucket in recipe.buckets:
        found = [state[bucket_name(bucket)] for state in states if state]
        scenes = [Scene(**dict(zip(_FIELDS, row, strict=True))) for part in found for row in part["scenes"]]
        sets.append(LatentSet(torch.cat([part["latents"] for part in found]), scenes))
    return sets


_FIELDS = ("kind", "colour", "material", "background", "layout")


def _encode(
    model: FoldedAutoencoderKL, rng: Random, bucket: Bucket, count: int, batch: int
) -> dict[str, object]:
    scenes = [training_scene(rng) for _ in range(count)]
    parts = []
    for start in range(0, count, batch):
        images = render_batch(scenes[start : start + batch], rng, bucket)  # (B, 3, H, W)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            parts.append(model.encode(images).latent_dist.mean.half().contiguous())  # (B, C, h, w)
    return {"latents": torch.cat(parts), "scenes": [astuple(scene) for scene in scenes]}


if __name__ == "__main__":
    main()
