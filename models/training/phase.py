"""`Phase`: what is particular to one stage of training; `trainer.Trainer` does the rest."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Which batch is wanted: the same turn gives the same batch, on any machine and after any interruption."""

    seed: int
    stage: str
    step: int
    rank: int
    ranks: int

    def draw(self) -> Random:
        """Draws of this process alone."""
        return Random(f"{self.seed} {self.stage} {self.step} {self.rank}")  # noqa: S311 - no secret

    def draw_together(self) -> Random:
        """Draws that all processes share, such as the picture size."""
        return Random(f"{self.seed} {self.stage} {self.step}")  # noqa: S311 - no secret


class Phase(nn.Module, ABC):  # type: ignore[misc]
    """A module that knows its data and its loss; only parameters that require gradients are trained."""

    #: classes of layers that FSDP shards one by one
    sharded_layers: tuple[str, ...] = ()

    @abstractmethod
    def batch(self, turn: Turn) -> Batch:
        """Tensors on the CPU, a function of `turn` alone; "count" says how many pictures it holds, if not the first axis."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """A scalar to be made small; draws noise from torch's generator, which the trainer seeds for each step."""

    @abstractmethod
    def parts(self) -> dict[str, nn.Module]:
        """What is handed to later stages, by name."""

    def forward(self, batch: Batch) -> Tensor:
        """The loss, under the name that wrappers of modules expect."""
        return self.loss(batch)

    def measure(self) -> dict[str, float]:
        """Figures worth following, taken with the averaged weights."""
        return {}

    def samples(self) -> npt.NDArray[np.uint8] | None:
        """A picture of what the averaged weights do now, (H, W, 3), or None."""
        return None


def grid(images: Tensor, columns: int) -> npt.NDArray[np.uint8]:
    """Images (B, 3, H, W) in [-1, 1] side by side, uint8 (rows H, columns W, 3); an unfinished row is filled with white."""
    levels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().cpu()  # (B, 3, H, W)
    rows = -(-len(levels) // columns)
    blank = torch.full((rows * columns - len(levels), *levels.shape[1:]), 255, dtype=torch.uint8)
    tiles = torch.cat([levels, blank]).unflatten(0, (rows, columns))  # (rows, columns, 3, H, W)
    return np.ascontiguousarray(tiles.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2).numpy())
