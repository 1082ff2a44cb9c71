"""A MobileNetV2 with random weights, of the shapes that nsfwjs has: it costs what the real one costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.screens.keras_graph import graph_of_layers

#: Sandler et al. 2018, table 2: expansion, channels out, repeats, first stride.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_DENSE = (256, 128, 5)


def random_mobilenet(side: int = 224, seed: int = 0) -> bytes:
    """An ONNX file that takes (n, 3, side, side) and answers (n, 5)."""
    net = _Net(np.random.default_rng(seed))
    last = net.body()
    config = {"layers": list(net.layers), "output_layers": [[last, 0, 0]]}
    return graph_of_layers(config, net.tensors, side=side)


class _Net:
    def __init__(self, rng: np.random.Generator) -> None:
        self.layers: list[dict[str, Any]] = []
        self.tensors: dict[str, NDArray[np.float32]] = {}
        self._rng = rng

    def body(self) -> str:
        """Adds every layer; returns the name of the last."""
        at = self._add("InputLayer")
        at = self._conv(at, 3, 32, size=3, stride=2)
        channels = 32
        for expansion, out, stride in _blocks():
            at = self._block(at, channels, out, expansion, stride)
            channels = out
        at = self._conv(at, channels, 1280, size=1)
        at = self._add("AveragePooling2D", at, pool_size=[7, 7], strides=[7, 7], padding="valid")
        at, width = self._add("Flatten", at), 1280
        for number, units in enumerate(_DENSE, 1):
            activation = "softmax" if number == len(_DENSE) else "relu"
            at = self._add("Dense", at, activation=activation)
            self.tensors |= {f"{at}/kernel": self._some(width, units), f"{at}/bias": self._some(units)}
            width = units
        return at

    def _block(self, source: str, channels: int, out: int, expansion: int, stride: int) -> str:
        wide = channels * expansion
        at = self._conv(source, channels, wide, size=1) if expansion > 1 else source
        at = self._conv(at, wide, wide, size=3, stride=stride, depthwise=True)
        at = self._conv(at, wide, out, size=1, ends=False)
        return self._add("Add", at, source) if stride == 1 and channels == out else at

    def _conv(
        self,
        source: str,
        channels: int,
        out: int,
        *,
        size: int,
        stride: int = 1,
        depthwise: bool = False,
        ends: bool = True,
    ) -> str:
        if stride == 2:
            source = self._add("ZeroPadding2D", source, padding=[[0, 1], [0, 1]])
        kind, part = ("DepthwiseConv2D", "depthwise_kernel") if depthwise else ("Conv2D", "kernel")
        at = self._add(
            kind, source, strides=[stride] * 2, padding="valid" if stride == 2 else "same", kernel_size=[size] * 2,
            activation="linear", use_bias=False, dilation_rate=[1, 1], depth_multiplier=1,
        )  # fmt: skip
        self.tensors[f"{at}/{part}"] = self._some(size, size, channels, 1 if depthwise else out)
        norm = self._add("BatchNormalization", at, epsilon=0.001)
        self.tensors |= {f"{norm}/{part}": self._some(out) for part in ("gamma", "beta", "moving_mean")}
        self.tensors[f"{norm}/moving_variance"] = np.ones(out, dtype=np.float32)
        return self._add("ReLU", norm, max_value=6, negative_slope=0, threshold=0) if ends else norm

    def _add(self, kind: str, *sources: str, **config: Any) -> str:
        name = f"{kind}_{len(self.layers)}"
        nodes = [[[source, 0, 0, {}] for source in sources]] if sources else []
        self.layers.append({"class_name": kind, "config": {"name": name, **config}, "inbound_nodes": nodes})
        return name

    def _some(self, *shape: int) -> NDArray[np.float32]:
        return self._rng.normal(0, 0.1, shape).astype(np.float32)


def _blocks() -> Iterator[tuple[int, int, int]]:
    for expansion, out, repeats, first in _STAGES:
        for number in range(repeats):
            yield expansion, out, first if number == 0 else 1
