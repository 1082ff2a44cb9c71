"""Data-parallel training over processes with one thread each.

On a CPU two processes of one thread beat one process of two: OpenMP barriers cost more than an all-reduce.
"""

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist


class Ranks:
    """This process's place among its siblings; alone when not started by `torchrun`."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        if self.world > 1:
            dist.init_process_group("gloo")

    @property
    def leads(self) -> bool:
        """True in the one process that logs and saves."""
        return self.rank == 0

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter], value: float) -> float:
        """Replace each gradient by its mean over the ranks, in one message; return the mean of `value`.

        The value that rides along is the share of the time budget used: ranks that agree on it stop at the same step.
        """
        if self.world == 1:
            return value
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([g.reshape(-1) for g in gradients] + [torch.tensor([value])])
        dist.all_reduce(flat)
        flat /= self.world
        for parameter, mean in zip(parameters, flat[:-1].split([g.numel() for g in gradients]), strict=True):
            parameter.grad = mean.view_as(parameter).clone()
        return float(flat[-1])

    def close(self) -> None:
        """Leave the process group."""
        if self.world > 1:
            dist.destroy_process_group()
