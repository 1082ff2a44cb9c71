"""The watermark's code and its adapter: bits come back, damage is corrected or admitted, foreign files are refused."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from signed_pictures import signed_file, some_pixels

from safety.provenance.bch import decode, encode, generator, parity_bits
from safety.provenance.reading import read_picture
from safety.provenance.trustmark import DATA_BITS, NAME, TrustMark, _payload, _secret
from safety.provenance.watermark import Pixels
from schemas.errors import BadSettings

DIGEST = hashlib.sha256(b"a picture").hexdigest()


def test_generators_are_those_of_the_tables() -> None:
    """Octal generators of the codes of length 127 as published (Lin and Costello, Error Control Coding, appendix C)."""
    published = {1: 0o211, 2: 0o41567, 3: 0o11554743, 4: 0o3447023271, 5: 0o624730022327}

    assert published == {corrects: generator(corrects) for corrects in published}


@given(st.integers(0, 2**64 - 1), st.integers(1, 5), st.data())
def test_up_to_the_promised_number_of_wrong_bits_is_set_right(
    data: int, corrects: int, draw: st.DataObject
) -> None:
    """Wherever they are, in data or parity."""
    parity, length = encode(data, 64, corrects), 64 + parity_bits(corrects)
    word = data << parity_bits(corrects) | parity
    for at in draw.draw(st.sets(st.integers(0, length - 1), max_size=corrects)):
        word ^= 1 << at

    assert data == decode(
        word >> parity_bits(corrects), word & (1 << parity_bits(corrects)) - 1, 64, corrects
    )


@given(st.integers(0, 2**DATA_BITS - 1), st.sets(st.integers(0, 95), min_size=1, max_size=5))
def test_a_payload_survives_five_wrong_bits(data: int, wrong: set[int]) -> None:
    """The 100 bits of a mark, with any five of data and parity read wrongly."""
    bits = _secret(data) > 0
    for at in wrong:
        bits[at] = not bits[at]

    assert data == _payload(bits)


def test_noise_is_seldom_taken_for_a_mark() -> None:
    """Of 4,000 random readings hardly any is within five errors of a payload (by chance 1 in 8,500)."""
    random = np.random.default_rng(0).integers(0, 2, (4000, 100)).astype(bool)

    assert sum(_payload(bits) is not None for bits in random) <= 4


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Path, str], tuple[Path, str]]:
    """Graphs of TrustMark's form: ten by ten squares a little lighter or darker, and their means."""
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT

    def constant(name: str, values: object, kind: int = float32) -> object:
        array = np.array(values, np.float32 if kind == float32 else np.int64)
        return helper.make_tensor(name, kind, array.shape, array.flatten())

    folder = tmp_path_factory.mktemp("trustmark")
    encoder = helper.make_graph(
        [
            helper.make_node("Sub", ["bits", "half"], ["signs"]),
            helper.make_node("Mul", ["signs", "faint"], ["small"]),
            helper.make_node("Reshape", ["small", "grid"], ["squares"]),
            helper.make_node("Resize", ["squares", "", "", "size"], ["residual"], mode="nearest"),
            helper.make_node("Add", ["picture", "residual"], ["marked"]),
        ],
        "encoder",
        [
            helper.make_tensor_value_info("picture", float32, [1, 3, 256, 256]),
            helper.make_tensor_value_info("bits", float32, [1, 100]),
        ],
        [helper.make_tensor_value_info("marked", float32, [1, 3, 256, 256])],
        [
            constant("half", 0.5),
            constant("faint", 0.1),
            constant("grid", [1, 1, 10, 10], onnx.TensorProto.INT64),
            constant("size", [1, 1, 256, 256], onnx.TensorProto.INT64),
        ],
    )
    decoder = helper.make_graph(
        [
            helper.make_node("AveragePool", ["picture"], ["means"], kernel_shape=[24, 24], strides=[24, 24]),
            helper.make_node("ReduceMean", ["means"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["means", "mean"], ["apart"]),
            helper.make_node("ReduceMean", ["apart", "channels"], ["grey"], keepdims=1),
            helper.make_node("Flatten", ["grey"], ["bits"]),
        ],
        "decoder",
        [helper.make_tensor_value_info("picture", float32, [1, 3, 245, 245])],
        [helper.make_tensor_value_info("bits", float32, [1, 100])],
        [constant("channels", [1], onnx.TensorProto.INT64)],
    )
    files = []
    for graph in (encoder, decoder):
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        path = folder / f"{graph.name}.onnx"
        path.write_bytes(model.SerializeToString())
        files.append((path, hashlib.sha256(path.read_bytes()).hexdigest()))
    return files[0], files[1]


@pytest.fixture
def trustmark(graphs: tuple[tuple[Path, str], tuple[Path, str]]) -> TrustMark:
    return TrustMark.open(encoder=graphs[0], decoder=graphs[1])


def grey(height: int, width: int) -> Pixels:
    return np.full((height, width, 3), 120, np.uint8)


@pytest.mark.parametrize("size", [(128, 128), (256, 200), (700, 512), (160, 600), (600, 160)])
def test_a_mark_is_found_again(trustmark: TrustMark, size: tuple[int, int]) -> None:
    """In pictures smaller, larger and much longer than the network's, whose original stays as it was."""
    cover = grey(*size)
    marked, mark = trustmark.mark(cover, DIGEST)

    assert (cover.shape, np.uint8) == (marked.shape, marked.dtype) and (cover == 120).all()
    assert mark == trustmark.read(marked) and trustmark.read(cover) is None
    assert 0 < np.abs(marked.astype(int) - cover).max() < 30


def test_a_mark_outlives_a_saved_copy(trustmark: TrustMark) -> None:
    """Unlike metadata: a JPEG in another size still carries it."""
    marked, mark = trustmark.mark(grey(512, 512), DIGEST)
    file = io.BytesIO()
    Image.fromarray(marked).resize((300, 300)).save(file, "JPEG", quality=60)

    facts = read_picture(file.getvalue(), detector=trustmark)

    assert mark == facts.watermark and facts.says_ai


def test_the_payload_is_the_beginning_of_the_digest(trustmark: TrustMark) -> None:
    """In the notation of C2PA soft bindings; another digest gives another mark."""
    _, mark = trustmark.mark(grey(64, 64), DIGEST)
    layout, _, bits = mark.payload.partition("*")

    assert (NAME, "1", DATA_BITS) == (mark.name, layout, len(bits))
    assert int(DIGEST, 16) >> (256 - DATA_BITS) == int(bits, 2)
    assert mark != trustmark.mark(grey(64, 64), DIGEST[::-1])[1]


def test_an_unmarked_picture_and_junk_carry_none(trustmark: TrustMark) -> None:
    """A picture without a mark, and a file that cannot be decoded, are read as unmarked."""
    assert read_picture(signed_file(), detector=trustmark).watermark is None
    assert read_picture(b"\x89PNG\r\n\x1a\n junk", detector=trustmark).watermark is None
    assert trustmark.read(some_pixels(64)) is None


def test_only_the_named_files_are_opened(
    graphs: tuple[tuple[Path, str], tuple[Path, str]], tmp_path: Path
) -> None:
    """Another digest, an absent file, a file that is no graph, and graphs in each other's place are refused."""
    encoder, decoder = graphs
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")
    wrong = [
        ((encoder[0], "0" * 64), decoder),
        ((tmp_path / "absent", encoder[1]), decoder),
        ((junk, hashlib.sha256(b"junk").hexdigest()), decoder),
        (decoder, encoder),
    ]
    for first, second in wrong:
        with pytest.raises(BadSettings):
            TrustMark.open(encoder=first, decoder=second)
