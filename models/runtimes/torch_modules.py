"""Torch sessions over a diffusers folder: the reference the other runtimes are compared with.

torch is imported inside the functions only: the core install does not have it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from models.errors import ModelCorrupt, PrecisionMissing, RuntimeMissing
from models.runtime import COMPONENT_ARRAYS, Array, Component, Precision


class TorchSession:
    """One torch module; takes and gives numpy arrays."""

    def __init__(self, module: Any, component: Component) -> None:
        self._module = module
        self._inputs, self._outputs = (list(names) for names in COMPONENT_ARRAYS[component])

    def __call__(self, **arrays: Array) -> dict[str, Array]:
        """Run the network; names and shapes as in `models.runtime.COMPONENT_ARRAYS`."""
        import torch

        with torch.inference_mode():
            result = self._module(
                *[torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in self._inputs]
            )
        return {self._outputs[0]: result.numpy()}


class TorchRuntime:
    """Loads the modules of a diffusers folder in fp32."""

    def __init__(self, folder: Path, precision: Precision = "fp32", threads: int = 1) -> None:
        if precision != "fp32":
            raise PrecisionMissing(f"the torch runtime has fp32 only, not {precision}")
        self._folder, self._threads = folder, threads

    def load(self, component: Component) -> TorchSession:
        """Open one component.

        Raises:
            RuntimeMissing: torch, diffusers or transformers is not installed.
            ModelCorrupt: diffusers or transformers refuses the files.
        """
        try:
            import torch

            from models.training.graphs import load_graph
        except ImportError as error:
            raise RuntimeMissing("the torch runtime needs the [train] extra") from error
        torch.set_num_threads(self._threads)
        try:
            return TorchSession(load_graph(self._folder, component), component)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelCorrupt(component, f"torch cannot open it: {error}") from error
