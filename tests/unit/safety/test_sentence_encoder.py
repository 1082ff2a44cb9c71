"""The encoder in numpy is the published architecture: equal to transformers on random weights."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from safety.sentence_encoder import MAX_TOKENS, open_encoder  # noqa: E402
from schemas.errors import BadSettings  # noqa: E402

pytestmark = pytest.mark.train

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "lamp", "on", "the", "table", "##s"]
TEXTS = ["a red lamp", "lamps on the table", "the", "a red lamp on the red table the lamp"]


@pytest.fixture(scope="module")
def model() -> object:
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96,
        max_position_embeddings=MAX_TOKENS,
    )  # fmt: skip
    return transformers.BertModel(config, add_pooling_layer=False).eval()


@pytest.fixture(scope="module")
def folder(model: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("encoder")
    save_file(model.state_dict(), path / "model.safetensors")  # type: ignore[attr-defined]
    (path / "config.json").write_text(json.dumps({"num_attention_heads": 4}))
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(path / "tokenizer.json"))
    return path


def sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_sentence_vector(text: str, model: object, folder: Path) -> None:
    """Mean-pooled and of unit length, within single precision of the reference."""
    ours = open_encoder(folder, sha256=sha256(folder)).encode([text])[0]
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    with torch.no_grad():
        states = model(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0]  # type: ignore[operator]
    mean = states.mean(0)
    theirs = (mean / mean.norm()).numpy()

    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert np.linalg.norm(ours) == pytest.approx(1.0, abs=1e-5)


def test_nothing_is_padded_and_long_texts_are_cut(folder: Path) -> None:
    """The file's own padding is switched off, and a long text costs no more than the limit."""
    encoder = open_encoder(folder, sha256=sha256(folder))

    assert len(encoder._tokenizer.encode("a lamp").ids) == 4
    assert len(encoder._tokenizer.encode("lamp " * 1000).ids) == MAX_TOKENS
    assert np.isfinite(encoder.encode(["lamp " * 1000, ""])).all()


def test_other_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    """Weights are named by their digest, and a missing file is named."""
    with pytest.raises(BadSettings, match="SHA-256"):
        open_encoder(folder, sha256="0" * 64)
    with pytest.raises(BadSettings):
        open_encoder(tmp_path, sha256="0" * 64)
