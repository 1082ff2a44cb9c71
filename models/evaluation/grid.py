"""A sheet of pictures to judge by eye: what no meter sees.

    python -m models.evaluation.grid models/starter --out models/starter/samples.png

Prompts with unseen pairs in the order of the fixed list, each product as often as any other, nothing selected; the last
row shows the model's other sizes in turn.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from models.catalogue.world import KINDS
from models.evaluation.judgement import Pixels
from models.evaluation.prompts import ScoredPrompt, unseen_prompts
from models.pipeline import FailedImage, Shot, TextToImage

_COLUMNS = 10


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--rounds", type=int, default=2, help="how often each product is drawn in the first size"
    )
    args = parser.parse_args()
    Image.fromarray(draw_sheet(TextToImage.open(args.folder), args.rounds)).save(args.out, optimize=True)


def draw_sheet(model: TextToImage, rounds: int) -> Pixels:
    """uint8 (H, W, 3): every product `rounds` times in the first size, ten to a row, then a row of the other sizes."""
    square, *others = model.card.sizes
    pictures = [draw(model, prompt, square) for i in range(rounds) for prompt in nth_of_each_kind(i)]
    lines = [np.hstack(pictures[i : i + _COLUMNS]) for i in range(0, len(pictures), _COLUMNS)]
    if others:
        prompts = nth_of_each_kind(rounds)[:: len(KINDS) // _COLUMNS]
        last = [draw(model, prompt, others[i % len(others)]) for i, prompt in enumerate(prompts)]
        lines.append(_in_one_row(last, width=lines[0].shape[1]))
    return np.vstack(lines)


def nth_of_each_kind(place: int) -> list[ScoredPrompt]:
    """The prompt at this place among those of each kind."""
    prompts = unseen_prompts()
    return [[p for p in prompts if p.scene.kind == kind][place] for kind in KINDS]


def draw(model: TextToImage, prompt: ScoredPrompt, size: tuple[int, int]) -> Pixels:
    """One picture at the card's default steps and guidance."""
    width, height = size
    steps, guidance = model.card.steps.default, model.card.guidance.default
    shot = Shot(
        prompt=prompt.prompt, seed=prompt.seed, width=width, height=height, steps=steps, guidance=guidance
    )
    result = model.render([shot])[0]
    if isinstance(result, FailedImage):
        raise result.error
    return result.pixels


def _in_one_row(pictures: Sequence[Pixels], width: int) -> Pixels:
    """Pictures of several heights side by side on white, cut or filled to `width`."""
    height = max(picture.shape[0] for picture in pictures)
    row = np.full((height, max(width, sum(p.shape[1] for p in pictures)), 3), 255, np.uint8)
    left = 0
    for picture in pictures:
        row[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1]
    return row[:, :width]


if __name__ == "__main__":
    main()
