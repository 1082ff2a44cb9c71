"""Layers of a Keras model as an ONNX graph: compared with torch on random weights, unknown settings refused."""

from typing import Any

import numpy as np
import onnxruntime
import pytest

from safety.screens.keras_graph import LayersUnsupported, graph_of_layers

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train
functional = torch.nn.functional

SIDE = 12
RNG = np.random.default_rng(2)


def layer(kind: str, name: str, *inputs: str, **config: Any) -> dict[str, Any]:
    return {
        "class_name": kind,
        "config": {"name": name, **config},
        "inbound_nodes": [[[source, 0, 0, {}] for source in inputs]] if inputs else [],
    }


def convolution(kind: str, name: str, source: str, **changes: Any) -> dict[str, Any]:
    plain = {
        "strides": [1, 1], "padding": "same", "kernel_size": [3, 3], "activation": "linear", "use_bias": False,
        "dilation_rate": [1, 1], "data_format": "channels_last", "depth_multiplier": 1,
    }  # fmt: skip
    return layer(kind, name, source, **plain | changes)


def small_network() -> list[dict[str, Any]]:
    """One of every kind of layer that a MobileNetV2 is made of, a shortcut included."""
    return [
        layer("InputLayer", "in"),
        layer("ZeroPadding2D", "pad", "in", padding=[[0, 1], [0, 1]], data_format="channels_last"),
        convolution("Conv2D", "conv", "pad", strides=[2, 2], padding="valid"),
        layer("BatchNormalization", "norm", "conv", epsilon=0.001, axis=-1),
        layer("ReLU", "relu", "norm", max_value=6, negative_slope=0, threshold=0),
        convolution("DepthwiseConv2D", "depth", "relu"),
        layer("Add", "sum", "depth", "relu"),
        layer("AveragePooling2D", "pool", "sum", pool_size=[6, 6], strides=[6, 6], padding="valid"),
        layer("Flatten", "flat", "pool", data_format="channels_last"),
        layer("Dense", "wide", "flat", activation="relu", units=7, use_bias=True),
        layer("Dropout", "drop", "wide", rate=0.5),
        layer("Dense", "last", "drop", activation="softmax", units=3, use_bias=True),
    ]


def weights() -> dict[str, np.ndarray]:
    def some(*shape: int) -> np.ndarray:
        return RNG.normal(0, 0.5, shape).astype(np.float32)

    return {
        "conv/kernel": some(3, 3, 3, 4), "depth/depthwise_kernel": some(3, 3, 4, 1),
        "norm/gamma": some(4), "norm/beta": some(4) + 1, "norm/moving_mean": some(4), "norm/moving_variance": some(4) ** 2 + 0.1,
        "wide/kernel": some(4, 7), "wide/bias": some(7), "last/kernel": some(7, 3), "last/bias": some(3),
    }  # fmt: skip


def by_torch(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    t = {name: torch.from_numpy(value) for name, value in w.items()}
    y = functional.conv2d(
        functional.pad(torch.from_numpy(x), (0, 1, 0, 1)), t["conv/kernel"].permute(3, 2, 0, 1), stride=2
    )
    y = functional.batch_norm(
        y, t["norm/moving_mean"], t["norm/moving_variance"], t["norm/gamma"], t["norm/beta"], eps=0.001
    )
    y = functional.relu6(y)
    y = y + functional.conv2d(y, t["depth/depthwise_kernel"].permute(2, 3, 0, 1), padding=1, groups=4)
    y = functional.avg_pool2d(y, 6).flatten(1)
    y = functional.relu(y @ t["wide/kernel"] + t["wide/bias"])
    return functional.softmax(y @ t["last/kernel"] + t["last/bias"], dim=1).numpy()


def model(layers: list[dict[str, Any]], tensors: dict[str, np.ndarray]) -> bytes:
    return graph_of_layers({"layers": layers, "output_layers": [["last", 0, 0]]}, tensors, side=SIDE)


def test_it_computes_what_torch_computes() -> None:
    """Random weights, two pictures: the same class probabilities."""
    tensors, x = weights(), RNG.random((2, 3, SIDE, SIDE), dtype=np.float32)
    session = onnxruntime.InferenceSession(
        model(small_network(), tensors), providers=["CPUExecutionProvider"]
    )

    (found,) = session.run(None, {"pixels": x})
    np.testing.assert_allclose(found, by_torch(x, tensors), atol=1e-5)


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (1, {"class_name": "UpSampling2D"}),
        (2, {"config": {"use_bias": True}}),
        (2, {"config": {"activation": "tanh"}}),
        (2, {"config": {"dilation_rate": [2, 2]}}),
        (2, {"config": {"padding": "same"}}),
        (2, {"config": {"data_format": "channels_first"}}),
        (4, {"config": {"negative_slope": 0.1}}),
        (5, {"config": {"depth_multiplier": 2}}),
        (5, {"inbound_nodes": [[["relu", 0, 0, {}]], [["relu", 0, 0, {}]]]}),
        (7, {"config": {"padding": "same"}}),
        (9, {"config": {"activation": "gelu"}}),
    ],
    ids=str,
)
def test_what_is_not_known_is_not_guessed(number: int, change: dict[str, Any]) -> None:
    """A layer of another kind, or set in another way, is refused instead of being converted wrongly."""
    layers = small_network()
    layers[number] = layers[number] | change | {"config": layers[number]["config"] | change.get("config", {})}

    with pytest.raises(LayersUnsupported):
        model(layers, weights())
