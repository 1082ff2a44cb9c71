"""Renders drawn by several processes, the same pictures whatever their number."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import Random

import numpy as np
import torch
from torch import Tensor

from models.catalogue.world import Scene
from models.training.recipe import Bucket
from models.training.renderer import Pixels, render


class RenderPool:
    """Draws batches; with no workers in this process. Workers are daemons of this process and end with it."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        # spawned, because a forked child of a process that uses a GPU cannot
        self._pool = ProcessPoolExecutor(workers, get_context("spawn")) if workers else None

    def draw(self, scenes: Sequence[Scene], rng: Random, bucket: Bucket) -> Tensor:
        """Draw scenes; float32 (B, 3, H, W) in [-1, 1], channels last. `rng` gives each picture its seed."""
        jobs = [(scene, rng.getrandbits(40), bucket.width, bucket.height) for scene in scenes]
        if self._pool is None:
            pixels = [_draw(job) for job in jobs]
        else:
            pixels = list(self._pool.map(_draw, jobs, chunksize=max(1, len(jobs) // (2 * self._workers))))
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, 3, H, W)
        return images.to(memory_format=torch.channels_last)


def _draw(job: tuple[Scene, int, int, int]) -> Pixels:
    return render(*job)
