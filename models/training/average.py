"""Exponential moving average of weights: what is shipped is the average, not the last step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch


class WeightAverage:
    """Averages a list of parameters; young averages move faster, so that the random start is forgotten."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.weights = [p.detach().clone() for p in self.parameters]

    def update(self, step: int) -> None:
        """Move towards the live weights after optimiser step `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.weights, [p.detach() for p in self.parameters], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the model for the length of a `with` block."""
        live = [p.detach().clone() for p in self.parameters]
        self._write(self.weights)
        try:
            yield
        finally:
            self._write(live)

    def _write(self, values: Sequence[torch.Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)
