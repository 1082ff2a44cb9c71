"""A whole evaluation of a small subject, and the page and figures it becomes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.catalogue.world import Scene
from models.errors import TooFewSamples
from models.evaluation import evaluation
from models.evaluation.evaluation import Counts, Evaluation, Plan, evaluate, spread_evenly
from models.evaluation.page import render_page, write_page
from models.evaluation.page_style import STYLE
from models.evaluation.plots import histogram
from models.evaluation.prompts import ScoredPrompt, seen_prompts, unseen_prompts
from models.evaluation.subject import Drawing, OnImage
from models.evaluation.summary import summarise

SMALL = Counts(
    unseen=6, handwritten=5, seen=5, gate=4, training=20, diversity_prompts=2, diversity_seeds=3, comparison=6
)


class Patches:
    """Draws a coloured patch per prompt, decided by prompt and seed; a little noise makes another setting."""

    size = (128, 128)

    def __init__(self, name: str = "patches <b>", noise: int = 0, unknown: str = "") -> None:
        self.name, self.noise, self.unknown = name, noise, unknown
        self.drawn: list[str] = []

    def knows(self, scene: Scene) -> bool:
        """Everything but what it was told not to."""
        return scene.layout != self.unknown

    def describe(self) -> dict[str, Any]:
        """Hostile on purpose: a name must not become markup."""
        return {
            "name": self.name, "version": "1", "digest": "d" * 64, "runtime": "onnx", "precision": "int8", "steps": 4,
            "guidance": 1.0, "adapters": [],
        }  # fmt: skip

    def draw(self, prompts: Sequence[ScoredPrompt], on_image: OnImage | None = None) -> Drawing:
        """One patch on a ground per prompt."""
        pictures = []
        for i, prompt in enumerate(prompts):
            self.drawn.append(prompt.prompt)
            rng = np.random.default_rng([prompt.seed, len(prompt.prompt)])
            picture = np.full((128, 128, 3), rng.integers(0, 256, 3), np.uint8)
            picture[32:96, 40:90] = rng.integers(0, 256, 3)
            spoilt = picture + np.random.default_rng(i).integers(-self.noise, self.noise + 1, picture.shape)
            pictures.append(spoilt.clip(0, 255).astype(np.uint8))
            if on_image:
                on_image(i + 1, len(prompts))
        return Drawing(pictures=pictures, seconds_per_image=0.01)


@pytest.fixture(scope="module")
def core_result() -> Evaluation:
    """What a laptop without the training extra measures."""
    patch = pytest.MonkeyPatch()
    patch.setattr(evaluation, "_renderer_is_installed", lambda: False)
    plan = Plan(counts=SMALL, violates=lambda pixels, _: bool(pixels[64, 64, 0] > 250))
    result = evaluate(Patches(), plan, reference=Patches("reference", noise=6))
    patch.undo()
    return result


def test_without_the_renderer_the_meters_still_measure(core_result: Evaluation) -> None:
    """Following, safety and comparison need no extra; the other parts say what they need; nothing is made up."""
    assert {"gate", "memorisation", "diversity", "features"} == set(core_result.skipped)
    assert all("aquatint[train]" in reason for reason in core_result.skipped.values())
    assert {"unseen", "handwritten", "seen"} == set(core_result.following)
    assert core_result.following["unseen"].ceiling is None
    assert core_result.gate is None
    assert core_result.safety is not None
    assert 16 == core_result.safety.count
    assert core_result.comparison is not None
    assert 6 == len(core_result.comparison.psnr)


def test_each_list_is_drawn_once() -> None:
    """Parts share pictures: a prompt is rendered once, and progress is told picture by picture."""
    subject, told = Patches(), []
    plan = Plan(parts=("following", "safety"), counts=SMALL, violates=lambda *_: False)

    evaluate(subject, plan, on_progress=lambda what, done, count: told.append((what, done, count)))

    assert 16 == len(subject.drawn)
    assert ("handwritten", 5, 5) in told


def test_what_a_model_does_not_claim_is_left_out_and_counted() -> None:
    """A model that knows no pairs is not asked for any; the report says how many prompts that cost."""
    plan = Plan(parts=("following",), counts=Counts(unseen=60, handwritten=0, seen=0))

    result = evaluate(Patches(unknown="pair"), plan)

    count = result.following["unseen"].count
    assert 0 < count < 60
    assert 60 - count == result.left_out["unseen"] == result.as_json()["left_out"]["unseen"]
    assert all(prompt.scene.layout != "pair" for prompt in result.drawn["unseen"].prompts)
    assert "outside its words left out" in summarise(result)
    assert "left out" in render_page(result)


def test_parts_without_what_they_need_are_named() -> None:
    """No screen, nothing to compare with: said so, not measured."""
    result = evaluate(Patches(), Plan(parts=("safety", "comparison"), counts=SMALL))

    assert {"safety", "comparison"} == set(result.skipped)
    assert {} == result.drawn


def test_a_part_without_prompts_is_refused() -> None:
    """A comparison over no picture would be an empty claim."""
    plan = Plan(parts=("comparison",), counts=Counts(unseen=0))

    with pytest.raises(TooFewSamples, match="unseen"):
        evaluate(Patches(), plan, reference=Patches())


def test_figures_are_json_with_all_counts(core_result: Evaluation) -> None:
    """Strict JSON (no NaN, no infinity), with the shape that the model card is written from."""
    figures = json.loads(json.dumps(core_result.as_json(), allow_nan=False))

    assert 1 == figures["format"]
    share = figures["following"]["unseen"]["meters"]["classifier"]["joint"]
    assert {"share", "right", "count", "low", "high"} == set(share)
    assert 2995 == figures["safety"]["claim_needs_count"]
    assert figures["comparison"]["reference"]["name"] == "reference"


def test_the_summary_says_every_verdict(core_result: Evaluation) -> None:
    """Scores, chance, the bound, the comparison, and what was not measured."""
    text = summarise(core_result)

    for word in ("unseen", "chance", "true rate below", "PSNR", "no score may fall", "not measured: gate"):
        assert word in text


def test_the_whole_evaluation_with_the_renderer(tmp_path: Path) -> None:
    """With the training extra every part is measured, and patches do not pass for products."""
    pytest.importorskip("skia", reason="the renderer is part of the [train] extra")

    result = evaluate(Patches(), Plan(counts=SMALL, violates=lambda *_: False), reference=Patches())

    assert {} == result.skipped
    assert result.gate is not None and not result.gate.passed
    assert result.gate.contour_overlap.real > result.gate.contour_overlap.model
    assert result.memorisation is not None and result.memorisation.passed
    assert result.features is not None
    assert "fewer than" in result.features["domain_FID_refused"]
    assert not {"FID", "KID", "inception_score"} & set(result.features)
    ceiling = result.following["unseen"].ceiling
    assert ceiling is not None and ceiling["classifier"]["background"].value == 1
    assert result.comparison is not None and result.comparison.as_json()["identical"] == 6
    write_page(result, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 50_000


class PageReader(HTMLParser):
    """Collects what a reader with a screen reader, or without a network, would miss."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "line", "rect", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert tag == self.open.pop()


def test_the_page_is_whole_and_stands_alone(core_result: Evaluation) -> None:
    """Well-formed; no script; nothing is loaded from anywhere; pictures have alternative texts, tables have headers."""
    page = render_page(core_result)
    reader = PageReader()
    reader.feed(page)

    assert [] == reader.open
    names = [tag for tag, _ in reader.tags]
    assert {"html", "h1", "h2", "table", "caption", "svg", "img"} <= set(names)
    assert not {"script", "link", "iframe"} & set(names)
    images = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert all(image["alt"] and (image["src"] or "").startswith("data:image/png;base64,") for image in images)
    assert all(attributes.get("scope") for tag, attributes in reader.tags if tag == "th")
    assert all(attributes.get("aria-label") for tag, attributes in reader.tags if tag == "svg")
    assert ("html", {"lang": "en"}) in reader.tags
    assert not re.search(r"https?://|@import|url\(", page)


def test_names_and_prompts_are_text_not_markup(core_result: Evaluation) -> None:
    """A model called `patches <b>` is written so, everywhere."""
    assert "patches <b>" not in render_page(core_result)
    assert "patches &lt;b&gt;" in render_page(core_result)


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_is_enough_in_light_and_dark(scheme: int) -> None:
    """Text and verdicts at least 4.5 to 1, marks in plots at least 3 to 1 (WCAG 2.2 AA)."""
    blocks = re.findall(r":root \{([^}]*)\}", STYLE)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", blocks[scheme]))
    paper = luminance(colours["paper"])

    for name in ("ink", "soft", "good", "bad", "accent", "mark"):
        bright, dim = sorted((luminance(colours[name]), paper), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= (3 if name in ("accent", "mark") else 4.5), name


def test_a_histogram_of_equal_values() -> None:
    """Nothing to divide by is no reason to fail."""
    assert histogram("x", [3.0, 3.0], "dB").count("<rect") == 16


def test_prompts_are_taken_from_the_whole_list() -> None:
    """A short run sees the end of a sorted list, too; asking for more than there is gives all."""
    prompts = unseen_prompts()

    few = spread_evenly(prompts, 10)

    assert (prompts[0], prompts[-1], 10) == (few[0], few[-1], len(set(map(id, few))))
    assert prompts == spread_evenly(prompts, 10_000)
    assert 3 == len(seen_prompts(3))
