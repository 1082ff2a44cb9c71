"""Export a diffusers folder to ONNX, check it in ONNX Runtime, quantise its transformer to INT8.

Adapters are inputs of the graph and so never quantised: only products with a constant on one side are.

python -m models.training.export models/starter [--fp32-transformer]
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from models.adapters import ADAPTER_TARGETS
from models.errors import ModelError
from models.networks.transformer import CONTROL_FOLD
from models.positions import position_table
from models.runtime import COMPONENT_ARRAYS, Array, Component
from models.training.graphs import load_graph
from models.training.onnx_adapters import remove_adapters
from models.training.onnx_traces import remove_traces
from models.training.onnx_weights import halve_weights, share_weights
from models.training.progress import say

OPSET = 20
#: largest allowed error of the exported graph, relative to the largest value of the torch result
TOLERANCE = 1e-4

_DYNAMIC: Mapping[Component, tuple[tuple[int, ...], ...]] = {
    "text_encoder": ((0, 1), (0, 1)),
    "transformer": ((0, 2, 3), (0,), (0, 1), (0, 1), (1,), (0, 2, 3), (3,), (2,)),
    "vae_encoder": ((0, 2, 3),),
    "vae_decoder": ((0, 2, 3),),
}


class ExportMismatch(ModelError):
    """The exported graph does not compute what the torch module computes."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written: each file and its largest error, relative to the largest value of the torch result."""

    errors: Mapping[str, float]


def main() -> None:
    """Export all networks of a folder into its `onnx/`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--fp32-transformer", action="store_true", help="keep the unquantised transformer, 8 MB"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, error in export_folder(args.folder, args.fp32_transformer).errors.items():
        say(f"{name}: differs from torch by {error:.1e}")


def export_folder(folder: Path, keep_fp32: bool = False) -> Exported:
    """Write all networks into `onnx/`, the transformer in INT8 and, if asked, in fp32 as well.

    The transformer becomes two graphs, with and without adapters, that share one file of weights.

    Raises:
        ExportMismatch: an exported graph differs from its torch module.
    """
    target = folder / "onnx"
    target.mkdir(exist_ok=True)
    errors: dict[str, float] = {}
    plain: tuple[Component, ...] = ("text_encoder", "vae_encoder", "vae_decoder")
    for component in plain:
        path = target / f"{component}.onnx"
        errors[path.name] = export_graph(load_graph(folder, component), component, path)
    transformer = load_graph(folder, "transformer")
    adapted, bare = target / "transformer.adapters.fp32.onnx", target / "transformer.fp32.onnx"
    errors[adapted.name] = export_graph(transformer, "transformer", adapted)
    remove_adapters(adapted, bare)
    errors[bare.name] = check_parity(transformer, "transformer", bare)
    for source in (adapted, bare):
        small = source.with_name(source.name.replace("fp32", "int8"))
        quantise(source, small)
        errors[small.name] = largest_error(transformer, "transformer", small)
        halve_weights(small)
    for precision in ("int8", "fp32"):
        _share(target, precision)
    if not keep_fp32:
        for path in target.glob("transformer*.fp32.*"):
            path.unlink()
    return Exported(errors=errors)


def _share(target: Path, precision: str) -> None:
    graphs = [target / f"transformer.{precision}.onnx", target / f"transformer.adapters.{precision}.onnx"]
    share_weights(graphs, target / f"transformer.{precision}.weights")


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
            example_inputs(graph, component, batch=2, tokens=5, rows=6, columns=10, rank=3),
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
    halve_weights(path)
    return check_parity(graph, component, path)


def check_parity(graph: nn.Module, component: Component, path: Path) -> float:
    """The `largest_error`, or `ExportMismatch` where it is above the tolerance."""
    worst = largest_error(graph, component, path)
    if not worst <= TOLERANCE:
        raise ExportMismatch(f"{path.name} differs from torch by {worst:.1e}, more than {TOLERANCE:.0e}")
    return worst


def largest_error(graph: nn.Module, component: Component, path: Path) -> float:
    """Run the file and the module on three shapes; the largest relative error.

    Adapters are of rank 0 in the first shape, and in all where the graph takes none.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    known = [entry.name for entry in session.get_inputs()]
    takes_adapters = "adapter_down" in known
    worst = 0.0
    for batch, tokens, rows, columns, rank in ((1, 1, 8, 8, 0), (2, 9, 10, 6, 3), (3, 4, 6, 10, 1)):
        arrays = example_inputs(graph, component, batch, tokens, rows, columns, rank * takes_adapters)
        with torch.no_grad():
            expected = graph(*arrays).numpy()
        named = zip(COMPONENT_ARRAYS[component][0], arrays, strict=True)
        actual: Array = session.run(None, {name: array.numpy() for name, array in named if name in known})[0]
        worst = max(worst, float(np.abs(actual - expected).max() / np.abs(expected).max()))
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
    graph: nn.Module, component: Component, batch: int, tokens: int, rows: int, columns: int, rank: int
) -> tuple[torch.Tensor, ...]:
    """Random inputs of one shape; `rows` and `columns` count patches of two latent cells."""
    part = cast(Any, graph)
    mask = torch.ones(batch, tokens)
    mask[0, (tokens + 1) // 2 :] = 0
    if component == "text_encoder":
        return torch.randint(0, part.encoder.config.vocab_size, (batch, tokens)), mask.long()
    if component == "vae_encoder":
        return (torch.rand(batch, 3, 16 * rows, 16 * columns) * 2 - 1,)
    if component == "vae_decoder":
        return (torch.randn(batch, part.autoencoder.config.latent_channels, 2 * rows, 2 * columns),)
    config = part.model.config
    patch, width = config.patch_size, config.num_attention_heads * config.attention_head_dim
    places = config.num_layers * len(ADAPTER_TARGETS)
    table = position_table(rows, columns, width, config.sample_size // patch)
    return (
        torch.randn(batch, config.in_channels, rows * patch, columns * patch),
        torch.rand(batch),
        torch.randn(batch, tokens, config.caption_channels),
        mask,
        torch.from_numpy(table),
        (torch.rand(batch, CONTROL_FOLD**2, rows * patch, columns * patch) < 0.1).float(),
        torch.randn(1, places, width, rank) / width**0.5,
        torch.randn(1, places, rank, width) * 0.1,
    )


if __name__ == "__main__":
    main()
