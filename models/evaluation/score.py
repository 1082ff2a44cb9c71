# ruff: noqa: S311 - draws by lot, no secrets
"""Score a model on the fixed prompts, beside its ceiling on real renders and its chance line on shuffled prompts.

python -m models.evaluation.score models/starter --runtime onnx --precision int8 --out score.json
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from models.catalogue.world import Scene
from models.evaluation.classifier import Classifier
from models.evaluation.judgement import Meter, shares_right
from models.evaluation.machine import describe_machine
from models.evaluation.pixel_checks import PixelMeter
from models.evaluation.prompts import ScoredPrompt, seen_prompts, unseen_prompts
from models.pipeline import FailedImage, Shot, TextToImage

Pictures: TypeAlias = Sequence[npt.NDArray[np.uint8]]


def main() -> None:
    """Render the prompts, judge them, print the table."""
    args = _arguments()
    model = TextToImage.open(args.folder, args.runtime, args.precision)
    steps, guidance = args.steps or model.card.steps.default, args.guidance or model.card.guidance.default
    report: dict[str, Any] = {
        "model": f"{model.card.name} {model.card.version}",
        "digest": model.card.digest,
        "runtime": args.runtime,
        "precision": args.precision,
        "steps": steps,
        "guidance": guidance,
        "machine": describe_machine(),
    }
    prompts = {"unseen": unseen_prompts()[: args.count], "seen": seen_prompts(args.count)}
    for name, part in prompts.items():
        started = time.perf_counter()
        pictures = draw(model, part, steps, guidance)
        report[f"{name}_seconds_per_image"] = round((time.perf_counter() - started) / len(part), 4)
        report[name] = judge(pictures, [prompt.scene for prompt in part])
        if name == "unseen":
            report["chance"] = judge(pictures, shuffled([prompt.scene for prompt in part]))
    report["ceiling"] = ceiling([prompt.scene for prompt in prompts["unseen"]])
    sys.stdout.write(table(report) + "\n")
    if args.out:
        args.out.write_text(json.dumps(report, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runtime", choices=["onnx", "torch"], default="onnx")
    parser.add_argument("--precision", choices=["int8", "fp32"], default="int8")
    parser.add_argument("--steps", type=int, help="default: the card's")
    parser.add_argument("--guidance", type=float, help="default: the card's")
    parser.add_argument("--count", type=int, default=200, help="prompts of each kind")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def draw(model: TextToImage, prompts: Sequence[ScoredPrompt], steps: int, guidance: float) -> Pictures:
    """One picture per prompt in the model's first size; any failure is raised, for a score of the others would mislead."""
    width, height = model.card.sizes[0]
    pictures = []
    for prompt in prompts:
        shot = Shot(
            prompt=prompt.prompt, seed=prompt.seed, width=width, height=height, steps=steps, guidance=guidance
        )  # fmt: skip
        result = model.render([shot])[0]
        if isinstance(result, FailedImage):
            raise result.error
        pictures.append(result.pixels)
    return pictures


def judge(pictures: Pictures, scenes: Sequence[Scene]) -> dict[str, dict[str, float]]:
    """Shares right after both meters."""
    meters: dict[str, Meter] = {"classifier": Classifier(), "pixels": PixelMeter.open()}
    return {name: _rounded(shares_right(meter.judge(pictures), scenes)) for name, meter in meters.items()}


def shuffled(scenes: Sequence[Scene]) -> list[Scene]:
    """The same scenes against other pictures: a meter that still says right is broken."""
    return [
        scenes[(i + len(scenes) // 2) % len(scenes)]
        for i in Random(0).sample(range(len(scenes)), len(scenes))
    ]


def ceiling(scenes: Sequence[Scene]) -> dict[str, dict[str, float]] | None:
    """The meters on real renders of the same scenes; None where skia is not installed."""
    try:
        from models.training.renderer import render
    except ImportError:
        return None
    return judge([render(scene, seed) for seed, scene in enumerate(scenes)], scenes)


def table(report: dict[str, Any]) -> str:
    """The report as text, one line per kind of prompt and meter."""
    lines = [
        f"{report['model']}, {report['runtime']} {report['precision']}, {report['steps']} steps, "
        f"guidance {report['guidance']:g}, {report['unseen_seconds_per_image'] * 1000:.0f} ms an image"
    ]
    for name in ("unseen", "seen", "ceiling", "chance"):
        for meter, shares in (report[name] or {}).items():
            lines.append(
                f"{name:8} {meter:10} " + "  ".join(f"{key} {value:.3f}" for key, value in shares.items())
            )
    return "\n".join(lines)


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}


if __name__ == "__main__":
    main()
