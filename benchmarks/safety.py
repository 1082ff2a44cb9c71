"""What safety costs: prompts, pictures, permission, metadata and signature, and their share of a picture that takes a second.

    python -m benchmarks.safety [--package nsfwjs-4.4.0.tgz] [--rounds 40] [--out FILE]

CPU milliseconds, one thread. Without the npm package of nsfwjs the classifier runs random weights of the same shape, which
cost the same. The share is that of one 1024 px PNG with a classifier installed, as much as can be asked for.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from benchmarks import safety_prompts, safety_provenance, safety_screens
from benchmarks.machine import describe
from safety.allow_token import Tokens, pixels_sha256
from safety.output_sanity import inspect
from schemas.verdict import Decision, Verdict

SIDE = 1024
RENDER_MS = 1000.0
GOALS = {"prompt_p95": 1.0, "screen_p95": 15.0, "metadata_and_signing_p95": 10.0, "share_of_a_second": 0.05}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--package", type=Path, help="tarball of nsfwjs, as `npm pack nsfwjs@4.4.0` makes it")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    text = json.dumps(measure(args.rounds, args.package), indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", "utf-8")


def measure(rounds: int, package: Path | None) -> dict[str, Any]:
    """Every part, and the whole for one picture."""
    prompts = safety_prompts.measure()
    screens = safety_screens.measure(rounds, package)
    provenance = safety_provenance.measure(rounds)
    permission = measure_permission(rounds)
    screen = _only(screens["cases"], side=SIDE, batch=safety_screens.TARGET_BATCH)["check"]
    signed = _only(provenance["cases"], side=SIDE, format="png")
    parts = {
        "prompt": prompts["screen_ms"]["p50"],
        "sanity_and_permission": permission["p50"],
        "screen": screen["p50"],
        "metadata_and_signing": signed["xmp_and_sign"]["p50"],
        "pdq": signed["pdq"]["p50"],
    }
    return {
        "benchmark": "safety",
        "machine": describe(),
        "goals_ms": GOALS,
        "prompts": prompts,
        "screens": screens,
        "provenance": provenance,
        "sanity_and_permission_ms": permission,
        "picture_1024_ms": parts,
        "share_of_a_second": round(sum(parts.values()) / RENDER_MS, 4),
    }


def measure_permission(rounds: int) -> dict[str, float]:
    """Sanity of the pixels, their digest, the token and its redemption, once for a 1024 px picture."""
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    tokens, digest = Tokens.of_this_process(), "0" * 64
    verdict = Verdict(stage="output", decision=Decision.ALLOW, policy="strict", policy_digest=digest)
    spent = []
    for _ in range(rounds):
        started = process_time()
        assert not inspect(pixels, width=SIDE, height=SIDE)
        token = tokens.issuer.issue(verdict, pixels_sha256(pixels), digest=digest, tenant="acme")
        tokens.verifier.redeem(token, pixels, digest=digest, policy_digest=digest, tenant="acme")
        spent.append((process_time() - started) * 1000)
    spent.sort()
    return {"p50": round(spent[len(spent) // 2], 3), "p95": round(spent[int(len(spent) * 0.95)], 3)}


def _only(cases: list[dict[str, Any]], **wanted: object) -> dict[str, Any]:
    """The case with these settings."""
    return next(case for case in cases if all(case[name] == value for name, value in wanted.items()))


if __name__ == "__main__":
    main()
