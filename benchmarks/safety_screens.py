"""What looking at a picture costs, in CPU milliseconds an image, preprocessing included.

    python -m benchmarks.safety_screens [--package nsfwjs-4.4.0.tgz] [--rounds N] [--out PATH]

The baseline classifier (nsfwjs's MobileNetV2 as an ONNX file) on one thread, at several batch sizes, on seeded pictures
of 128 to 2048 pixels; with --package it carries its own weights, otherwise random ones of the same shapes, which cost
the same. Beside it: the preparation alone (resizing and scaling), the call of the network alone, and what tiles add to a
picture above 1.5 megapixels. Process CPU time, so that other work on the machine is not in it: an idle core would show
the same as wall time. How much the classifier finds is not measured here, or anywhere: that takes pictures that do not
belong in a repository.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.random_mobilenet import random_mobilenet
from safety.image_screen import ImageScreen, Pixels
from safety.onnx_screen import OnnxImageScreen, prepare, run_model
from safety.screens import nsfwjs
from safety.screens.tiles import TiledScreen, views_of

SIDES, LARGE_SIDE = (128, 512, 1024), 2048
BATCHES = (1, 8)
ROUNDS = 20
#: What the issue asks for: CPU an image at this batch.
TARGET_MS, TARGET_BATCH = 15.0, 8


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--package", type=Path, help="nsfwjs's npm package; default: random weights of the same shapes"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    text = json.dumps({"machine": describe(), "screens": measure(args.rounds, args.package)}, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", "utf-8")


def measure(rounds: int = ROUNDS, package: Path | None = None) -> dict[str, Any]:
    """Per picture size and batch: p50 and p95 of CPU milliseconds an image."""
    model = nsfwjs.convert(package.read_bytes()).model if package else random_mobilenet()
    session = run_model(model)
    screen = OnnxImageScreen(card=nsfwjs.CARD, session=session, model_sha256="")
    cases = [_case(screen, session, side, batch, rounds) for side in SIDES for batch in BATCHES]
    aimed = [case["check"]["p95"] for case in cases if case["batch"] == TARGET_BATCH]
    return {
        "weights": "nsfwjs" if package else "random, same shapes",
        "rounds": rounds,
        "target_ms": TARGET_MS,
        "worst_at_batch_8_ms_p95": max(aimed),
        "cases": cases,
        "tiles": _tiles(screen, rounds),
    }


def _case(screen: OnnxImageScreen, session: Any, side: int, batch: int, rounds: int) -> dict[str, Any]:
    pictures = [_picture(side, number) for number in range(batch)]
    ready = np.stack([prepare(picture, nsfwjs.CARD) for picture in pictures])
    return {
        "side": side,
        "batch": batch,
        "check": _cpu(lambda: screen.check(pictures), rounds, batch),
        "prepare": _cpu(lambda: [prepare(picture, nsfwjs.CARD) for picture in pictures], rounds, batch),
        "network": _cpu(lambda: session.run(None, {"pixels": ready}), rounds, batch),
    }


def _tiles(screen: ImageScreen, rounds: int) -> dict[str, Any]:
    picture = _picture(LARGE_SIDE, 0)
    tiled = TiledScreen(screen)
    return {
        "side": LARGE_SIDE,
        "views": len(views_of(picture)),
        "check": _cpu(lambda: tiled.check([picture]), rounds, 1),
    }


def _picture(side: int, seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def _cpu(step: Callable[[], object], rounds: int, shared_by: int) -> dict[str, float]:
    step()  # warm
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        step()
        spent.append((time.process_time() - started) * 1000 / shared_by)
    spent.sort()
    return {
        "p50": round(statistics.median(spent), 2),
        "p95": round(spent[min(len(spent) - 1, int(0.95 * len(spent)))], 2),
        "least": round(spent[0], 2),
    }


if __name__ == "__main__":
    main()
