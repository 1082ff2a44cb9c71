# ruff: noqa: S311 - draws by lot, no secrets
"""Train the diffusion transformer and its text encoder on cached latents.

    torchrun --nproc-per-node 2 -m models.training.train_transformer --config models/training/starter.toml --out WORK

Resumes from WORK/transformer.pt when started again.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import PixArtTransformer2DModel
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedTokenizerFast, T5EncoderModel

from models.catalogue.captions import caption
from models.training.average import WeightAverage
from models.training.checkpoint import load_checkpoint, save_checkpoint
from models.training.clock import TrainingClock, constant_then_linear_rate
from models.training.config import Recipe
from models.training.latents import LatentSet, LatentStatistics, load_latents
from models.training.progress import say
from models.training.ranks import Ranks
from models.training.transformer import (
    build_text_encoder,
    build_tokenizer,
    build_transformer,
    flow_matching_loss,
    tokenize,
)

TRANSFORMER_FILE = "transformer.pt"


@dataclass
class Run:
    """All that changes while training."""

    transformer: PixArtTransformer2DModel
    text_encoder: T5EncoderModel
    tokenizer: PreTrainedTokenizerFast
    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    clock: TrainingClock
    step: int = 0
    passes: int = 0
    loss: float = 0.0


def main() -> None:
    """Set up, then data, step, log and save until the time budget is used."""
    args = _arguments()
    recipe, ranks = Recipe.read(args.config), Ranks()
    sets = load_latents(args.out, recipe)
    statistics = LatentStatistics.of(sets[0].latents)
    torch.manual_seed(recipe.seed)
    run = _start(recipe, args.out, sets[0].latents)
    torch.manual_seed(100 + ranks.rank + run.step)
    progress = run.clock.progress
    while progress < 1:
        clean, captions = _batch(recipe, run, ranks, sets, statistics)
        progress = _step(recipe, run, ranks, clean, captions, progress)
        if ranks.leads and (run.clock.save_is_due() or progress >= 1):
            _log_and_save(run, statistics, args.out)
    ranks.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of latents and checkpoints")
    return parser.parse_args()


def load_transformer(
    folder: Path, recipe: Recipe
) -> tuple[PixArtTransformer2DModel, T5EncoderModel, LatentStatistics]:
    """The averaged weights of the newest checkpoint, and the statistics its latents were normalised with."""
    state = load_checkpoint(folder / TRANSFORMER_FILE)
    if state is None:
        raise FileNotFoundError(folder / TRANSFORMER_FILE)
    statistics = LatentStatistics(state["mean"], state["deviation"])
    cells = recipe.buckets[0].height // 8
    transformer = build_transformer(recipe.transformer, len(statistics.mean), cells)
    text_encoder = build_text_encoder(recipe.transformer, len(build_tokenizer()))
    transformer.load_state_dict(state["averaged_transformer"])
    text_encoder.load_state_dict(state["averaged_text_encoder"])
    return transformer.eval(), text_encoder.eval(), statistics


def _start(recipe: Recipe, folder: Path, latents: Tensor) -> Run:
    """A fresh run, or the one the checkpoint describes."""
    own, tokenizer = recipe.transformer, build_tokenizer()
    transformer = build_transformer(own, latents.shape[1], latents.shape[2])
    text_encoder = build_text_encoder(own, len(tokenizer))
    parameters = [*transformer.parameters(), *text_encoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, own.learning_rate, (0.9, 0.99), weight_decay=0.01, fused=True)
    average = WeightAverage(parameters, own.ema_decay)
    clock = TrainingClock(own.minutes, recipe.checkpoint_seconds)
    run = Run(transformer, text_encoder, tokenizer, parameters, optimizer, average, clock)
    saved = load_checkpoint(folder / TRANSFORMER_FILE)
    if saved is not None:
        _restore(run, saved)
    return run


def _restore(run: Run, saved: dict[str, Any]) -> None:
    with torch.no_grad():
        for parameter, value in zip(run.parameters, saved["live"], strict=True):
            parameter.copy_(value)
    run.optimizer.load_state_dict(saved["optimizer"])
    run.average.weights = saved["average"]
    run.step, run.passes, run.loss = saved["step"], saved["passes"], saved["loss"]
    run.clock.resume(saved["used_seconds"])


def _batch(
    recipe: Recipe, run: Run, ranks: Ranks, sets: list[LatentSet], statistics: LatentStatistics
) -> tuple[Tensor, list[str]]:
    """Normalised latents (B, C, h, w) of one bucket, the same on every rank, with freshly worded captions."""
    shares = [bucket.share for bucket in recipe.buckets]
    chosen = sets[Random(run.step).choices(range(len(sets)), shares)[0]]
    rng = Random(run.step * ranks.world + ranks.rank)
    places = [rng.randrange(len(chosen.scenes)) for _ in range(recipe.transformer.batch)]
    captions = [
        "" if rng.random() < recipe.transformer.caption_dropout else caption(chosen.scenes[i], rng)
        for i in places
    ]
    return statistics.normalise(chosen.latents[places]), captions


def _step(
    recipe: Recipe, run: Run, ranks: Ranks, clean: Tensor, captions: list[str], progress: float
) -> float:
    """One optimiser step; returns the share of the time budget used, agreed between ranks."""
    own = recipe.transformer
    rate = constant_then_linear_rate(run.step, progress, own.warmup_steps, own.constant_share)
    for group in run.optimizer.param_groups:
        group["lr"] = own.learning_rate * rate
    ids, mask = tokenize(run.tokenizer, captions)  # (B, T)
    # For 64 tokens plain attention trains a third faster on a CPU than the fused kernel, whose backward is slow.
    with sdpa_kernel(SDPBackend.MATH):
        with torch.autocast("cpu", torch.bfloat16):
            text = run.text_encoder(ids, attention_mask=mask)[0]  # (B, T, D)
        loss = flow_matching_loss(run.transformer, clean, text, mask)
    loss.backward()
    progress = ranks.average_gradients(run.parameters, run.clock.progress)
    torch.nn.utils.clip_grad_norm_(run.parameters, 1.0)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.step += 1
    run.passes += len(clean) * ranks.world
    run.average.update(run.step)
    run.loss = float(loss) if run.step == 1 else 0.98 * run.loss + 0.02 * float(loss)
    return progress


def _log_and_save(run: Run, statistics: LatentStatistics, folder: Path) -> None:
    used = run.clock.used_seconds
    live = [parameter.detach().clone() for parameter in run.parameters]
    with run.average.applied():
        transformer = {name: value.clone() for name, value in run.transformer.state_dict().items()}
        text_encoder = {name: value.clone() for name, value in run.text_encoder.state_dict().items()}
    save_checkpoint(
        folder / TRANSFORMER_FILE,
        {
            "averaged_transformer": transformer,
            "averaged_text_encoder": text_encoder,
            "mean": statistics.mean,
            "deviation": statistics.deviation,
            "live": live,
            "optimizer": run.optimizer.state_dict(),
            "average": run.average.weights,
            "step": run.step,
            "passes": run.passes,
            "loss": run.loss,
            "used_seconds": used,
        },
    )
    say(
        f"{used / 60:5.1f} min  step {run.step}  passes {run.passes}  loss {run.loss:.4f}  "
        f"{run.passes / used:.1f} images/s"
    )
    run.clock.resume(used)


if __name__ == "__main__":
    main()
