"""Starter model: our images per second against the stock diffusers pipeline, on one thread each, in one run.

    python -m benchmarks.starter [--model models/starter] [--seconds 10] [--out FILE]

Both draw the same prompts from the same weights with the same steps, guidance and size. Ours is ONNX Runtime with an
INT8 transformer; the yardstick is PixArtSigmaPipeline in torch eager, fp32, one picture at a time and four at a time,
whichever is faster. The two take turns, round by round, so that a busy moment of the machine meets both.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from models.diffusers_reference import CALL_DEFAULTS, load_pipeline
from models.evaluation.prompts import unseen_prompts
from models.pipeline import FailedImage, Shot, TextToImage

STEPS = (4, 8, 20)
ROUNDS = 5
PIPELINE_BATCHES = (1, 4)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/starter"))
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    text = json.dumps(measure(args.model, args.seconds), indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def measure(folder: Path, seconds: float) -> dict[str, Any]:
    """All figures: the comparison at the default steps, and ours at several step counts."""
    model = TextToImage.open(folder, threads=1)
    return {
        "benchmark": "starter",
        "machine": describe(),
        "model": f"{model.card.name} {model.card.version}",
        "digest": model.card.digest,
        "size": "{}x{}".format(*model.card.sizes[0]),
        "steps": model.card.steps.default,
        "guidance": model.card.guidance.default,
        "threads": 1,
        **compare(model, folder, seconds),
        "images_per_second_by_steps": images_per_second(
            {str(steps): partial(draw_ours, model, steps) for steps in STEPS}, seconds
        ),
    }


def compare(model: TextToImage, folder: Path, seconds: float) -> dict[str, Any]:
    """Ours against diffusers, or the reason why there is no comparison."""
    try:
        import torch

        pipe = load_pipeline(folder)
    except ImportError as error:
        return {"times_faster": None, "why_not": f"{error}: the yardstick needs the [train] extra"}
    torch.set_num_threads(1)
    contestants = {"ours": partial(draw_ours, model, model.card.steps.default)}
    contestants |= {f"diffusers_batch_{n}": partial(draw_stock, pipe, model, n) for n in PIPELINE_BATCHES}
    rates = images_per_second(contestants, seconds)
    stock = max(rate for name, rate in rates.items() if name != "ours")
    return {
        "images_per_second": rates,
        "times_faster": round(rates["ours"] / stock, 2),
        "goal_times_faster": 3.0,
    }


def draw_ours(model: TextToImage, steps: int) -> int:
    """Draw one prompt after the other through our pipeline; texts stay cached, as in a worker."""
    width, height = model.card.sizes[0]
    prompts = unseen_prompts()[:4]
    shots = [
        Shot(
            prompt=p.prompt,
            seed=p.seed,
            width=width,
            height=height,
            steps=steps,
            guidance=model.card.guidance.default,
        )
        for p in prompts
    ]
    for result in model.render(shots):
        if isinstance(result, FailedImage):
            raise result.error
    return len(shots)


def draw_stock(pipe: Any, model: TextToImage, batch: int) -> int:
    """Draw a batch through the diffusers pipeline."""
    width, height = model.card.sizes[0]
    prompts = [prompt.prompt for prompt in unseen_prompts()[:batch]]
    pipe(
        prompts,
        width=width,
        height=height,
        num_inference_steps=model.card.steps.default,
        guidance_scale=model.card.guidance.default,
        output_type="np",
        **CALL_DEFAULTS,
    )
    return batch


def images_per_second(contestants: dict[str, Callable[[], int]], seconds: float) -> dict[str, float]:
    """Median rate of each contestant over rounds in which all take turns."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for draw in contestants.values():
        draw()  # warm up
    for _ in range(ROUNDS):
        for name, draw in contestants.items():
            rates[name].append(_rate(draw, seconds / ROUNDS))
    return {name: round(statistics.median(values), 2) for name, values in rates.items()}


def _rate(draw: Callable[[], int], seconds: float) -> float:
    started, count, passed = time.perf_counter(), 0, 0.0
    while passed < seconds:
        count += draw()
        passed = time.perf_counter() - started
    return count / passed


if __name__ == "__main__":
    sys.exit(main())
