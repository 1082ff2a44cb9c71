"""What is served computes what was trained: torch, peft and ONNX agree, with and without control and adapters."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is part of the [train] extra")
pytest.importorskip("diffusers", reason="diffusers is part of the [train] extra")
pytest.importorskip("peft", reason="peft is part of the [train] extra")

import torch

from models.adapters import ADAPTER_TARGETS, WEIGHTS_FILE, Adapter, AdapterCard, WeightedAdapter, read_adapter
from models.card import ModelCard, file_sha256
from models.networks.autoencoder import build_autoencoder
from models.networks.text import build_text_encoder, build_tokenizer
from models.networks.transformer import ControlPixArt, build_transformer, predict_velocity
from models.pipeline import Control, RenderedImage, Shot, TextToImage
from models.runtime import COMPONENT_ARRAYS
from models.training.export import TOLERANCE, example_inputs, export_folder
from models.training.graphs import TransformerGraph, load_graph
from models.training.pack import write_folder

pytestmark = pytest.mark.train

WIDTH, LAYERS, RANK = 32, 2, 4
SIDE = 64


def tiny_transformer() -> ControlPixArt:
    """Random weights in every layer, also in those that start at zero."""
    torch.manual_seed(0)
    model = build_transformer(
        width=WIDTH, layers=LAYERS, head_width=16, patch=2, channels=4, text_width=32, sample_size=8
    )
    torch.nn.init.normal_(model.proj_out.weight, std=0.1)
    torch.nn.init.normal_(model.control_embed.weight, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained model as it ships: diffusers layout, ONNX files, card."""
    place = tmp_path_factory.mktemp("tiny")
    tokenizer = build_tokenizer()
    text = build_text_encoder(width=32, layers=1, vocabulary_size=len(tokenizer))
    write_folder(place, build_autoencoder(4, (8, 16)), tiny_transformer(), text, tokenizer)
    exported = export_folder(place, keep_fp32=True)
    assert max(error for name, error in exported.errors.items() if "int8" not in name) <= TOLERANCE
    assert max(exported.errors.values()) < 0.1
    (place / "aquatint.json").write_text(json.dumps(card_of(place)))
    return place


def card_of(place: Path) -> dict[str, object]:
    files = {
        path.relative_to(place).as_posix(): file_sha256(path)
        for path in place.rglob("*")
        if path.suffix in (".onnx", ".weights", ".json", ".safetensors")
    }
    return {
        "name": "tiny", "version": "1", "family": "pixart", "licence": "Apache-2.0", "description": "",
        "domain": "closed", "domain_note": "", "sizes": [[SIDE, SIDE]],
        "steps": {"minimum": 1, "maximum": 9, "default": 2}, "guidance": {"maximum": 5.0, "default": 1.0, "folded": True},
        "max_prompt_tokens": 48,
        "features": ["image_to_image", "inpainting", "control:edges", "control:sketch", "adapters"],
        "adapters": {"targets": ADAPTER_TARGETS, "layers": LAYERS, "width": WIDTH},
        "flow": {"channels": 4, "pixels_per_cell": 8, "patch": 2, "shift": 1.5, "sampler": "dpmpp_2m",
                 "position_width": WIDTH, "position_span": 4},
        "costs": {"fixed_seconds": 0, "image_seconds": 1, "step_seconds": 0.1, "measured_on": "paper"},
        "files": files,
    }  # fmt: skip


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (3, 5), (5, 3)])
@pytest.mark.parametrize("has_control", [True, False])
def test_the_graph_is_the_trained_network(rows: int, columns: int, has_control: bool) -> None:
    """The spelt-out transformer without adapters equals the one that is trained, whose position table diffusers computes."""
    graph = TransformerGraph(tiny_transformer())
    sample, sigma, text, mask, positions, control, down, up = example_inputs(
        graph, "transformer", 2, 5, rows, columns, rank=0
    )
    control = control * has_control
    edges = torch.nn.functional.pixel_shuffle(control, 8)

    with torch.no_grad():
        ours = graph(sample, sigma, text, mask, positions, control, down, up)
        trained = predict_velocity(
            tiny_transformer(), sample, sigma, text, mask, edges if has_control else None
        )

    assert torch.allclose(ours, trained, atol=1e-5)


def lora(folder: Path, place: Path) -> tuple[Adapter, ControlPixArt]:
    """An adapter as peft and diffusers save it, and the model that wears it."""
    from peft import LoraConfig

    model = ControlPixArt.from_pretrained(folder, subfolder="transformer", dtype=torch.float32).eval()
    torch.manual_seed(1)
    names = [name for name, _ in model.named_modules() if name.endswith(ADAPTER_TARGETS)]
    assert len(names) == LAYERS * len(ADAPTER_TARGETS)
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=2 * RANK, init_lora_weights=False, target_modules=names))
    model.save_lora_adapter(place, weight_name=WEIGHTS_FILE)
    weights = (place / WEIGHTS_FILE).read_bytes()
    base = ModelCard.model_validate_json((folder / "aquatint.json").read_text())
    card = AdapterCard(
        name="acme", base_model="tiny", base_digest=base.base_digest, rank=RANK, alpha=2 * RANK,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )  # fmt: skip
    return read_adapter(card.to_bytes(), weights, base), model


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_a_served_adapter_does_what_peft_does(folder: Path, tmp_path: Path, runtime: str) -> None:
    """The same file gives the same velocity through the graph's inputs as through peft's layers, within 1e-4."""
    import onnxruntime

    adapter, worn = lora(folder, tmp_path)
    graph = load_graph(folder, "transformer")
    sample, sigma, text, mask, positions, control, _, _ = example_inputs(
        graph, "transformer", 1, 5, 4, 4, rank=0
    )
    inputs = [sample, sigma, text, mask, positions, control]
    arrays = [*(one.numpy() for one in inputs), adapter.down[None], adapter.up[None]]
    with torch.no_grad():
        expected = predict_velocity(
            worn, sample, sigma, text, mask, torch.nn.functional.pixel_shuffle(control, 8)
        )
        if runtime == "torch":
            actual = graph(*(torch.from_numpy(array) for array in arrays)).numpy()
        else:
            session = onnxruntime.InferenceSession(str(folder / "onnx" / "transformer.adapters.fp32.onnx"))
            names = [entry.name for entry in session.get_inputs()]
            (actual,) = session.run(None, dict(zip(names, arrays, strict=True)))

    scale = float(expected.abs().max())
    assert np.abs(actual - expected.numpy()).max() / scale < 1e-4


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("int8", 0.02)])
def test_no_adapter_is_no_change(folder: Path, precision: str, tolerance: float) -> None:
    """Rank 0 and an adapter of zeros give the same bits, and what the graph without adapters gives; a real one does not.

    The two graphs may add in another order; in INT8 a last bit can then move a value to the next level.
    """
    import onnxruntime

    def opened(name: str) -> Any:
        return onnxruntime.InferenceSession(str(folder / "onnx" / f"{name}.{precision}.onnx"))

    bare, adapted = opened("transformer"), opened("transformer.adapters")
    graph = load_graph(folder, "transformer")
    tensors = example_inputs(graph, "transformer", 1, 5, 4, 4, rank=3)
    arrays = dict(
        zip(COMPONENT_ARRAYS["transformer"][0], (tensor.numpy() for tensor in tensors), strict=True)
    )
    plain = {name: array for name, array in arrays.items() if not name.startswith("adapter_")}

    def run(rank: int, strength: float) -> np.ndarray:
        down, up = (
            arrays["adapter_down"][..., :rank],
            arrays["adapter_up"][..., :rank, :] * np.float32(strength),
        )
        result: np.ndarray = adapted.run(None, {**arrays, "adapter_down": down, "adapter_up": up})[0]
        return result

    assert set(plain) == {entry.name for entry in bare.get_inputs()}
    without, none = bare.run(None, plain)[0], run(0, 1)
    assert none.tobytes() == run(3, 0).tobytes()
    assert np.abs(without - none).max() <= tolerance * np.abs(none).max()
    assert np.abs(run(3, 30) - none).max() > 0.1 * np.abs(none).max()


def test_both_graphs_read_one_file_of_weights(folder: Path) -> None:
    """Adapters cost no second copy on disk."""
    onnx_folder = folder / "onnx"
    graphs = [onnx_folder / "transformer.int8.onnx", onnx_folder / "transformer.adapters.int8.onnx"]

    assert all(b"transformer.int8.weights" in graph.read_bytes() for graph in graphs)
    parts = sum(parameter.numel() for parameter in tiny_transformer().parameters())
    assert (onnx_folder / "transformer.int8.weights").stat().st_size < 4 * parts + 4096 * 200


def test_quantisation_leaves_adapters_alone(folder: Path) -> None:
    """The INT8 graph quantises nothing that comes from an adapter's inputs."""
    import onnx

    model = onnx.load(folder / "onnx" / "transformer.adapters.int8.onnx")
    makers = {output: node for node in model.graph.node for output in node.output}

    def reaches_adapter(name: str, depth: int = 0) -> bool:
        if name.startswith("adapter_"):
            return True
        if name not in makers or depth > 6 or makers[name].op_type not in PASSING:
            return False
        return any(reaches_adapter(source, depth + 1) for source in makers[name].input)

    quantised = [
        node for node in model.graph.node if node.op_type in ("MatMulInteger", "DynamicQuantizeLinear")
    ]
    plain = [node for node in model.graph.node if node.op_type == "MatMul"]

    assert not any(reaches_adapter(name) for node in quantised for name in node.input)
    assert 2 * LAYERS * len(ADAPTER_TARGETS) == sum(reaches_adapter(node.input[1]) for node in plain)


PASSING = (
    "Slice",
    "Split",
    "Squeeze",
    "Gather",
    "Unsqueeze",
    "Reshape",
    "Transpose",
    "SplitToSequence",
    "SequenceAt",
    "Cast",
)


def test_a_folder_renders_all_features_alike_on_both_runtimes(folder: Path, tmp_path: Path) -> None:
    """Image, mask, control and adapter together: ONNX fp32 and torch draw the same picture."""
    adapter, _ = lora(folder, tmp_path)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:48, 16:48] = 255
    shot = Shot(
        prompt="a red mug", seed=3, width=SIDE, height=SIDE, steps=2, guidance=2.0, negative_prompt="blue",
        image=image, mask=mask, strength=0.7, control=Control(kind="edges", pixels=image),
        adapters=(WeightedAdapter(adapter=adapter, weight=0.5),),
    )  # fmt: skip

    results = [
        TextToImage.open(folder, runtime=runtime, precision="fp32").render([shot])[0]
        for runtime in ("onnx", "torch")
    ]

    assert all(isinstance(result, RenderedImage) for result in results), results
    onnx_pixels, torch_pixels = (result.pixels.astype(int) for result in results)  # type: ignore[union-attr]
    assert np.abs(onnx_pixels - torch_pixels).max() <= 1
    assert np.array_equal(image[mask == 0], onnx_pixels[mask == 0])
    assert not np.array_equal(image[mask > 0], onnx_pixels[mask > 0])


def test_files_are_stored_in_half_precision(folder: Path) -> None:
    """A folder trained to float16 loses nothing by it: no large float32 weight is left where float16 says the same."""
    import onnx
    from onnx import numpy_helper

    for name in ("text_encoder", "vae_encoder", "vae_decoder"):
        for weight in onnx.load(folder / "onnx" / f"{name}.onnx").graph.initializer:
            values = numpy_helper.to_array(weight)
            if values.dtype == np.float32 and values.nbytes >= 1024:
                assert not np.array_equal(values.astype(np.float16).astype(np.float32), values), weight.name
