"""How weights are stored in ONNX files: in half the bytes where that loses nothing, and once for graphs that share them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

#: bytes below which a weight is left as it is: a node per scalar would cost more than it saves
_WORTHWHILE_BYTES = 1024
#: so that a runtime may map the file instead of reading it
_ALIGNMENT = 4096


def halve_weights(path: Path) -> int:
    """Store float32 weights as float16 with a Cast behind each, wherever every number survives the way there and back.

    A folder trained here holds float16, so nearly all of them do. ONNX Runtime folds the Casts when it opens the file:
    the picture and the speed stay what they were.

    Returns:
        Bytes saved.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    casts, saved = [], 0
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if values.nbytes < _WORTHWHILE_BYTES or not np.array_equal(halves.astype(np.float32), values):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(halves, f"{name}.half"))
        casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
        saved += halves.nbytes
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    return saved


def share_weights(paths: Sequence[Path], target: Path) -> None:
    """Move the weights of several ONNX files of one folder into one file beside them, equal ones once."""
    import onnx
    from onnx.external_data_helper import set_external_data

    places: dict[str, int] = {}
    data = bytearray()
    for path in paths:
        model = onnx.load(path)
        for weight in model.graph.initializer:
            raw = onnx.numpy_helper.to_array(weight).tobytes()
            if len(raw) < _WORTHWHILE_BYTES:
                continue
            key = hashlib.sha256(raw).hexdigest()
            if key not in places:
                data.extend(bytes(-len(data) % _ALIGNMENT))
                places[key] = len(data)
                data.extend(raw)
            weight.ClearField("float_data")
            weight.ClearField("int32_data")
            weight.ClearField("int64_data")
            weight.raw_data = raw
            set_external_data(weight, target.name, places[key], len(raw))
            weight.ClearField("raw_data")
        onnx.save(model, path)
    target.write_bytes(data)
