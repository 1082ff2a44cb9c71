"""Export a diffusers folder to ONNX, check it in ONNX Runtime, quantise its transformer to INT8.

python -m models.training.export models/starter [--fp32-transformer]
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from models.errors import ModelError
from models.positions import position_table
from models.runtime import COMPONENT_ARRAYS, Array, Component
from models.training.graphs import load_graph
from models.training.onnx_traces import remove_traces

OPSET = 20
#: largest allowed error of the exported graph, relative to the largest value of the torch result
TOLERANCE = 1e-4

_DYNAMIC: Mapping[Component, tuple[tuple[int, ...], ...]] = {
    "text_encoder": ((0, 1), (0, 1)),
    "transformer": ((0, 2, 3), (0,), (0, 1), (0, 1), (1,)),
    "vae_decoder": ((0, 2, 3),),
}


class ExportMismatch(ModelError):
    """The exported graph does not compute what the torch module computes."""


def main() -> None:
    """Export all three networks of a folder into its `onnx/`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--fp32-transformer", action="store_true", help="keep the unquantised transformer, 16 MB"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    export_folder(args.folder, args.fp32_transformer)


def export_folder(folder: Path, keep_fp32: bool = False) -> None:
    """Write `onnx/{text_encoder,vae_decoder,transformer.int8}.onnx`, and `transformer.fp32.onnx` if asked.

    Raises:
        ExportMismatch: an exported graph differs from its torch module.
    """
    target = folder / "onnx"
    target.mkdir(exist_ok=True)
    for component in ("text_encoder", "vae_decoder"):
        export_graph(load_graph(folder, component), component, target / f"{component}.onnx")
    fp32 = target / "transformer.fp32.onnx"
    export_graph(load_graph(folder, "transformer"), "transformer", fp32)
    quantise(fp32, target / "transformer.int8.onnx")
    if not keep_fp32:
        fp32.unlink()


def export_graph(graph: nn.Module, component: Component, path: Path) -> float:
    """Export one network with all batch, text and picture sizes free, and compare on other sizes than it was traced with.

    Returns:
        The largest relative error seen.
    """
    inputs, outputs = (list(names) for names in COMPONENT_ARRAYS[component])
    free = tuple(dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in _DYNAMIC[component])
    with torch.no_grad():
        program = torch.export.export(
            graph,
            example_inputs(graph, component, batch=2, tokens=5, rows=6, columns=10),
            dynamic_shapes=free,
            strict=False,
            # the number of positions equals rows x columns: checked when it runs, since the exporter cannot prove it
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    torch.onnx.export(
        program, (), str(path), dynamo=True, input_names=inputs, output_names=outputs,
        external_data=False, opset_version=OPSET, verbose=False,
    )  # fmt: skip
    remove_traces(path)
    return check_parity(graph, component, path)


def check_parity(graph: nn.Module, component: Component, path: Path) -> float:
    """Run the file and the module on three shapes; the largest relative error, or `ExportMismatch`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, tokens, rows, columns in ((1, 1, 8, 8), (2, 9, 10, 6), (3, 4, 6, 10)):
        arrays = example_inputs(graph, component, batch, tokens, rows, columns)
        with torch.no_grad():
            expected = graph(*arrays).numpy()
        names = COMPONENT_ARRAYS[component][0]
        actual: Array = session.run(None, {n: a.numpy() for n, a in zip(names, arrays, strict=True)})[0]
        worst = max(worst, float(np.abs(actual - expected).max() / np.abs(expected).max()))
    if not worst <= TOLERANCE:
        raise ExportMismatch(f"{path.name} differs from torch by {worst:.1e}, more than {TOLERANCE:.0e}")
    return worst


def quantise(source: Path, target: Path) -> None:
    """Dynamic INT8 of the matrix products, weights per channel; activations take their scale as they come."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_dynamic(
            str(prepared), str(target), weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
        )  # fmt: skip


def example_inputs(
    graph: nn.Module, component: Component, batch: int, tokens: int, rows: int, columns: int
) -> tuple[torch.Tensor, ...]:
    """Random inputs of one shape; `rows` and `columns` count patches of two latent cells."""
    part = cast(Any, graph)
    mask = torch.ones(batch, tokens)
    mask[0, (tokens + 1) // 2 :] = 0
    if component == "text_encoder":
        return torch.randint(0, part.encoder.config.vocab_size, (batch, tokens)), mask.long()
    if component == "vae_decoder":
        return (torch.randn(batch, part.autoencoder.config.latent_channels, 2 * rows, 2 * columns),)
    config = part.model.config
    patch, width = config.patch_size, config.num_attention_heads * config.attention_head_dim
    table = position_table(rows, columns, width, config.sample_size // patch)
    sample = torch.randn(batch, config.in_channels, rows * patch, columns * patch)
    text = torch.randn(batch, tokens, config.caption_channels)
    return sample, torch.rand(batch), text, mask, torch.from_numpy(table)


if __name__ == "__main__":
    main()
