"""Where training pictures come from: `RenderedPictures` draws them afresh for every step."""

from random import Random
from typing import Protocol

from torch import Tensor

from models.catalogue.world import sample_scene
from models.training.phase import Batch, Turn
from models.training.recipe import Bucket
from models.training.render_pool import RenderPool

_CHECK_SEED = 987_654_321


class Pictures(Protocol):
    """A source of training pictures."""

    def batch(self, turn: Turn, count: int) -> Batch:
        """{"images": float32 (B, 3, H, W) in [-1, 1]}, and "weights" (B, 1, H, W) where some pixels do not count."""
        ...

    def checks(self, count: int) -> Tensor:
        """Pictures (B, 3, H, W) that are never trained on."""
        ...


class RenderedPictures:
    """Renders of the catalogue world without held-out pairs; no picture is drawn twice."""

    def __init__(self, buckets: tuple[Bucket, ...], workers: int = 0) -> None:
        self._buckets, self._pool = buckets, RenderPool(workers)

    def batch(self, turn: Turn, count: int) -> Batch:
        """Pictures of one size, the same size for all processes."""
        shares = [bucket.share for bucket in self._buckets]
        bucket = turn.draw_together().choices(self._buckets, shares)[0]
        return {"images": self._draw(turn.draw().getrandbits(60), count, bucket)}

    def checks(self, count: int) -> Tensor:
        """Renders of the first size."""
        return self._draw(_CHECK_SEED, count, self._buckets[0])

    def _draw(self, seed: int, count: int, bucket: Bucket) -> Tensor:
        rng = Random(seed)  # noqa: S311 - no secret
        return self._pool.draw([sample_scene(rng) for _ in range(count)], rng, bucket)
