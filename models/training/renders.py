# ruff: noqa: S311 - draws by lot, no secrets
"""Batches of fresh renders as tensors, and the choice of a bucket for each step."""

from random import Random

import numpy as np
import torch
from torch import Tensor

from models.catalogue.world import Scene, sample_scene
from models.training.config import Bucket
from models.training.renderer import render


def choose_bucket(buckets: tuple[Bucket, ...], seed: int) -> Bucket:
    """Draw one picture size by its share; the same seed gives the same size on every rank."""
    return Random(seed).choices(buckets, [bucket.share for bucket in buckets])[0]


def render_batch(scenes: list[Scene], rng: Random, bucket: Bucket) -> Tensor:
    """Draw scenes; float32 (B, 3, H, W) in [-1, 1], channels last."""
    pixels = [render(scene, rng.getrandbits(40), bucket.width, bucket.height) for scene in scenes]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, 3, H, W)
    return images.to(memory_format=torch.channels_last)


def training_batch(seed: int, count: int, bucket: Bucket) -> Tensor:
    """Fresh renders without held-out pairs, decided by the seed alone."""
    rng = Random(seed)
    return render_batch([sample_scene(rng) for _ in range(count)], rng, bucket)
