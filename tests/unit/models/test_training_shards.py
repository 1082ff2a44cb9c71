"""Curated shards as training data, with a frozen autoencoder and a frozen text encoder: caches keyed by digests."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is part of the [train] extra")
pytest.importorskip("diffusers", reason="diffusers is part of the [train] extra")
pytest.importorskip("accelerate", reason="accelerate is part of the [train] extra")

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from models.curation.samples import INDEX_FILE
from models.networks.text import build_text_encoder, build_tokenizer
from models.training.frozen_texts import CaptionMissing, FrozenTexts
from models.training.latents import open_cache
from models.training.recipe import Recipe
from models.training.recipe_check import missing_inputs, problems_of
from models.training.stages import run_stage
from models.training.weights import load_autoencoder
from tests.unit.models.tiny_recipe import TINY

pytestmark = pytest.mark.train

CAPTIONS = ("a red mug", "a blue hat on a white background", "a green lamp")


def shard_recipe() -> Recipe:
    """The tiny recipe with frozen networks and shards for data."""
    import tomllib

    tables = tomllib.loads(TINY.format(steps=4))
    tables["data"] = {"kind": "shards", "folder": "curated"}
    tables["networks"]["autoencoder"] = {"latent_channels": 4, "folder": "frozen"}
    tables["networks"]["text_encoder"] = {"width": 32, "max_tokens": 20, "folder": "frozen"}
    by_kind = {stage["kind"]: stage for stage in tables["stages"]}
    tables["stages"] = [{"kind": "texts", "shard_rows": 2}, {"kind": "latents"}, by_kind["transformer"]]
    return Recipe.model_validate(tables)


def write_shard(folder: Path, name: str, captions: tuple[str, ...]) -> None:
    """A tar as `aquatint curate` writes it; the second picture has its left half masked."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / name, "w") as archive:
        for number, caption in enumerate(captions):
            rng = np.random.default_rng(len(caption))
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(buffer, "png")
            facts = {
                "width": 32,
                "height": 32,
                "bucket": [32, 32],
                "digest": hashlib.sha256(buffer.getvalue()).hexdigest(),
                "masked": [[0, 0, 16, 32]] if number == 1 else [],
            }
            for suffix, data in (
                ("png", buffer.getvalue()),
                ("txt", caption.encode()),
                ("json", json.dumps(facts).encode()),
            ):
                info = tarfile.TarInfo(f"{number:04d}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    (folder / INDEX_FILE).write_text(json.dumps({"shards": [{"name": name}]}))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder with frozen networks and one shard."""
    torch.manual_seed(0)
    AutoencoderKL(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
    ).save_pretrained(tmp_path / "frozen" / "vae")
    tokenizer = build_tokenizer(20)
    tokenizer.save_pretrained(tmp_path / "frozen" / "tokenizer")
    build_text_encoder(width=32, layers=1, vocabulary_size=len(tokenizer)).save_pretrained(
        tmp_path / "frozen" / "text_encoder"
    )
    write_shard(tmp_path / "curated", "a.tar", CAPTIONS)
    return tmp_path


def test_shards_train_a_transformer_beside_frozen_networks(work: Path) -> None:
    """Texts, latents, transformer: the recipe is sound, the stages run, masked cells do not count."""
    recipe = shard_recipe()
    assert problems_of(recipe) == []
    assert missing_inputs(recipe, work) == []
    for name in ("texts", "latents"):
        run_stage(recipe, name, work)

    losses = run_stage(recipe, "transformer", work)

    assert 4 == len(losses)
    assert np.isfinite(losses).all()
    table = open_cache(work, load_autoencoder(work, recipe)).table(recipe.buckets[0])
    assert sorted(CAPTIONS) == sorted(label["caption"] for label in table.labels)
    weights = table.weights(range(3))
    assert weights is not None
    row = [label["caption"] for label in table.labels].index(CAPTIONS[1])
    assert (0.0, 1.0) == (float(weights[row, 0, :, :2].max()), float(weights[row, 0, :, 2:].min()))


def test_curating_anew_encodes_only_what_is_new(work: Path) -> None:
    """A picture that stays keeps its latent and gets its new place; one that goes is no longer drawn."""
    recipe = shard_recipe()
    run_stage(recipe, "latents", work)
    before = {path.name for path in (work / "latents").rglob("*.safetensors")}
    write_shard(work / "curated", "b.tar", (CAPTIONS[0], "a yellow sofa"))

    run_stage(recipe, "latents", work)

    after = {path.name for path in (work / "latents").rglob("*.safetensors")}
    assert before < after
    assert 1 == len(after - before)
    table = open_cache(work, load_autoencoder(work, recipe)).table(recipe.buckets[0])
    assert {CAPTIONS[0], "a yellow sofa"} == {label["caption"] for label in table.labels}


def test_frozen_texts_are_what_the_encoder_says(work: Path) -> None:
    """Looked up states equal those of the encoder; a caption that was not encoded is named as missing; no file is made twice."""
    from transformers import AutoTokenizer, T5EncoderModel

    recipe = shard_recipe()
    run_stage(recipe, "texts", work)
    files = sorted((work / "texts").rglob("*.safetensors"))
    run_stage(recipe, "texts", work)
    assert files == sorted((work / "texts").rglob("*.safetensors"))

    texts = FrozenTexts.open(work, recipe.networks.text_encoder)
    text, mask = texts.encode(texts.prepare(CAPTIONS))
    encoder = T5EncoderModel.from_pretrained(work / "frozen" / "text_encoder")
    tokenizer = AutoTokenizer.from_pretrained(work / "frozen" / "tokenizer")
    words = tokenizer(list(CAPTIONS), padding="longest", return_tensors="pt")
    with torch.no_grad():
        expected = encoder(words.input_ids, attention_mask=words.attention_mask)[0]
    assert torch.equal(mask, words.attention_mask)
    assert torch.allclose(text * mask[..., None], expected * mask[..., None], atol=2e-3)
    with pytest.raises(CaptionMissing):
        texts.prepare(["never seen"])
