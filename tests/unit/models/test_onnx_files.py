"""What is done to an exported ONNX file changes its size, not what it computes."""

from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is part of the [test] extra")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - only where onnx is installed

from models.runtimes.onnx import AdaptableSession  # noqa: E402
from models.training.onnx_adapters import remove_adapters  # noqa: E402
from models.training.onnx_weights import halve_weights, share_weights  # noqa: E402

WIDTH = 32
RNG = np.random.default_rng(0)
EXACT = RNG.integers(-100, 100, (WIDTH, WIDTH)).astype(np.float32) / 8  # survives in float16
FINE = RNG.standard_normal((WIDTH, WIDTH)).astype(np.float32)  # does not


def write_graph(path: Path, weights: dict[str, np.ndarray], adapted: bool = False) -> None:
    """One product after the other, each with a place for an adapter if asked."""
    nodes, hidden = [], "sample"
    for i, name in enumerate(weights):
        nodes.append(helper.make_node("MatMul", [hidden, name], [f"plain{i}"]))
        hidden = f"plain{i}"
        if adapted:
            nodes += [
                helper.make_node(
                    "MatMul", ["sample" if i == 0 else f"sum{i - 1}", "adapter_down"], [f"low{i}"]
                ),
                helper.make_node("MatMul", [f"low{i}", "adapter_up"], [f"added{i}"]),
                helper.make_node("Add", [f"plain{i}", f"added{i}"], [f"sum{i}"]),
            ]
            hidden = f"sum{i}"
    nodes.append(helper.make_node("Identity", [hidden], ["velocity"]))
    inputs = {"sample": [None, WIDTH]}
    if adapted:
        inputs |= {"adapter_down": [WIDTH, "R"], "adapter_up": ["R", WIDTH]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("velocity", TensorProto.FLOAT, [None, WIDTH])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def run(path: Path, **arrays: np.ndarray) -> np.ndarray:
    import onnxruntime

    result: np.ndarray = onnxruntime.InferenceSession(str(path)).run(None, arrays)[0]
    return result


def test_halved_weights_compute_the_same(tmp_path: Path) -> None:
    """Weights that float16 holds exactly take half the bytes, others none less; the result has the same bits."""
    path, x = tmp_path / "a.onnx", RNG.standard_normal((3, WIDTH)).astype(np.float32)
    write_graph(path, {"exact": EXACT, "fine": FINE, "exact2": EXACT + 1})
    before, size = run(path, sample=x), path.stat().st_size

    saved = halve_weights(path)

    assert 2 * EXACT.nbytes // 2 == saved
    assert size - path.stat().st_size > 0.9 * saved
    assert before.tobytes() == run(path, sample=x).tobytes()
    kept = {
        weight.name for weight in onnx.load(path).graph.initializer if weight.data_type == TensorProto.FLOAT
    }
    assert {"fine"} == kept


def test_shared_weights_are_stored_once(tmp_path: Path) -> None:
    """Two graphs over equal weights compute what they did, and the file beside them holds each weight once."""
    one, two, target = tmp_path / "one.onnx", tmp_path / "two.onnx", tmp_path / "both.weights"
    x = RNG.standard_normal((3, WIDTH)).astype(np.float32)
    write_graph(one, {"a": EXACT, "b": FINE})
    write_graph(two, {"other_name": FINE, "c": FINE + 1})
    before = [run(path, sample=x).tobytes() for path in (one, two)]

    share_weights([one, two], target)

    assert before == [run(path, sample=x).tobytes() for path in (one, two)]
    assert 3 * FINE.nbytes == target.stat().st_size
    assert max(path.stat().st_size for path in (one, two)) < 1000


def test_a_graph_without_adapters_is_the_same_graph(tmp_path: Path) -> None:
    """Cut out, adapters of rank 0 were never there: same bits, fewer inputs, no node left over."""
    source, target = tmp_path / "adapted.onnx", tmp_path / "plain.onnx"
    x = RNG.standard_normal((3, WIDTH)).astype(np.float32)
    write_graph(source, {"a": EXACT, "b": FINE}, adapted=True)
    none = {"adapter_down": np.zeros((WIDTH, 0), np.float32), "adapter_up": np.zeros((0, WIDTH), np.float32)}

    remove_adapters(source, target)

    assert run(source, sample=x, **none).tobytes() == run(target, sample=x).tobytes()
    graph = onnx.load(target).graph
    assert ["sample"] == [entry.name for entry in graph.input]
    assert ["MatMul", "MatMul", "Identity"] == [node.op_type for node in graph.node]


def test_the_graph_with_adapters_is_opened_once_and_only_when_needed() -> None:
    """Images without an adapter never open it; many threads that need it at once share one."""
    opened: list[str] = []

    def plain(**arrays: Any) -> dict[str, str]:
        return {"velocity": "plain"}

    def open_adapted() -> Any:
        opened.append("adapted")
        return lambda **arrays: {"velocity": "adapted"}

    session = AdaptableSession(plain, open_adapted)  # type: ignore[arg-type]
    none, some = np.zeros((1, 2, 4, 0)), np.zeros((1, 2, 4, 3))
    assert {"velocity": "plain"} == session(adapter_down=none)
    assert [] == opened

    together, results = Barrier(8), list[Any]()

    def use() -> None:
        together.wait()
        results.append(session(adapter_down=some))

    threads = [Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [{"velocity": "adapted"}] * 8 == results
    assert ["adapted"] == opened
    assert {"velocity": "plain"} == session(adapter_down=none)
