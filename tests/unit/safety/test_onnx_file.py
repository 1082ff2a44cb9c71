"""ONNX files without the onnx package: what its own reader says about them."""

import numpy as np
import onnx
import onnxruntime
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from safety.screens.onnx_file import OnnxGraph


def scaled_sum(weights: np.ndarray, *, axis: int = -1) -> bytes:
    """softmax(x @ weights) along an axis."""
    graph = OnnxGraph("small")
    product = graph.node("MatMul", "x", graph.constant("weights", weights))
    result = graph.node("Softmax", product, axis=axis)
    return graph.to_bytes(source=("x", ("n", weights.shape[0])), result=(result, ("n", weights.shape[1])))


def test_the_checker_accepts_it() -> None:
    """A graph with every kind of attribute passes onnx's full check, shapes included."""
    graph = OnnxGraph("kinds")
    pads = graph.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], dtype=np.int64))
    padded = graph.node("Pad", "x", pads, mode="edge")
    kernel = graph.constant("kernel", np.ones((2, 3, 3, 3), dtype=np.float32))
    convolved = graph.node("Conv", padded, kernel, strides=[2, 2], group=1)
    result = graph.node("LeakyRelu", convolved, alpha=0.25)
    model = onnx.load_from_string(
        graph.to_bytes(source=("x", ("n", 3, 7, 7)), result=(result, ("n", 2, 4, 4)))
    )

    onnx.checker.check_model(model, full_check=True)
    attributes = {
        each.name: onnx.helper.get_attribute_value(each)
        for node in model.graph.node
        for each in node.attribute
    }
    assert attributes == {"mode": b"edge", "strides": [2, 2], "group": 1, "alpha": 0.25}


def test_it_computes() -> None:
    """ONNX Runtime runs it, for any number of rows, and a negative axis survives."""
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    session = onnxruntime.InferenceSession(scaled_sum(weights), providers=["CPUExecutionProvider"])
    x = np.array([[1, 2], [0.5, -1], [0, 0]], dtype=np.float32)

    (found,) = session.run(None, {"x": x})
    powers = np.exp(x @ weights)
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)


@given(
    # An empty list is a scalar, which must not become a list of one.
    st.lists(st.integers(1, 400), min_size=0, max_size=3),
    st.sampled_from(["float32", "int64"]),
    st.integers(0, 2**32 - 1),
)
def test_constants_come_back(shape: list[int], kind: str, seed: int) -> None:
    """Constants of any shape are read by onnx as they were written, negative numbers included."""
    shape = shape if np.prod(shape, initial=1) < 50_000 else shape[:1]
    values = np.random.default_rng(seed).integers(-(2**40), 2**40, shape).astype(kind)
    graph = OnnxGraph("constants")
    result = graph.node("Identity", "x")
    graph.constant("values", values)
    model = onnx.load_from_string(graph.to_bytes(source=("x", (1,)), result=(result, (1,))))

    (found,) = model.graph.initializer
    read = numpy_helper.to_array(found)
    assert read.shape == values.shape
    np.testing.assert_array_equal(read, values)


def test_the_same_graph_is_the_same_file() -> None:
    """A file is known by its digest, so nothing in it may depend on time or order of a dict."""
    weights = np.ones((4, 4), dtype=np.float32)

    assert scaled_sum(weights) == scaled_sum(weights.copy(order="F"))
