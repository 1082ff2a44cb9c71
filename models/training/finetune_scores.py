"""What an adapter does, measured on the path that serves it: the same prompts and seeds without it and with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.adapters import Adapter, WeightedAdapter
from models.card import load_card
from models.catalogue.world import Scene
from models.evaluation.classifier import Classifier
from models.evaluation.judgement import Pictures, Pixels, shares_right
from models.evaluation.likeness import psnr
from models.evaluation.pixel_checks import to_lab
from models.evaluation.prompts import unseen_prompts
from models.pipeline import FailedImage, Shot, TextToImage

#: two pictures that are equal have no finite PSNR; more than this cannot be told from it by eye
_EQUAL_DB = 99.0
_BRAND_CHECKS = 16
_SEED = 70_000
_SERVED_FILE = "onnx/transformer.int8.onnx"
#: edges of a palette's cells in CIE Lab
_LIGHTNESS = np.linspace(0, 100, 5)[1:-1]
_TINT = np.array([-60.0, -35.0, -12.0, 12.0, 35.0, 60.0])


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A prompt with its seed, at the model's first size and default steps and guidance."""

    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Scores without and with an adapter, and brand prompts drawn both ways, uint8 (H, W, 3)."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    samples: Pixels


def measure_adapter(
    folder: Path, adapter: Adapter, pictures: Pictures, brand_prompts: Sequence[str], checks: Sequence[str],
    base_checks: int, between: Callable[[], None],
) -> Figures:  # fmt: skip
    """Measure one adapter on its model.

    `brand_palette` is how much of the palette of the brand's own pictures the drawn ones share, 0 to 1. `base_psnr` in dB
    is how near ordinary prompts stay to what they gave without the adapter. `base_right` is the share of ordinary prompts
    drawn right by the meter, for models of the catalogue world.

    Args:
        folder: the model.
        adapter: made for it.
        pictures: the brand's own.
        brand_prompts: with the trigger.
        checks: ordinary prompts, for a model of an open domain.
        base_checks: how many ordinary prompts to draw.
        between: called between pictures; may raise to stop.
    """
    model = open_served(folder)
    used = (WeightedAdapter(adapter=adapter),)
    asked = [Asked(prompt=p, seed=_SEED + i) for i, p in enumerate(brand_prompts[:_BRAND_CHECKS])]
    plain, branded = (draw(model, asked, adapters, between) for adapters in ((), used))
    before = {"brand_palette": palette_overlap(plain, pictures)}
    after = {"brand_palette": palette_overlap(branded, pictures)}
    scored = unseen_prompts()[:base_checks]
    closed = model.card.domain == "closed"
    ordinary = (
        [Asked(prompt=p.prompt, seed=p.seed) for p in scored] if closed else _seeded(checks[:base_checks])
    )
    if ordinary:
        untouched, touched = (draw(model, ordinary, adapters, between) for adapters in ((), used))
        before["base_psnr"], after["base_psnr"] = _EQUAL_DB, _mean_psnr(untouched, touched)
        if closed:
            scenes = [p.scene for p in scored]
            before["base_right"], after["base_right"] = (
                share_right(untouched, scenes),
                share_right(touched, scenes),
            )
    return Figures(before=_rounded(before), after=_rounded(after), samples=_two_rows(plain, branded))


def open_served(folder: Path) -> TextToImage:
    """The model as a worker runs it, or in torch where it was not exported."""
    if _SERVED_FILE in load_card(folder, verify=False).files:
        return TextToImage.open(folder)
    return TextToImage.open(folder, "torch", "fp32")


def draw(
    model: TextToImage,
    asked: Sequence[Asked],
    adapters: tuple[WeightedAdapter, ...],
    between: Callable[[], None],
) -> Pictures:
    """Draw prompts at the model's first size and defaults; any failure is raised, for a score of the others would mislead."""
    (width, height), steps, guidance = (
        model.card.sizes[0],
        model.card.steps.default,
        model.card.guidance.default,
    )
    pictures = []
    for one in asked:
        between()
        shot = Shot(
            prompt=one.prompt, seed=one.seed, width=width, height=height, steps=steps, guidance=guidance,
            adapters=adapters,
        )  # fmt: skip
        result = model.render([shot])[0]
        if isinstance(result, FailedImage):
            raise result.error
        pictures.append(result.pixels)
    return pictures


def share_right(pictures: Pictures, scenes: Sequence[Scene]) -> float:
    """Share of pictures in which the meter sees kind, colour, background and layout right."""
    return shares_right(Classifier().judge(pictures), scenes)["joint"].value


def palette_overlap(a: Pictures, b: Pictures) -> float:
    """Overlap of the two sets' histograms over cells of CIE Lab (Swain and Ballard 1991); 1 for equal palettes."""
    return float(np.minimum(_palette(a), _palette(b)).sum())


def _palette(pictures: Pictures) -> npt.NDArray[np.float64]:
    counts = np.zeros((len(_LIGHTNESS) + 1, len(_TINT) + 1, len(_TINT) + 1))
    for picture in pictures:
        lab = to_lab(picture[::2, ::2])  # (H / 2, W / 2, 3)
        cells = tuple(
            np.digitize(lab[..., i], edges).ravel() for i, edges in enumerate((_LIGHTNESS, _TINT, _TINT))
        )
        np.add.at(counts, cells, 1 / cells[0].size)
    return np.asarray(counts / len(pictures))


def _mean_psnr(a: Pictures, b: Pictures) -> float:
    return float(np.mean([min(_EQUAL_DB, psnr(x, y)) for x, y in zip(a, b, strict=True)]))


def _seeded(prompts: Sequence[str]) -> list[Asked]:
    return [Asked(prompt=prompt, seed=_SEED + 1000 + i) for i, prompt in enumerate(prompts)]


def _two_rows(above: Pictures, below: Pictures, columns: int = 8) -> Pixels:
    return np.vstack([np.hstack(list(row[:columns])) for row in (above, below)])


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}
