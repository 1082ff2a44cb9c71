"""Mean and deviation of each latent channel, so that the transformer sees latents of unit variance."""

from typing import Self

import torch
from torch import Tensor, nn

_SAMPLE = 8000


class LatentStatistics(nn.Module):  # type: ignore[misc]
    """Kept as buffers, so that a checkpoint holds the very numbers its latents were normalised with; (C,) each."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("deviation", deviation.clone())

    @classmethod
    def of(cls, latents: Tensor) -> Self:
        """Measured on the first 8 000 latents (N, C, h, w)."""
        sample = latents[:_SAMPLE].float()
        return cls(sample.mean((0, 2, 3)), sample.std((0, 2, 3)))

    @classmethod
    def blank(cls, channels: int) -> Self:
        """Statistics that change nothing."""
        return cls(torch.zeros(channels), torch.ones(channels))

    def normalise(self, latents: Tensor) -> Tensor:
        """Latents (N, C, h, w) to zero mean and unit variance per channel, float32."""
        return (latents.float() - self.mean.view(1, -1, 1, 1)) / self.deviation.view(1, -1, 1, 1)

    def restore(self, latents: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return latents * self.deviation.view(1, -1, 1, 1) + self.mean.view(1, -1, 1, 1)
