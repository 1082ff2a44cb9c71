# ruff: noqa: S311 - draws by lot, no secrets
"""Train the meter's classifier on renders and measure the pixel meter's class centres; one process, a few minutes.

    python -m models.training.train_meter

It counts steps, not minutes: a judge must not depend on how busy the machine was.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.catalogue.world import Scene, sample_scene
from models.evaluation.classifier import CLASSIFIER_FILE, JUDGED_SIZE, Classifier, squared
from models.evaluation.judgement import ATTRIBUTES, Pixels, shares_right
from models.evaluation.pixel_checks import CENTRES_FILE, PixelMeter, fit_centres
from models.training.onnx_traces import remove_traces
from models.training.progress import say
from models.training.renderer import render

_FOLD = 2  # pixels of each side that become channels: half the work of a first convolution at full size
_WIDTHS = (3 * _FOLD**2, 32, 64, 96, 128)
_STRIDES = (2, 2, 2, 1)
_TEXTURE_BLOCKS = 2  # whose channel means tell textures and sharp edges apart
_SQUEEZED = 64
_EMBEDDED = 128
_SIZES = ((128, 128), (160, 96), (96, 160))
_SIZE_SHARES = (0.9, 0.05, 0.05)
_HELD_OUT_SHARE = 0.1
_CENTRE_COUNT = 3000
_CHECK_COUNT = 2000
_LOSS_WEIGHTS = {"material": 2.0}  # the hardest attribute to see


@dataclass(frozen=True, kw_only=True)
class MeterRecipe:
    """Everything that decides the classifier."""

    steps: int = 2000
    batch: int = 64
    learning_rate: float = 3e-3
    seed: int = 77


class ClassifierNet(nn.Module):  # type: ignore[misc]
    """Four convolutions, an embedding, and one linear layer for all attributes; 0.35M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )
            for (before, after), stride in zip(pairwise(_WIDTHS), _STRIDES, strict=True)
        )
        textures = sum(_WIDTHS[1 : _TEXTURE_BLOCKS + 1])
        self.texture_norm = nn.BatchNorm1d(textures, affine=False)
        squeeze = nn.Conv2d(_WIDTHS[-1], _SQUEEZED, 1)
        embed, norm = nn.Linear(_SQUEEZED * 16, _EMBEDDED), nn.BatchNorm1d(_EMBEDDED, affine=False)
        self.embedding = nn.Sequential(nn.AvgPool2d(2), squeeze, nn.ReLU(), nn.Flatten(), embed, norm)
        self.head = nn.Linear(textures + _EMBEDDED, sum(len(classes) for classes in ATTRIBUTES.values()))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 128, 128) in [-1, 1] to logits of all attributes side by side, and features (B, F)."""
        x, means = functional.pixel_unshuffle(pictures, _FOLD), []  # (B, 12, 64, 64)
        for block in self.blocks:
            x = block(x)  # (B, C, 64 / 2^k, 64 / 2^k)
            means.append(x.mean((2, 3)))  # (B, C)
        texture = self.texture_norm(torch.cat(means[:_TEXTURE_BLOCKS], dim=1))  # (B, 96)
        features = torch.cat([texture, self.embedding(x)], dim=1)  # (B, F)
        return self.head(functional.relu(features)), features


def main() -> None:
    """Train, export, fit the centres, and say how well both meters read fresh renders."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=MeterRecipe.steps)
    parser.add_argument("--seed", type=int, default=MeterRecipe.seed)
    parser.add_argument("--out", type=Path, default=CLASSIFIER_FILE)
    parser.add_argument("--centres", type=Path, default=CENTRES_FILE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = MeterRecipe(steps=args.steps, seed=args.seed)
    export(train(recipe), args.out)
    pictures, scenes = judged_renders(_CENTRE_COUNT, Random(recipe.seed + 1))
    args.centres.write_text(json.dumps(fit_centres(pictures, scenes)) + "\n")
    report_ceiling(args.out, args.centres, recipe.seed + 2)


def judged_renders(count: int, rng: Random) -> tuple[list[Pixels], list[Scene]]:
    """Renders with their scenes; a share of them shows held-out pairs, which the meter must know."""
    pictures, scenes = [], []
    for _ in range(count):
        scene = sample_scene(rng, rng.random() < _HELD_OUT_SHARE)
        width, height = rng.choices(_SIZES, _SIZE_SHARES)[0]
        pictures.append(render(scene, rng.getrandbits(40), width, height))
        scenes.append(scene)
    return pictures, scenes


def train(recipe: MeterRecipe) -> ClassifierNet:
    """Cross entropy over all attributes, on fresh renders made noisy or soft at times: generated pictures are both."""
    torch.manual_seed(recipe.seed)
    net = ClassifierNet()
    net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.steps, pct_start=0.1
    )
    started = time.monotonic()
    for step, (inputs, labels) in enumerate(_batches(recipe)):
        with torch.autocast("cpu", torch.bfloat16):
            logits, _ = net(_disturb(inputs))
        loss = attribute_loss(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == recipe.steps - 1:
            say(f"step {step}  loss {loss.item():.3f}  {time.monotonic() - started:.0f} s")
    net.eval()
    return net


def attribute_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Weighted sum of the cross entropies of each attribute; labels int64 (B, attributes)."""
    parts = logits.split([len(classes) for classes in ATTRIBUTES.values()], dim=1)
    return torch.stack(
        [
            functional.cross_entropy(part, labels[:, i]) * _LOSS_WEIGHTS.get(name, 1.0)
            for i, (name, part) in enumerate(zip(ATTRIBUTES, parts, strict=True))
        ]
    ).sum()


def scene_labels(scenes: list[Scene]) -> Tensor:
    """Class numbers, int64 (N, attributes)."""
    rows = [[classes.index(getattr(scene, name)) for name, classes in ATTRIBUTES.items()] for scene in scenes]
    return torch.tensor(rows)


def export(net: ClassifierNet, path: Path = CLASSIFIER_FILE) -> None:
    """Write the classifier as ONNX."""
    torch.onnx.export(
        net.to(memory_format=torch.contiguous_format), (torch.zeros(2, 3, JUDGED_SIZE, JUDGED_SIZE),), str(path),
        dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), input_names=["pictures"],
        output_names=["logits", "features"], external_data=False, opset_version=20, verbose=False,
    )  # fmt: skip
    remove_traces(path)


def report_ceiling(classifier: Path, centres: Path, seed: int) -> None:
    """Say how often both meters are right on fresh renders: nothing generated can be expected to score above it."""
    pictures, scenes = judged_renders(_CHECK_COUNT, Random(seed))
    pixel_meter = PixelMeter.open(centres)
    net = shares_right(Classifier(classifier).judge(pictures), scenes)
    plain = shares_right(pixel_meter.judge(pictures), scenes, pixel_meter.can_judge)
    for name, shares in (("classifier", net), ("pixels", plain)):
        say(f"{name:10} " + "  ".join(f"{key} {share.value:.3f}" for key, share in shares.items()))


def _batches(recipe: MeterRecipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Fresh renders as inputs (B, 3, 128, 128), and their labels."""
    rng = Random(recipe.seed)
    for _ in range(recipe.steps):
        pictures, scenes = judged_renders(recipe.batch, rng)
        squares = torch.from_numpy(np.stack([squared(picture) for picture in pictures]))  # (B, 128, 128, 3)
        yield squares.permute(0, 3, 1, 2).float() / 127.5 - 1, scene_labels(scenes)


def _disturb(pictures: Tensor) -> Tensor:
    """Add noise to a third of a batch (B, 3, H, W) and soften another third."""
    third = len(pictures) // 3
    noisy, soft, rest = pictures[:third], pictures[third : 2 * third], pictures[2 * third :]
    noisy = noisy + torch.randn_like(noisy) * torch.rand(third, 1, 1, 1) * 0.12
    blurred = functional.avg_pool2d(soft, 3, 1, 1, count_include_pad=False)
    soft = torch.lerp(soft, blurred, torch.rand(third, 1, 1, 1))
    return torch.cat([noisy, soft, rest]).to(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
