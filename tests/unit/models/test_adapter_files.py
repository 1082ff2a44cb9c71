"""An adapter's files are read whole and right, or refused by name; several adapters are one sum."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from models.adapters import (
    ADAPTER_FILE,
    ADAPTER_TARGETS,
    WEIGHTS_FILE,
    Adapter,
    AdapterCard,
    WeightedAdapter,
    adapter_digest,
    combine,
    load_adapter,
    read_adapter,
)
from models.card import AdapterSupport, ModelCard
from models.errors import AdapterCorrupt, AdapterMismatch, AdapterNotFound, AdapterUnusable

WIDTH, LAYERS, RANK = 8, 2, 3
SUPPORT = AdapterSupport(targets=ADAPTER_TARGETS, layers=LAYERS, width=WIDTH, max_rank=6)
BASE = ModelCard.model_validate({
    "name": "toy", "version": "1", "family": "pixart", "licence": "Apache-2.0", "description": "", "domain": "closed",
    "domain_note": "", "sizes": [[32, 32]], "steps": {"minimum": 1, "maximum": 9, "default": 4},
    "guidance": {"maximum": 5.0, "default": 1.0}, "max_prompt_tokens": 6, "features": ["adapters"],
    "adapters": SUPPORT.model_dump(),
    "files": {"transformer/model.safetensors": "1" * 64, "vae/model.safetensors": "2" * 64, "onnx/t.onnx": "3" * 64},
    "flow": {"channels": 3, "pixels_per_cell": 8, "patch": 2, "shift": 1.0, "sampler": "euler", "position_width": 8,
             "position_span": 2},
    "costs": {"fixed_seconds": 0, "image_seconds": 1, "step_seconds": 0.1, "measured_on": "paper"},
})  # fmt: skip
Tensors = dict[str, np.ndarray]


def tensors(rank: int = RANK, seed: int = 0) -> Tensors:
    """A whole adapter in diffusers' spelling."""
    rng = np.random.default_rng(seed)
    result: Tensors = {}
    for layer in range(LAYERS):
        for target in ADAPTER_TARGETS:
            stem = f"transformer.transformer_blocks.{layer}.{target}"
            result[f"{stem}.lora_A.weight"] = rng.standard_normal((rank, WIDTH)).astype(np.float32)
            result[f"{stem}.lora_B.weight"] = rng.standard_normal((WIDTH, rank)).astype(np.float32)
    return result


def described(weights: bytes, **changes: Any) -> bytes:
    card = AdapterCard(
        name="acme", base_model="toy", base_digest=BASE.base_digest, rank=RANK, alpha=6.0,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )  # fmt: skip
    return card.model_copy(update=changes).to_bytes()


def opened(arrays: Tensors, **changes: Any) -> Adapter:
    weights = save(arrays)
    return read_adapter(described(weights, **changes), weights, BASE)


def test_every_place_is_filled() -> None:
    """Place p holds A transposed, and B transposed times alpha / rank: x down up equals x A^T B^T alpha / rank."""
    arrays = tensors()

    adapter = opened(arrays)

    assert (LAYERS * 8, WIDTH, RANK) == adapter.down.shape
    assert (LAYERS * 8, RANK, WIDTH) == adapter.up.shape
    stem = "transformer.transformer_blocks.1.attn2.to_out.0"
    assert np.array_equal(arrays[f"{stem}.lora_A.weight"].T, adapter.down[15])
    assert np.array_equal(arrays[f"{stem}.lora_B.weight"].T * np.float32(2), adapter.up[15])
    assert RANK == adapter.rank
    assert adapter.down.nbytes + adapter.up.nbytes == adapter.size_bytes


@pytest.mark.parametrize(
    ("down", "up"),
    [
        ("base_model.model.transformer_blocks.{}.{}.lora_A.default.weight", None),
        ("transformer_blocks.{}.{}.lora_A.weight", None),
        ("transformer_blocks.{}.{}.lora.down.weight", "transformer_blocks.{}.{}.lora.up.weight"),
        (
            "lora_unet_transformer_blocks_{}_{}.lora_down.weight",
            "lora_unet_transformer_blocks_{}_{}.lora_up.weight",
        ),
    ],
)
def test_other_tools_spellings_mean_the_same(down: str, up: str | None) -> None:
    """peft, older diffusers and kohya-ss name the same places."""
    up = up or down.replace("lora_A", "lora_B")
    wanted, renamed = tensors(), {}
    for layer in range(LAYERS):
        for target in ADAPTER_TARGETS:
            name = target.replace(".", "_") if "unet" in down else target
            stem = f"transformer.transformer_blocks.{layer}.{target}"
            renamed[down.format(layer, name)] = wanted[f"{stem}.lora_A.weight"]
            renamed[up.format(layer, name)] = wanted[f"{stem}.lora_B.weight"]

    other, adapter = opened(renamed), opened(wanted)

    assert np.array_equal(adapter.down, other.down)
    assert np.array_equal(adapter.up, other.up)


def test_a_places_own_alpha_counts() -> None:
    """kohya-ss writes alpha beside each pair; it takes the place of the one in adapter.json."""
    stem = "lora_unet_transformer_blocks_0_attn1_to_q"
    arrays = {
        f"{stem}.lora_down.weight": np.ones((RANK, WIDTH), np.float32),
        f"{stem}.lora_up.weight": np.ones((WIDTH, RANK), np.float32),
        f"{stem}.alpha": np.array(1.5, np.float32),
    }

    adapter = opened(arrays)

    assert (adapter.up[0] == 0.5).all()
    assert 0 == np.abs(adapter.up[1:]).sum()


@pytest.mark.parametrize("kind", ["F16", "BF16", "F64"])
def test_other_number_types_are_read(kind: str) -> None:
    """float16, bfloat16 and float64 become float32 of the same value."""
    arrays = {name: np.round(array * 4) / 4 for name, array in tensors().items()}  # exact in each type
    weights = save(
        {name: a.astype(np.float64 if kind == "F64" else np.float16) for name, a in arrays.items()}
        if kind != "BF16"
        else arrays
    )
    if kind == "BF16":
        weights = as_bfloat16(arrays)

    adapter = read_adapter(described(weights), weights, BASE)

    assert np.array_equal(opened(arrays).down, adapter.down)


def as_bfloat16(arrays: Tensors) -> bytes:
    """The file safetensors would write; numpy has no such type."""
    header, data = {}, b""
    for name, array in arrays.items():
        half = (array.astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {
            "dtype": "BF16",
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(half)],
        }
        data += half
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def with_header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


def changed(name: str, array: np.ndarray | None) -> bytes:
    arrays = tensors()
    key = f"transformer.transformer_blocks.0.attn1.to_q.{name}.weight"
    if array is None:
        del arrays[key]
    else:
        arrays[key] = array
    return save(arrays)


HOSTILE = {
    "empty": b"",
    "truncated": save(tensors())[:-10],
    "header that promises a terabyte": with_header(b"{}", 2**40),
    "header longer than the file": with_header(b"{}", 1000),
    "header that is no JSON": with_header(b"{]"),
    "header of nested lists": with_header(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "tensor outside the file": with_header(b'{"a":{"dtype":"F32","shape":[99],"data_offsets":[0,396]}}'),
    "overlapping tensors": with_header(
        b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    )
    + b"0000",
    "no tensors": save({}),
    "pickle": b"\x80\x04\x95" + bytes(40),
    "unknown layer": save({"transformer_blocks.0.ff.net.2.lora_A.weight": np.ones((3, 8), np.float32)}),
    "a block too many": save({"transformer_blocks.2.attn1.to_q.lora_A.weight": np.ones((3, 8), np.float32)}),
    "unknown key": save({"__import__('os')": np.ones((3, 8), np.float32)}),
    "NaN": changed("lora_A", np.full((RANK, WIDTH), np.nan, np.float32)),
    "infinity": changed("lora_B", np.full((WIDTH, RANK), np.inf, np.float32)),
    "beyond float32": changed("lora_B", np.full((WIDTH, RANK), 1e300)),
    "integers": changed("lora_A", np.ones((RANK, WIDTH), np.int64)),
    "wrong width": changed("lora_A", np.ones((RANK, WIDTH + 1), np.float32)),
    "halves of two ranks": changed("lora_A", np.ones((RANK + 1, WIDTH), np.float32)),
    "one half only": changed("lora_B", None),
    "three axes": changed("lora_A", np.ones((1, RANK, WIDTH), np.float32)),
    "rank nought": changed("lora_A", np.ones((0, WIDTH), np.float32)),
    "another rank than said": save(tensors(RANK + 1)),
    "a rank over the limit": save(tensors(7)),
    "too large": save(tensors(6)) + bytes(2 << 20),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_bad_weights_are_refused(case: str) -> None:
    """Each gives one typed error that names the file; none is worth retrying."""
    weights = HOSTILE[case]
    rank = 7 if case == "a rank over the limit" else RANK

    with pytest.raises(AdapterCorrupt) as caught:
        read_adapter(described(weights, rank=rank), weights, BASE)

    assert WEIGHTS_FILE == caught.value.file
    assert not caught.value.retryable
    assert len(str(caught.value)) < 400


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=40, deadline=None)
def test_any_changed_byte_of_the_weights_is_found(position: int, flip: int) -> None:
    """The sha256 in adapter.json covers the whole file."""
    weights = save(tensors())
    data = bytearray(weights)
    data[position % len(data)] ^= flip

    with pytest.raises(AdapterCorrupt):
        read_adapter(described(weights), bytes(data), BASE)


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes_give_a_typed_error(card: bytes, weights: bytes) -> None:
    """Whatever the two files hold, only `AdapterUnusable` comes out."""
    with pytest.raises(AdapterUnusable):
        read_adapter(card, weights, BASE)
    with pytest.raises(AdapterUnusable):
        read_adapter(described(weights), weights, BASE)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""}, {"rank": 0}, {"alpha": 0}, {"alpha": -1}, {"base_digest": "xyz"}, {"format": 2}, {"more": 1},
        {"weights_sha256": "0"}, {"trigger": "word"}, {"scores": {"brand": "high"}},
    ],
)  # fmt: skip
def test_a_malformed_card_is_refused(changes: dict[str, Any]) -> None:
    """Wrong, missing and unknown fields of adapter.json name that file."""
    weights = save(tensors())
    fields = {**json.loads(described(weights)), **changes}

    with pytest.raises(AdapterCorrupt) as caught:
        read_adapter(json.dumps(fields).encode(), weights, BASE)

    assert ADAPTER_FILE == caught.value.file


def test_an_adapter_belongs_to_its_base() -> None:
    """Another base's adapter is refused, and every adapter by a model that takes none."""
    weights = save(tensors())

    with pytest.raises(AdapterMismatch, match="not for this toy"):
        read_adapter(described(weights, base_digest="f" * 64), weights, BASE)
    plain = BASE.model_copy(update={"features": (), "adapters": None})
    with pytest.raises(AdapterMismatch, match="takes no adapters"):
        read_adapter(described(weights), weights, plain)


def test_the_base_digest_covers_weights_and_not_exports() -> None:
    """A new export or new scores keep adapters valid; other weights do not."""
    base = BASE.base_digest

    assert base == BASE.model_copy(update={"version": "2", "description": "better"}).base_digest
    exported = {**BASE.files, "onnx/t.onnx": "9" * 64}
    assert base == ModelCard.model_validate({**BASE.model_dump(), "files": exported}).base_digest
    other = {**BASE.files, "vae/model.safetensors": "9" * 64}
    assert base != ModelCard.model_validate({**BASE.model_dump(), "files": other}).base_digest


def test_the_digest_names_all_that_decides_pixels() -> None:
    """Another alpha is another adapter, though the weights are the same; the bytes of adapter.json are what counts."""
    weights = save(tensors())
    one, other = described(weights), described(weights, alpha=7.0)

    assert adapter_digest(one) != adapter_digest(other)
    assert hashlib.sha256(one).hexdigest() == adapter_digest(one)
    assert adapter_digest(one) == read_adapter(one, weights, BASE).digest


def test_a_folder_is_read(tmp_path: Path) -> None:
    """Both files are needed; a missing one is named."""
    weights = save(tensors())
    (tmp_path / WEIGHTS_FILE).write_bytes(weights)
    with pytest.raises(AdapterNotFound, match=ADAPTER_FILE):
        load_adapter(tmp_path, BASE)
    (tmp_path / ADAPTER_FILE).write_bytes(described(weights))

    assert "acme" == load_adapter(tmp_path, BASE).card.name

    (tmp_path / WEIGHTS_FILE).unlink()
    with pytest.raises(AdapterNotFound, match=WEIGHTS_FILE):
        load_adapter(tmp_path, BASE)


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.floats(-2, 2, allow_nan=False, width=32), st.integers(0, 99)),
        max_size=4,
    )
)
@settings(max_examples=30, deadline=None)
def test_combined_adapters_add_up(parts: list[tuple[int, float, int]]) -> None:
    """x down up of the combination is the weighted sum of each one's, whatever their ranks; none gives rank 0."""
    used = [
        WeightedAdapter(adapter=opened(tensors(rank, seed), rank=rank), weight=weight)
        for rank, weight, seed in parts
    ]
    x = np.random.default_rng(1).standard_normal((LAYERS * 8, 5, WIDTH)).astype(np.float32)

    down, up = combine(used, SUPPORT)

    expected = sum((one.weight * (x @ one.adapter.down @ one.adapter.up) for one in used), np.zeros_like(x))
    assert np.allclose(expected, x @ down @ up, atol=1e-4, rtol=1e-4)
    assert sum(rank for rank, weight, _ in parts if weight != 0) == down.shape[2] == up.shape[1]
    assert (LAYERS * 8, WIDTH) == down.shape[:2]
