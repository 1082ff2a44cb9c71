"""The layers of a Keras model, as TensorFlow.js keeps them, as an ONNX graph.

Only what a MobileNet-like classifier is made of; anything else is refused rather than guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.screens.onnx_file import OnnxGraph

Tensors = Mapping[str, NDArray[np.float32]]
Settings = Mapping[str, Any]


class LayersUnsupported(ValueError):
    """A layer is of a kind, or set in a way, that is not known here."""


def graph_of_layers(config: Settings, tensors: Tensors, *, side: int) -> bytes:
    """An ONNX file from the `config` of a functional Keras model with one input and one output.

    It takes (n, 3, side, side) float32, channels first, and answers (n, classes).
    """
    builder = _Builder(tensors)
    for layer in config["layers"]:
        builder.add(layer["class_name"], layer["config"], _inputs(layer))
    ((last, _, _),) = config["output_layers"]
    return builder.finish(last, side)


def _inputs(layer: Settings) -> list[str]:
    nodes = layer["inbound_nodes"]
    if len(nodes) > 1:
        raise LayersUnsupported(f"{layer['config']['name']} is used more than once")
    return [source[0] for node in nodes for source in node]


class _Builder:
    """Adds one layer after the other; remembers under which name each layer's output goes."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._graph = OnnxGraph("classifier")
        self._outputs: dict[str, str] = {}
        self._kinds: dict[str, Callable[[Settings, list[str]], str]] = {
            "InputLayer": lambda _config, _inputs: "pixels",
            "ZeroPadding2D": self._zero_padding,
            "Conv2D": self._convolution,
            "DepthwiseConv2D": self._depthwise,
            "BatchNormalization": self._batch_norm,
            "ReLU": self._relu,
            "Add": lambda _config, inputs: self._graph.node("Add", *inputs),
            "AveragePooling2D": self._average_pool,
            "Flatten": lambda _config, inputs: self._graph.node("Flatten", *inputs, axis=1),
            "Dropout": lambda _config, inputs: inputs[0],
            "Dense": self._dense,
        }

    def add(self, kind: str, config: Settings, inputs: list[str]) -> None:
        make = self._kinds.get(kind)
        if make is None:
            raise LayersUnsupported(f"layer {config['name']} is a {kind}")
        if config.get("data_format", "channels_last") != "channels_last":
            raise LayersUnsupported(f"layer {config['name']} has its channels first")
        self._outputs[config["name"]] = make(config, [self._outputs[name] for name in inputs])

    def finish(self, last: str, side: int) -> bytes:
        classes = self._tensors[f"{last}/bias"].size
        # The name of a graph's output may be any node's.
        return self._graph.to_bytes(
            source=("pixels", ("n", 3, side, side)), result=(self._outputs[last], ("n", classes))
        )

    def _weight(self, config: Settings, part: str, values: NDArray[np.float32] | None = None) -> str:
        name = f"{config['name']}/{part}"
        return self._graph.constant(name, self._tensors[name] if values is None else values)

    def _zero_padding(self, config: Settings, inputs: list[str]) -> str:
        (top, bottom), (left, right) = config["padding"]
        pads = np.array([0, 0, top, left, 0, 0, bottom, right], dtype=np.int64)
        return self._graph.node("Pad", *inputs, self._graph.constant(f"{config['name']}/pads", pads))

    def _convolution(self, config: Settings, inputs: list[str]) -> str:
        kernel = self._tensors[f"{config['name']}/kernel"].transpose(
            3, 2, 0, 1
        )  # (H, W, I, O) -> (O, I, H, W)
        return self._convolve(config, inputs, self._weight(config, "kernel", kernel), groups=1)

    def _depthwise(self, config: Settings, inputs: list[str]) -> str:
        if config["depth_multiplier"] != 1:
            raise LayersUnsupported(f"layer {config['name']} multiplies its channels")
        kernel = self._tensors[f"{config['name']}/depthwise_kernel"].transpose(
            2, 3, 0, 1
        )  # (H, W, C, 1) -> (C, 1, H, W)
        return self._convolve(
            config, inputs, self._weight(config, "depthwise_kernel", kernel), groups=kernel.shape[0]
        )

    def _convolve(self, config: Settings, inputs: list[str], kernel: str, *, groups: int) -> str:
        plain = (
            config["activation"] == "linear" and not config["use_bias"] and config["dilation_rate"] == [1, 1]
        )
        if not plain:
            raise LayersUnsupported(f"layer {config['name']} is more than a convolution")
        return self._graph.node(
            "Conv", *inputs, kernel, group=groups, strides=config["strides"], pads=_pads(config)
        )

    def _batch_norm(self, config: Settings, inputs: list[str]) -> str:
        names = [self._weight(config, part) for part in ("gamma", "beta", "moving_mean", "moving_variance")]
        return self._graph.node("BatchNormalization", *inputs, *names, epsilon=float(config["epsilon"]))

    def _relu(self, config: Settings, inputs: list[str]) -> str:
        if config["negative_slope"] or config["threshold"]:
            raise LayersUnsupported(f"layer {config['name']} is no plain ReLU")
        limits = [
            self._graph.constant(f"{config['name']}/{end}", np.array(value, dtype=np.float32))
            for end, value in (("least", 0), ("most", config["max_value"]))
        ]
        return self._graph.node("Clip", *inputs, *limits)

    def _average_pool(self, config: Settings, inputs: list[str]) -> str:
        if config["padding"] != "valid":
            raise LayersUnsupported(f"layer {config['name']} pads")
        return self._graph.node(
            "AveragePool", *inputs, kernel_shape=config["pool_size"], strides=config["strides"]
        )

    def _dense(self, config: Settings, inputs: list[str]) -> str:
        product = self._graph.node(
            "Gemm", *inputs, self._weight(config, "kernel"), self._weight(config, "bias")
        )
        if config["activation"] == "softmax":
            return self._graph.node("Softmax", product, axis=1)
        if config["activation"] == "relu":
            return self._graph.node("Relu", product)
        raise LayersUnsupported(f"layer {config['name']} ends in {config['activation']}")


def _pads(config: Settings) -> list[int]:
    """Pixels on each side; "same" is even on both sides only where nothing is skipped."""
    if config["padding"] == "valid":
        return [0, 0, 0, 0]
    if config["strides"] != [1, 1] or any(size % 2 == 0 for size in config["kernel_size"]):
        raise LayersUnsupported(f"layer {config['name']} pads unevenly")
    high, wide = (size // 2 for size in config["kernel_size"])
    return [high, wide, high, wide]
