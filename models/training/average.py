"""Exponential moving average of weights: what is shipped is the average, not the last step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor


class WeightAverage:
    """Averages a list of parameters; young averages move faster, so that the random start is forgotten.

    Of parameters that are sharded over processes each process averages its own shard.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.weights = [_local(p).clone() for p in self.parameters]
        #: whether the weights are this process's shards only
        self.sharded = any(hasattr(p, "to_local") or hasattr(p, "ds_tensor") for p in self.parameters)

    def update(self, step: int) -> None:
        """Move towards the live weights after optimiser step `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.weights, [_local(p) for p in self.parameters], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the model for the length of a `with` block."""
        live = [_local(p).clone() for p in self.parameters]
        self.write(self.weights)
        try:
            yield
        finally:
            self.write(live)

    def write(self, values: Sequence[Tensor]) -> None:
        """Overwrite the parameters of the model."""
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                _local(parameter).copy_(value)


def _local(parameter: torch.nn.Parameter) -> Tensor:
    """This process's part of a parameter, sharing its memory."""
    value: Any = parameter.detach()
    if hasattr(parameter, "ds_tensor"):  # DeepSpeed ZeRO-3 keeps the shard beside an empty parameter
        value = parameter.ds_tensor.detach()
    elif hasattr(value, "to_local"):  # FSDP2
        value = value.to_local()
    return cast(Tensor, value)
