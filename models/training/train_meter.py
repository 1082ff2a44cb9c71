# ruff: noqa: S311 - draws by lot, no secrets
"""Train the meter's classifier on renders and measure the pixel meter's class centres; one process, a few minutes.

python -m models.training.train_meter --config models/training/starter.toml
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.catalogue.world import Scene, sample_scene
from models.evaluation.classifier import CLASSIFIER_FILE, classifier_input
from models.evaluation.judgement import ATTRIBUTES
from models.evaluation.pixel_checks import CENTRES_FILE, fit_centres
from models.training.clock import TrainingClock
from models.training.config import Bucket, MeterRecipe, Recipe
from models.training.onnx_traces import remove_traces
from models.training.progress import say
from models.training.renderer import render
from models.training.renders import choose_bucket

_WIDTHS = (3, 24, 48, 96, 96)
_STRIDES = (2, 2, 2, 1)
_CENTRE_COUNT = 1500


class ClassifierNet(nn.Module):  # type: ignore[misc]
    """Four convolutions and one linear layer for all attributes, 0.2M parameters."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for (before, after), stride in zip(pairwise(_WIDTHS), _STRIDES, strict=True):
            layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(_WIDTHS[-1] * 16, sum(len(classes) for classes in ATTRIBUTES.values()))

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, 64, 64) in [-1, 1] to logits of all attributes side by side."""
        logits: Tensor = self.head(self.features(pictures))
        return logits


def main() -> None:
    """Set up, data, step, log and save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe.read(args.config)
    torch.manual_seed(recipe.seed)
    pictures, scenes = judged_renders(recipe.meter.count, seed=77, buckets=recipe.buckets)
    CENTRES_FILE.write_text(json.dumps(fit_centres(pictures[:_CENTRE_COUNT], scenes[:_CENTRE_COUNT])) + "\n")
    inputs = torch.from_numpy(np.stack([classifier_input(picture) for picture in pictures]))  # (N, 3, 64, 64)
    net = train(inputs, scene_labels(scenes), recipe.meter)
    export(net)


def judged_renders(
    count: int, seed: int, buckets: tuple[Bucket, ...], held_out_share: float = 0.1
) -> tuple[list[npt.NDArray[np.uint8]], list[Scene]]:
    """Renders with their scenes; a share of them shows held-out pairs, which the meter must know."""
    rng, pictures, scenes = Random(seed), [], []
    for _ in range(count):
        scene, bucket = (
            sample_scene(rng, rng.random() < held_out_share),
            choose_bucket(buckets, rng.getrandbits(32)),
        )
        pictures.append(render(scene, rng.getrandbits(40), bucket.width, bucket.height))
        scenes.append(scene)
    return pictures, scenes


def scene_labels(scenes: list[Scene]) -> Tensor:
    """Class numbers, int64 (N, attributes)."""
    rows = [[classes.index(getattr(scene, name)) for name, classes in ATTRIBUTES.items()] for scene in scenes]
    return torch.tensor(rows)


def train(inputs: Tensor, labels: Tensor, recipe: MeterRecipe) -> ClassifierNet:
    """Cross entropy over all attributes, on pictures made noisy or soft at times: generated ones are both."""
    net, clock, step = ClassifierNet(), TrainingClock(recipe.minutes, 30), 0
    optimizer = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=0.05)
    sizes = [len(classes) for classes in ATTRIBUTES.values()]
    while (progress := clock.progress) < 1:
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * max(0.02, 1 - progress)
        places = torch.randint(0, len(inputs), (recipe.batch,))
        logits = net(_disturb(inputs[places])).split(sizes, dim=1)
        loss = torch.stack(
            [functional.cross_entropy(part, labels[places, i]) for i, part in enumerate(logits)]
        ).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if clock.save_is_due():
            say(f"{progress:4.0%}  step {step}  loss {float(loss):.3f}")
            clock.resume(clock.used_seconds)
    net.eval()
    return net


def export(net: ClassifierNet, path: Path = CLASSIFIER_FILE) -> None:
    """Write the classifier as ONNX."""
    torch.onnx.export(
        net, (torch.zeros(2, 3, 64, 64),), str(path), dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        input_names=["pictures"], output_names=["logits"], external_data=False, opset_version=20, verbose=False,
    )  # fmt: skip
    remove_traces(path)


def _disturb(pictures: Tensor) -> Tensor:
    noisy = pictures + torch.randn_like(pictures) * torch.rand(len(pictures), 1, 1, 1) * 0.1
    if torch.rand(()) < 0.3:
        return functional.interpolate(functional.avg_pool2d(noisy, 2), scale_factor=2, mode="bilinear")
    return noisy


if __name__ == "__main__":
    main()
