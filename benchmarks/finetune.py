"""A brand learnt in minutes: how much of its look comes when it is asked for, and what that costs all other prompts.

    python -m benchmarks.finetune [--model models/starter] [--steps N | --minutes M] [--out FILE] [--grid FILE.png]

Twenty rendered pictures of the demonstration brand (`models/catalogue/brand.py`) become an adapter. The brand score is the
share of held-out prompts (kinds and colours that are in none of the twenty) whose picture shows the whole look, judged by
plain pixel arithmetic whose ceiling on real renders and false alarms are measured beside it. Base scores are the meter's on
the fixed prompts with unseen pairs, without the brand, with the adapter on. Everything is drawn by the path that serves it.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import describe
from models.adapters import WeightedAdapter, load_adapter
from models.catalogue.brand import NAME, brand_captions, brand_scenes, held_out_scenes
from models.catalogue.captions import FILLER
from models.catalogue.world import COLOURS
from models.evaluation.brand_check import brand_share
from models.evaluation.classifier import Classifier
from models.evaluation.judgement import Pictures, shares_right
from models.evaluation.prompts import unseen_prompts
from models.pipeline import TextToImage
from models.training.finetune import DEFAULT_STEPS, FinetuneJob, FinetuneProgress, FinetuneResult, finetune
from models.training.finetune_prompts import trigger_forms
from models.training.finetune_scores import Asked, draw, open_served

TRIGGER = f"{NAME} style"
#: pixels a side of the brand's own pictures: as customers' are, larger than what the model draws
PICTURE_SIDE = 256
SEED = 40_000
GOALS = {"minutes": 10.0, "brand_gain_points": 50.0, "base_loss_points": 5.0}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/starter"))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--brand-prompts", type=int, default=100)
    parser.add_argument("--base-prompts", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="write the adapter here")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--grid", type=Path, help="write a sheet of held-out prompts before and after")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        job = FinetuneJob(
            model_folder=args.model, images=draw_brand(Path(scratch)), name=NAME, trigger=TRIGGER,
            out=args.keep or Path(scratch) / "adapter", rank=args.rank, steps=args.steps, minutes=args.minutes,
        )  # fmt: skip
        report, sheet = measure(job, args.brand_prompts, args.base_prompts)
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    if args.grid:
        Image.fromarray(sheet).save(args.grid, optimize=True)


def draw_brand(folder: Path) -> list[tuple[Path, str]]:
    """The brand's own pictures as files, with their captions."""
    from models.training.brand_renderer import render_brand

    scenes = brand_scenes()
    images = []
    for number, (scene, caption) in enumerate(zip(scenes, brand_captions(scenes), strict=True)):
        path = folder / f"{number:02d}.png"
        Image.fromarray(render_brand(scene, number, PICTURE_SIDE, PICTURE_SIDE)).save(path)
        images.append((path, caption))
    return images


def measure(job: FinetuneJob, brand_count: int, base_count: int) -> tuple[dict[str, Any], np.ndarray]:
    """Train, then draw every list of prompts without the adapter and with it."""
    result = finetune(job, _say)
    model = open_served(job.model_folder)
    adapter = load_adapter(result.folder, model.card)
    scenes = held_out_scenes(brand_count)
    captions = brand_captions(scenes)
    asked = {
        "brand": [
            forms[i % len(forms)] for i, forms in enumerate(trigger_forms(c, TRIGGER) for c in captions)
        ],
        "no_trigger": captions,
        "other_unknown_word": [f"{FILLER} {caption}" for caption in captions],
    }
    weights = {
        "without": (),
        "with": (WeightedAdapter(adapter=adapter),),
        "with_0.8": (WeightedAdapter(adapter=adapter, weight=0.8),),
    }
    drawn = {
        (name, how): draw(model, _seeded(prompts), adapters, _pass)
        for name, prompts in asked.items()
        for how, adapters in weights.items()
    }
    shown = {
        name: {how: brand_share(drawn[name, how], scenes).as_json() for how in weights} for name in asked
    }
    base = {how: base_scores(model, adapters, base_count) for how, adapters in weights.items()}
    report = {
        "benchmark": "finetune", "machine": describe(), "model": f"{model.card.name} {model.card.version}",
        "base_digest": model.card.base_digest, "pictures": len(job.images), "steps": result.steps,
        "default_steps": DEFAULT_STEPS, "rank": job.rank, "seconds": round(result.seconds, 1),
        "adapter": {"digest": result.digest, "before": dict(result.scores_before), "after": dict(result.scores_after)},
        "shows_the_look": shown, "base": base, "judge": judge_quality(), "goals": GOALS,
        "reached": reached(result, shown, base),
    }  # fmt: skip
    return report, _sheet(drawn["brand", "without"], drawn["brand", "with"])


def base_scores(model: TextToImage, adapters: tuple[WeightedAdapter, ...], count: int) -> dict[str, float]:
    """The meter's shares on the fixed prompts."""
    prompts = unseen_prompts()[:count]
    pictures = draw(model, [Asked(prompt=p.prompt, seed=p.seed) for p in prompts], adapters, _pass)
    shares = shares_right(Classifier().judge(pictures), [p.scene for p in prompts])
    return {name: round(share.value, 4) for name, share in shares.items()}


def judge_quality(count: int = 400) -> dict[str, Any]:
    """The brand judge on real renders: with the look, and without it in every colour there is."""
    from models.training.brand_renderer import render_brand
    from models.training.renderer import render

    scenes = held_out_scenes(count)
    plain = [replace(scene, colour=list(COLOURS)[i % len(COLOURS)]) for i, scene in enumerate(scenes)]
    return {
        "ceiling": brand_share([render_brand(s, SEED + i) for i, s in enumerate(scenes)], scenes).as_json(),
        "false_alarms": brand_share([render(s, SEED + i) for i, s in enumerate(plain)], plain).as_json(),
    }


def reached(result: FinetuneResult, shown: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """The figures the goals are about."""
    brand = shown["brand"]
    return {
        "minutes": round(result.seconds / 60, 2),
        "brand_gain_points": round(100 * (brand["with"]["share"] - brand["without"]["share"]), 1),
        "base_loss_points": {
            name: round(100 * (base["without"][name] - base["with"][name]), 1) for name in base["without"]
        },
    }


def _seeded(prompts: Sequence[str]) -> list[Asked]:
    return [Asked(prompt=prompt, seed=SEED + i) for i, prompt in enumerate(prompts)]


def _sheet(before: Pictures, after: Pictures, columns: int = 10) -> np.ndarray:
    """Pairs of rows, without the adapter above and with it below."""
    rows = []
    for start in range(0, min(len(before), 3 * columns) - columns + 1, columns):
        rows += [np.hstack(list(part[start : start + columns])) for part in (before, after)]
    return np.vstack(rows)


def _say(progress: FinetuneProgress) -> None:
    if progress.step % 100 == 0:
        loss = "" if progress.loss is None else f"  loss {progress.loss:.4f}"
        print(f"{progress.stage}  {progress.step}/{progress.steps}{loss}", file=sys.stderr, flush=True)


def _pass() -> None:
    return None


if __name__ == "__main__":
    main()
