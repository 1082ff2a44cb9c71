"""A card tells what a model is, and that its files are the ones it was written for."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.card import CARD_FILE, ModelCard, file_sha256, load_card
from models.errors import ModelCorrupt, ModelNotFound

FIELDS = {
    "name": "toy",
    "version": "1",
    "family": "pixart",
    "licence": "Apache-2.0",
    "description": "a toy",
    "domain": "closed",
    "domain_note": "nothing",
    "sizes": [[32, 16]],
    "steps": {"minimum": 1, "maximum": 8, "default": 4},
    "guidance": {"maximum": 5.0, "default": 2.0},
    "max_prompt_tokens": 8,
    "flow": {
        "channels": 2,
        "pixels_per_cell": 8,
        "patch": 2,
        "shift": 1.0,
        "sampler": "euler",
        "position_width": 8,
        "position_span": 2,
    },
    "costs": {"fixed_seconds": 0, "image_seconds": 1, "step_seconds": 0.1, "measured_on": "paper"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder of one weights file."""
    (tmp_path / "onnx").mkdir()
    weights = tmp_path / "onnx" / "weights.onnx"
    weights.write_bytes(bytes(range(256)))
    card = {**FIELDS, "files": {"onnx/weights.onnx": file_sha256(weights)}}
    (tmp_path / CARD_FILE).write_text(json.dumps(card))
    return tmp_path


def test_a_true_folder_opens(folder: Path) -> None:
    """A folder whose files are those of the card gives the card."""
    card = load_card(folder)

    assert "toy" == card.name
    assert ((32, 16),) == card.sizes


@given(position=st.integers(0, 255), flip=st.integers(1, 255))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_any_changed_byte_is_found(folder: Path, position: int, flip: int) -> None:
    """Whatever byte changes in a listed file, opening names that file."""
    weights = folder / "onnx" / "weights.onnx"
    data = bytearray(range(256))
    data[position] ^= flip
    weights.write_bytes(data)

    with pytest.raises(ModelCorrupt) as caught:
        load_card(folder)

    assert "onnx/weights.onnx" == caught.value.file
    assert not caught.value.retryable


def test_a_missing_file_is_named(folder: Path) -> None:
    """A listed file that is not there is a corrupt model, not a traceback later."""
    (folder / "onnx" / "weights.onnx").unlink()

    with pytest.raises(ModelCorrupt, match=r"onnx/weights\.onnx"):
        load_card(folder)


def test_a_folder_without_card_is_no_model(tmp_path: Path) -> None:
    """The error says what is missing."""
    with pytest.raises(ModelNotFound, match=CARD_FILE):
        load_card(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "toy"}', '{"name": 3}', "\udcff"])
def test_a_malformed_card_is_corrupt(folder: Path, text: str) -> None:
    """Broken JSON, wrong types and missing fields give one typed error that names the card."""
    (folder / CARD_FILE).write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(ModelCorrupt) as caught:
        load_card(folder)

    assert CARD_FILE == caught.value.file


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/model.onnx", "a/../../b", "..\\b"])
def test_a_card_cannot_point_outside_its_folder(name: str) -> None:
    """A card from elsewhere cannot make us read other files."""
    with pytest.raises(ValueError, match="own folder"):
        ModelCard.model_validate({**FIELDS, "files": {name: "0" * 64}})


def test_the_digest_covers_the_weights() -> None:
    """Another weights file gives another digest; the order of keys does not."""
    one = ModelCard.model_validate({**FIELDS, "files": {"a": "1" * 64, "b": "2" * 64}})
    same = ModelCard.model_validate(
        {**dict(reversed(FIELDS.items())), "files": {"b": "2" * 64, "a": "1" * 64}}
    )
    other = ModelCard.model_validate({**FIELDS, "files": {"a": "1" * 64, "b": "3" * 64}})

    assert one.digest == same.digest
    assert one.digest != other.digest
    assert 64 == len(one.digest)
