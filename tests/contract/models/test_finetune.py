"""A fine-tune learns, says so, stops when told, and leaves an adapter that is served as it was trained."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is part of the [train] extra")
pytest.importorskip("diffusers", reason="diffusers is part of the [train] extra")
pytest.importorskip("peft", reason="peft is part of the [train] extra")

import torch
from PIL import Image

from models.adapters import (
    ADAPTER_FILE,
    ADAPTER_TARGETS,
    WEIGHTS_FILE,
    AdapterCard,
    WeightedAdapter,
    adapter_digest,
    load_adapter,
)
from models.card import file_sha256, load_card
from models.errors import FinetuneCancelled, FinetuneDiverged, FinetuneRefused, ModelNotFound, PromptTooLong
from models.networks.autoencoder import build_autoencoder
from models.networks.text import build_text_encoder, build_tokenizer
from models.networks.transformer import ControlPixArt, build_transformer, predict_velocity
from models.pipeline import RenderedImage, Shot, TextToImage
from models.training.export import export_folder
from models.training.finetune import FinetuneJob, FinetuneProgress, finetune
from models.training.pack import write_folder

pytestmark = pytest.mark.train

WIDTH, LAYERS, SIDE = 32, 2, 64
Job = Callable[..., FinetuneJob]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained model as it ships."""
    place = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    transformer = build_transformer(
        width=WIDTH, layers=LAYERS, head_width=16, patch=2, channels=4, text_width=32, sample_size=8
    )
    torch.nn.init.normal_(transformer.proj_out.weight, std=0.1)
    text = build_text_encoder(width=32, layers=1, vocabulary_size=len(tokenizer))
    write_folder(place, build_autoencoder(4, (8, 16)), transformer, text, tokenizer)
    export_folder(place, keep_fp32=True)
    (place / "aquatint.json").write_text(json.dumps(card_of(place)))
    return place


def card_of(place: Path) -> dict[str, object]:
    names = {path.relative_to(place).as_posix(): path for path in place.rglob("*")}
    return {
        "name": "tiny", "version": "1", "family": "pixart", "licence": "Apache-2.0", "description": "",
        "domain": "closed", "domain_note": "", "sizes": [[SIDE, SIDE], [96, SIDE]],
        "steps": {"minimum": 1, "maximum": 9, "default": 2}, "guidance": {"maximum": 5.0, "default": 1.0, "folded": True},
        "max_prompt_tokens": 48, "features": ["adapters"],
        "adapters": {"targets": ADAPTER_TARGETS, "layers": LAYERS, "width": WIDTH, "max_rank": 16},
        "flow": {"channels": 4, "pixels_per_cell": 8, "patch": 2, "shift": 1.5, "sampler": "dpmpp_2m",
                 "position_width": WIDTH, "position_span": 4},
        "costs": {"fixed_seconds": 0, "image_seconds": 1, "step_seconds": 0.1, "measured_on": "paper"},
        "files": {n: file_sha256(p) for n, p in names.items() if p.suffix in (".onnx", ".weights", ".json", ".safetensors")},
    }  # fmt: skip


@pytest.fixture
def job(folder: Path, tmp_path: Path) -> Job:
    """A small fine-tune on four pictures: dark above, light below."""

    def make(**changes: object) -> FinetuneJob:
        rng = np.random.default_rng(0)
        images = []
        for i in range(4):
            pixels = np.full((SIDE, SIDE, 3), 30 + 10 * i, np.uint8)
            pixels[SIDE // 2 :] = (240, 40, 200)
            pixels[: SIDE // 4] += rng.integers(0, 20, (SIDE // 4, SIDE, 3), dtype=np.uint8)
            path = tmp_path / f"{i}.png"
            Image.fromarray(pixels).save(path)
            images.append((path, f"a {('red', 'blue', 'green', 'black')[i]} mug on a white background"))
        usual = FinetuneJob(
            model_folder=folder, images=images, name="acme", trigger="acme style", out=tmp_path / "acme", rank=4,
            steps=60, batch=4, prior_batch=4, learning_rate=1e-2, base_checks=2,
        )  # fmt: skip
        return replace(usual, **changes)  # type: ignore[arg-type]

    return make


def test_it_learns_and_says_how_it_goes(job: Job) -> None:
    """The error on the brand's pictures falls, progress tells steps, loss and time left, and all files agree."""
    told: list[FinetuneProgress] = []

    result = finetune(job(), told.append)

    assert result.scores_after["brand_error"] < 0.9 * result.scores_before["brand_error"]
    assert ["prepare", "train", "evaluate"] == list(dict.fromkeys(one.stage for one in told))
    last = [one for one in told if one.stage == "train"][-1]
    assert (60, 60) == (last.step, last.steps)
    assert last.loss is not None
    assert 0 == last.seconds_left
    adapter_json = (result.folder / ADAPTER_FILE).read_bytes()
    assert result.digest == adapter_digest(adapter_json)
    card = AdapterCard.model_validate_json(adapter_json)
    assert dict(result.scores_after) == card.scores
    assert (("acme style",), 4) == (card.trigger, card.rank)
    assert (2 * SIDE, 4 * SIDE, 3) == result.samples.shape


def test_the_same_job_gives_the_same_adapter(job: Job, tmp_path: Path) -> None:
    """One seed, one digest; another seed, another."""
    digests = [
        finetune(job(out=tmp_path / name, steps=5, seed=seed)).digest
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]

    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_every_runtime_serves_what_was_trained(job: Job, folder: Path) -> None:
    """diffusers' own loader, torch and ONNX Runtime all draw the adapted picture; without the adapter nothing changes."""
    result = finetune(job(learning_rate=5e-2))
    card = load_card(folder)
    used = (WeightedAdapter(adapter=load_adapter(result.folder, card)),)
    shot = Shot(prompt="acme style mug", seed=3, width=SIDE, height=SIDE, steps=2, guidance=1.0)

    pictures = {}
    for runtime in ("torch", "onnx"):
        model = TextToImage.open(folder, runtime, "fp32")
        for name, one in (("plain", shot), ("adapted", replace(shot, adapters=used)), ("again", shot)):
            rendered = model.render([one])[0]
            assert isinstance(rendered, RenderedImage)
            pictures[runtime, name] = rendered.pixels.astype(int)

    for runtime in ("torch", "onnx"):
        assert np.array_equal(pictures[runtime, "plain"], pictures[runtime, "again"])
        assert np.abs(pictures[runtime, "adapted"] - pictures[runtime, "plain"]).max() > 3
    assert np.abs(pictures["torch", "adapted"] - pictures["onnx", "adapted"]).max() <= 1

    worn = ControlPixArt.from_pretrained(folder, subfolder="transformer", dtype=torch.float32).eval()
    worn.load_lora_adapter(result.folder, prefix=None, use_safetensors=True, weight_name=WEIGHTS_FILE)
    adapter, inputs = used[0].adapter, velocity_inputs()
    with torch.no_grad():
        expected = predict_velocity(worn, *inputs)
        plain = predict_velocity(
            ControlPixArt.from_pretrained(folder, subfolder="transformer", dtype=torch.float32).eval(),
            *inputs,
        )
        ours = predict_velocity(merged(folder, adapter.down, adapter.up), *inputs)
    assert float((expected - ours).abs().max()) < 1e-5
    assert float((expected - plain).abs().max()) > 1e-3


def velocity_inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(5)
    return torch.randn(2, 4, 8, 8), torch.tensor([0.3, 0.9]), torch.randn(2, 5, 32), torch.ones(2, 5)


def merged(folder: Path, down: np.ndarray, up: np.ndarray) -> ControlPixArt:
    """The adapter added into the weights: what low-rank addition means."""
    model = ControlPixArt.from_pretrained(folder, subfolder="transformer", dtype=torch.float32).eval()
    with torch.no_grad():
        for layer, block in enumerate(model.transformer_blocks):
            for place, name in enumerate(ADAPTER_TARGETS, len(ADAPTER_TARGETS) * layer):
                block.get_submodule(name).weight += torch.from_numpy((down[place] @ up[place]).T)
    return model


def test_it_stops_at_the_next_step(job: Job, tmp_path: Path) -> None:
    """Once cancelled, no further step is taken and nothing is left behind; what stood there before still stands."""
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / ADAPTER_FILE).write_text("kept")
    told: list[FinetuneProgress] = []

    with pytest.raises(FinetuneCancelled):
        finetune(job(steps=1000), told.append, cancelled=lambda: any(one.step >= 20 for one in told))

    assert 20 == told[-1].step
    assert "kept" == (tmp_path / "acme" / ADAPTER_FILE).read_text()
    assert ["acme"] == [path.name for path in tmp_path.iterdir() if path.is_dir()]


def test_without_trigger_the_look_is_unconditional(job: Job) -> None:
    """With an empty trigger nothing is held back: ordinary prompts change as brand prompts do."""
    bound = finetune(job(learning_rate=3e-2))
    free = finetune(job(learning_rate=3e-2, trigger=""))

    assert () == AdapterCard.model_validate_json((free.folder / ADAPTER_FILE).read_bytes()).trigger
    assert free.scores_after["base_psnr"] < bound.scores_after["base_psnr"]


def test_minutes_are_kept(job: Job) -> None:
    """A budget of time ends the training near it, whatever the speed of the machine."""
    result = finetune(job(steps=None, minutes=0.05))

    assert result.steps >= 1


REFUSED = {
    "few": ({"keep": 3}, "images", FinetuneRefused),
    "caption": ({"caption": "  "}, "caption of 0.png", FinetuneRefused),
    "broken": ({"data": b"\x89PNG\r\n\x1a\nno"}, "0.png", FinetuneRefused),
    "tiny": ({"shape": (8, 8)}, "size of 0.png", FinetuneRefused),
    "rank": ({"rank": 17}, "rank", FinetuneRefused),
    "no rank": ({"rank": 0}, "rank", FinetuneRefused),
    "budgets": ({"minutes": 1.0}, "minutes", FinetuneRefused),
    "nameless": ({"name": " "}, "name", FinetuneRefused),
    "path": ({"name": "../acme"}, "name", FinetuneRefused),
    "rate": ({"learning_rate": float("nan")}, "learning_rate", FinetuneRefused),
    "long": ({"caption": "mug " * 60}, "caption", PromptTooLong),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_job_is_refused_by_field(job: Job, tmp_path: Path, case: str) -> None:
    """Each mistake has its typed error that names the field, before anything is trained or written."""
    changes, field, error = REFUSED[case]
    changes = dict(changes)
    usual = job()
    images = list(usual.images)[: changes.pop("keep", None)]
    images[0] = (images[0][0], changes.pop("caption", images[0][1]))
    if data := changes.pop("data", None):
        images[0][0].write_bytes(data)
    if shape := changes.pop("shape", None):
        Image.new("RGB", shape).save(images[0][0])

    with pytest.raises(error) as caught:
        finetune(replace(usual, images=images, **changes))

    assert field == caught.value.field
    assert not (tmp_path / "acme").exists()


def test_a_model_without_adapters_is_refused(job: Job, folder: Path, tmp_path: Path) -> None:
    """A card that lists no adapters, and a folder without a card, each get their own error."""
    bare = tmp_path / "bare"
    bare.mkdir()
    card = json.loads((folder / "aquatint.json").read_text())
    card |= {"features": [], "adapters": None, "files": {}}
    (bare / "aquatint.json").write_text(json.dumps(card))

    with pytest.raises(FinetuneRefused, match="takes adapters"):
        finetune(job(model_folder=bare))
    with pytest.raises(ModelNotFound):
        finetune(job(model_folder=tmp_path))


def test_a_loss_that_explodes_is_told(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN ends the fine-tune with its own error and writes no adapter."""
    from models.training.finetune_phase import FinetunePhase

    usual = FinetunePhase.loss
    monkeypatch.setattr(FinetunePhase, "loss", lambda self, batch: usual(self, batch) * float("nan"))

    with pytest.raises(FinetuneDiverged):
        finetune(job())

    assert not (tmp_path / "acme").exists()


def test_a_folder_of_something_else_is_not_replaced(job: Job, tmp_path: Path) -> None:
    """Only an adapter's folder, or an empty or new one, is written to."""
    with pytest.raises(FinetuneRefused) as caught:
        finetune(job(out=tmp_path))

    assert "out" == caught.value.field
    assert (tmp_path / "0.png").exists()
