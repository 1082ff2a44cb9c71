"""Pairs that do not belong together, and text in pictures."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest
from curation_sources import encoded, scene
from PIL import Image, ImageDraw, ImageFont

from models.catalogue.captions import caption, training_scene
from models.catalogue.world import KINDS
from models.curation.buckets import Box
from models.curation.catalogue_encoder import CatalogueEncoder, parse
from models.curation.clip_encoder import ClipEncoder
from models.curation.curate import curate
from models.curation.decode import Pixels
from models.curation.encoders import Cut, Scores, chosen_cut, open_encoder
from models.curation.outliers import knows, limits
from models.curation.report import CurationReport
from models.curation.run import Tools
from models.curation.samples import read_samples
from models.curation.settings import CurationSettings, OutlierSettings, TextSettings
from models.curation.source import Source
from models.curation.text_regions import is_text, open_reader, text_area
from models.errors import ModelNotFound, RuntimeMissing

WORST_TENTH = Cut(percentile=10)


@dataclass(frozen=True, kw_only=True)
class Stated:
    """Scores by the number in the caption; "?" cannot be judged."""

    name: str = "stated"
    side: int = 32
    default_cut: Cut = WORST_TENTH

    def similarity(self, pictures: Sequence[Pixels], captions: Sequence[str]) -> Scores:
        assert all(min(picture.shape[:2]) == 32 for picture in pictures)
        return np.asarray(
            [float(said.split()[-1]) if said.split()[-1].isdigit() else np.nan for said in captions]
        )


@dataclass(frozen=True)
class Marked:
    """Calls bright magenta text."""

    def boxes(self, pixels: Pixels) -> list[Box]:
        rows, columns = np.nonzero((pixels == (255, 0, 255)).all(2))
        return (
            [(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)]
            if len(rows)
            else []
        )


def curated(
    folder: Path, pictures: dict[str, tuple[bytes, str]], tools: Tools, **sections: object
) -> CurationReport:
    settings = {
        "buckets": {"sizes": [[64, 64]]},
        "duplicates": {"near": False},
        "text": {"reader": "none"},
        "outliers": {"encoder": "none", "min_group": 5},
    }
    return curate(
        Source.of_bytes(pictures), folder, CurationSettings.model_validate(settings | sections), tools=tools
    )


def test_percentiles_are_taken_per_source() -> None:
    """Each caption source loses its own worst, and a small group nothing."""
    scores = {
        "alt": [float(n) for n in range(100)],
        "title": [1000.0 + n for n in range(100)],
        "few": [-5.0, 3.0],
    }
    found = limits(scores, Cut(percentile=5), min_group=50)
    left_out = {source: sum(value < found[source] for value in values) for source, values in scores.items()}

    assert {"alt": 4, "title": 4, "few": 0} == left_out


def test_a_threshold_holds_for_all() -> None:
    """An absolute threshold needs no group, and the stricter of both counts."""
    assert {"few": 2.0} == limits({"few": [1.0, 3.0]}, Cut(threshold=2.0), min_group=50)
    assert {"all": 90.0} == limits(
        {"all": map(float, range(100))}, Cut(threshold=90.0, percentile=5), min_group=50
    )


def test_an_encoder_that_disagrees_with_most_knows_nothing() -> None:
    """Too few pairs, or a median too low, and no pair is judged by it."""
    cut = Cut(threshold=0.4, known_from=20, known_median=0.9)

    assert knows([0.95] * 15 + [0.1] * 5, cut)
    assert not knows([0.95] * 19, cut)
    assert not knows([0.95] * 10 + [0.1] * 15, cut)
    assert not knows([], Cut(percentile=5))


def test_outliers_leave_with_their_score(tmp_path: Path) -> None:
    """The worst tenth goes with its score on record; what cannot be judged stays, and the report says how many that is."""
    pictures = {
        f"p{n:02d}.png": (encoded(scene(n)), f"score {n}" if n < 20 else "score ?") for n in range(25)
    }
    report = curated(tmp_path / "out", pictures, Tools(encoder=Stated()))
    lines = [json.loads(line) for line in (tmp_path / "out" / "decisions.jsonl").read_text().splitlines()]

    assert {"caption_mismatch": 1} == report.dropped
    assert [("p00.png", 0.0, "scores 0.000, below 1.000")] == [
        (li["name"], li["score"], li["detail"]) for li in lines if li["decision"] == "dropped"
    ]
    assert "5 of 25 pairs could not be judged by stated and were kept." == report.notes["outliers"]
    assert {"stated": 7.0} in [sample.facts["scores"] for sample in read_samples(tmp_path / "out")]


def test_text_is_masked_and_too_much_text_leaves(tmp_path: Path) -> None:
    """Boxes lie in the sample's facts where the text lies in its picture; a picture that is mostly text is left out."""
    little, much = scene(1, 128, 128), scene(2, 128, 128)
    ImageDraw.Draw(little).rectangle((10, 100, 59, 119), fill=(255, 0, 255))
    ImageDraw.Draw(much).rectangle((0, 0, 127, 99), fill=(255, 0, 255))
    pictures = {
        "little.png": (encoded(little), "a"),
        "much.png": (encoded(much), "b"),
        "none.png": (encoded(scene(3, 128, 128)), "c"),
    }
    report = curated(tmp_path / "out", pictures, Tools(reader=Marked()))
    masked = {sample.facts["source"]: sample.facts["masked"] for sample in read_samples(tmp_path / "out")}

    assert {"mostly_text": 1} == report.dropped
    assert {"little.png": [[5, 50, 30, 60]], "none.png": []} == masked
    assert 1 == report.masked_text


def test_steps_that_did_not_run_are_said(tmp_path: Path) -> None:
    """Switched off is said in the report, never invented."""
    report = curated(tmp_path / "out", {"a.png": (encoded(scene(1)), "a")}, Tools())

    assert "switched off" in report.notes["outliers"]
    assert "switched off" in report.notes["text"]
    assert None is report.encoder


@pytest.mark.parametrize(
    ("text", "width", "height", "expected"),
    [
        ("SALE", 400, 300, True),
        ("25%", 60, 30, True),
        ("26", 511, 459, False),
        ("0000", 300, 90, False),
        ("8", 20, 20, False),
        ("-- ..", 80, 20, False),
    ],
)
def test_things_that_look_like_letters(text: str, width: int, height: int, expected: bool) -> None:
    """A guitar is no "10" and two wheels no "00", while a small price and a large word are text."""
    corners = [(0, 0), (width, 0), (width, height), (0, height)]

    assert expected == is_text(text, corners, 512)


def test_covered_area_counts_overlaps_once() -> None:
    """Two boxes over each other cover no more than one."""
    assert 0.25 == text_area([(0, 0, 5, 5), (0, 0, 5, 5)], 10, 10)


def test_the_catalogue_parser() -> None:
    """Of a thousand captions said by the grammar nearly all name their kind, and hardly one names a wrong one."""
    rng = Random(11)
    pairs = [(scene, parse(caption(scene, rng))) for scene in (training_scene(rng) for _ in range(1000))]
    parsed = [(scene, said) for scene, said in pairs if said.kind is not None]

    assert len(parsed) >= 950
    assert sum(scene.kind != said.kind for scene, said in parsed) <= 5
    with_colour = [(scene, said) for scene, said in parsed if said.colours]
    assert len(with_colour) >= 700
    assert sum(scene.colour not in said.colours for scene, said in with_colour) <= 10


@pytest.mark.parametrize(
    ("said", "kind", "colours"),
    [
        ("a red mug on a white background", "mug", {"red"}),
        ("a mug in blue against a pink wall", "mug", {"blue"}),
        ("no mug, just a green sofa", "sofa", {"green"}),
        ("a mug and a lamp", None, set()),
        ("a photo of my cat", None, set()),
        ("move the camera close to the teapot", "teapot", set()),
        ("rote Tasse", None, set()),
        ("", None, set()),
    ],
)
def test_what_a_caption_names(said: str, kind: str | None, colours: set[str]) -> None:
    """One kind, and the colours that stand with it; nothing that is denied, and nothing outside the catalogue."""
    assert (kind, colours) == (parse(said).kind, set(parse(said).colours))


def test_the_catalogue_encoder_on_renders() -> None:
    """True captions of renders score high, captions of another kind low, foreign ones not at all."""
    pytest.importorskip("skia", reason="the renderer is part of the [train] extra")
    from models.training.renderer import render

    scenes = [training_scene(Random(seed)) for seed in range(40)]
    pictures = [render(scene, seed) for seed, scene in enumerate(scenes)]
    encoder = open_encoder(OutlierSettings())
    assert isinstance(encoder, CatalogueEncoder)
    true = encoder.similarity(pictures, [f"a {scene.colour} {scene.kind}" for scene in scenes])
    false = encoder.similarity(pictures, [f"a {KINDS[KINDS.index(scene.kind) - 1]}" for scene in scenes])
    foreign = encoder.similarity(pictures[:2], ["a photo of my cat", ""])

    assert knows(true, encoder.default_cut)
    assert (true >= 0.1).mean() >= 0.95
    assert (false < 0.1).mean() >= 0.9
    assert np.isnan(foreign).all()


def test_settings_choose_the_cut() -> None:
    """Given numbers go before the encoder's own; what it asks of a set to know it stays."""
    encoder = Stated(default_cut=Cut(percentile=10, known_from=20))

    assert Cut(percentile=10, known_from=20) == chosen_cut(OutlierSettings(), encoder)
    assert Cut(threshold=0.3, known_from=20) == chosen_cut(OutlierSettings(threshold=0.3), encoder)


def test_clip_weights_are_never_downloaded(tmp_path: Path) -> None:
    """Without a local file the encoder says what is missing; asked for by name, that ends the run."""
    with pytest.raises(ModelNotFound, match="nothing is downloaded"):
        open_encoder(OutlierSettings(encoder="open-clip"))
    with pytest.raises(ModelNotFound, match=r"missing\.pt"):
        open_encoder(OutlierSettings(weights=tmp_path / "missing.pt"))


def open_clip_works() -> bool:
    if importlib.util.find_spec("open_clip") is None:
        return False
    try:
        import open_clip  # noqa: F401
    except (ImportError, RuntimeError):  # torchvision of another build than torch
        return False
    return True


@pytest.mark.train
@pytest.mark.skipif(not open_clip_works(), reason="open_clip is part of the [train] extra")
def test_open_clip_from_a_local_folder(tmp_path: Path) -> None:
    """A model that lies here, with random weights, scores pairs: cosines, the same in any batch, for pictures of any shape."""
    import torch
    from open_clip import CLIP

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    torch.manual_seed(1)
    model = CLIP(**config)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    encoder = open_encoder(OutlierSettings(model=f"local-dir:{tmp_path}", batch=2))
    assert isinstance(encoder, ClipEncoder)
    pictures = [np.asarray(scene(seed, 48, 32 + 8 * seed)) for seed in range(3)]
    scores = encoder.similarity(pictures, ["a mug", "a lamp", "eine Tasse"])

    assert 32 == encoder.side
    assert (np.abs(scores) <= 1).all()
    assert len({round(score, 4) for score in scores}) == 3
    assert np.allclose(scores[1:], encoder.similarity(pictures[1:], ["a lamp", "eine Tasse"]), atol=1e-5)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rapidocr the sentence says what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(RuntimeMissing, match=r"pip install 'aquatint\[train\]'"):
        open_reader(TextSettings(min_score=0.61))


def test_missing_ocr_models_are_named(tmp_path: Path) -> None:
    """A model file that is not there is named, and how to point to another."""
    pytest.importorskip("rapidocr", reason="rapidocr is part of the [train] extra")
    with pytest.raises(ModelNotFound, match=r"text\.detection_model"):
        open_reader(TextSettings(detection_model=tmp_path / "none.onnx"))


@pytest.mark.train
def test_ocr_finds_words_and_leaves_things_alone() -> None:
    """A caption and a pale watermark are found where they are; shapes that look like letters are not text."""
    pytest.importorskip("rapidocr", reason="rapidocr is part of the [train] extra")
    reader = open_reader(TextSettings())
    picture = Image.new("RGB", (320, 256), (200, 180, 150))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((100, 20, 200, 120), outline=(20, 20, 20), width=12)
    draw.text((60, 190), "SAMPLE SHOP", fill=(250, 250, 250), font=ImageFont.load_default(32))
    boxes = reader.boxes(np.asarray(picture))

    assert 1 == len(boxes)
    left, top, right, bottom = boxes[0]
    assert 30 < left < 65 < 200 < right < 320
    assert 165 < top < 200 < 215 < bottom < 250
