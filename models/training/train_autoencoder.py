"""Train the autoencoder: jointly first, later the decoder alone.

    torchrun --nproc-per-node 2 -m models.training.train_autoencoder --config models/training/starter.toml --out WORK
    ... the same with --decoder-only once the latents are cached

Each phase resumes from its checkpoint (WORK/autoencoder.pt, WORK/decoder.pt) when started again.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.training.autoencoder import (
    FoldedAutoencoderKL,
    build_autoencoder,
    decoder_parameters,
    kl_to_normal,
    psnr,
    reconstruct,
    reconstruction_loss,
)
from models.training.average import WeightAverage
from models.training.checkpoint import load_checkpoint, save_checkpoint
from models.training.clock import TrainingClock, cosine_rate
from models.training.config import Recipe
from models.training.progress import say
from models.training.ranks import Ranks
from models.training.renders import choose_bucket, training_batch

JOINT_FILE = "autoencoder.pt"
DECODER_FILE = "decoder.pt"
_CHECK_SEED = 987_654_321
_CHECK_COUNT = 96


@dataclass
class Phase:
    """All that changes while one phase runs."""

    model: FoldedAutoencoderKL
    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    clock: TrainingClock
    decoder_only: bool
    step: int = 0
    passes: int = 0
    loss: float = 0.0


def main() -> None:
    """Set up, then data, step, log and save until the time budget is used."""
    args = _arguments()
    recipe, ranks = Recipe.read(args.config), Ranks()
    torch.manual_seed(recipe.seed)
    phase = _start(recipe, args.out, args.decoder_only)
    torch.manual_seed(1 + ranks.rank + phase.step)
    checks = training_batch(_CHECK_SEED, _CHECK_COUNT, recipe.buckets[0])
    progress = phase.clock.progress
    while progress < 1:
        images = _images(recipe, phase, ranks)
        progress = _step(recipe, phase, ranks, images, progress)
        if ranks.leads and (phase.clock.save_is_due() or progress >= 1):
            _log_and_save(phase, checks, args.out)
    ranks.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument(
        "--decoder-only", action="store_true", help="freeze the encoder: cached latents stay valid"
    )
    return parser.parse_args()


def load_autoencoder(folder: Path, recipe: Recipe) -> FoldedAutoencoderKL:
    """The newest averaged weights in `folder`: of the decoder phase if there is one, else of the joint phase."""
    path = folder / DECODER_FILE if (folder / DECODER_FILE).exists() else folder / JOINT_FILE
    state = load_checkpoint(path)
    if state is None:
        raise FileNotFoundError(path)
    model = build_autoencoder(recipe.autoencoder.latent_channels, recipe.autoencoder.widths)
    model.load_state_dict(state["averaged"])
    model.eval()
    return model


def _start(recipe: Recipe, folder: Path, decoder_only: bool) -> Phase:
    """A fresh phase, or the one its checkpoint describes."""
    own, joint = recipe.autoencoder, load_checkpoint(folder / JOINT_FILE)
    model = build_autoencoder(own.latent_channels, own.widths)
    if decoder_only:
        if joint is None:
            raise FileNotFoundError(
                f"{folder / JOINT_FILE}: train the autoencoder jointly before its decoder"
            )
        model.load_state_dict(joint["averaged"])
    settings = recipe.decoder if decoder_only else own
    parameters = decoder_parameters(model) if decoder_only else list(model.parameters())
    optimizer = torch.optim.AdamW(
        parameters, settings.learning_rate, (0.9, 0.99), weight_decay=1e-3, foreach=True
    )
    average = WeightAverage(parameters, own.ema_decay)
    clock = TrainingClock(settings.minutes, recipe.checkpoint_seconds)
    phase = Phase(model, parameters, optimizer, average, clock, decoder_only)
    saved = load_checkpoint(folder / DECODER_FILE) if decoder_only else joint
    if saved is not None:
        _restore(phase, saved)
    return phase


def _restore(phase: Phase, saved: dict[str, Any]) -> None:
    phase.model.load_state_dict(saved["live"])
    phase.optimizer.load_state_dict(saved["optimizer"])
    phase.average.weights = saved["average"]
    phase.step, phase.passes, phase.loss = saved["step"], saved["passes"], saved["loss"]
    phase.clock.resume(saved["used_seconds"])


def _images(recipe: Recipe, phase: Phase, ranks: Ranks) -> Tensor:
    """Renders nobody has seen before: the seed counts steps and ranks, and the phases start far apart."""
    seed = (phase.step * ranks.world + ranks.rank) * 7919 + (5_000_000_017 if phase.decoder_only else 17)
    batch = recipe.decoder.batch if phase.decoder_only else recipe.autoencoder.batch
    return training_batch(seed, batch, choose_bucket(recipe.buckets, phase.step))


def _step(recipe: Recipe, phase: Phase, ranks: Ranks, images: Tensor, progress: float) -> float:
    """One optimiser step; returns the share of the time budget used, agreed between ranks."""
    settings = recipe.decoder if phase.decoder_only else recipe.autoencoder
    rate = settings.learning_rate * cosine_rate(phase.step, progress, recipe.autoencoder.warmup_steps)
    for group in phase.optimizer.param_groups:
        group["lr"] = rate
    loss = _decoder_loss(recipe, phase, images) if phase.decoder_only else _joint_loss(recipe, phase, images)
    loss.backward()
    progress = ranks.average_gradients(phase.parameters, phase.clock.progress)
    torch.nn.utils.clip_grad_norm_(phase.parameters, 1.0)
    phase.optimizer.step()
    phase.optimizer.zero_grad()
    phase.step += 1
    phase.passes += len(images) * ranks.world
    phase.average.update(phase.step)
    phase.loss = float(loss) if phase.step == 1 else 0.98 * phase.loss + 0.02 * float(loss)
    return progress


def _joint_loss(recipe: Recipe, phase: Phase, images: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        posterior = phase.model.encode(images).latent_dist
        output = phase.model.decode(posterior.sample()).sample
    kl = kl_to_normal(posterior.mean.float(), posterior.logvar.float())
    return reconstruction_loss(output.float(), images) + recipe.autoencoder.kl_weight * kl


def _decoder_loss(recipe: Recipe, phase: Phase, images: Tensor) -> Tensor:
    """The latents are jittered a little, as the transformer will give them: right, but not exactly."""
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            latents = phase.model.encode(images).latent_dist.mean
            latents = latents + recipe.decoder.latent_jitter * latents.std() * torch.randn_like(latents)
        output = phase.model.decode(latents).sample
    return reconstruction_loss(output.float(), images)


def _log_and_save(phase: Phase, checks: Tensor, folder: Path) -> None:
    used = phase.clock.used_seconds
    live = {name: value.clone() for name, value in phase.model.state_dict().items()}
    with phase.average.applied():
        quality = psnr(reconstruct(phase.model, checks), checks)
        averaged = {name: value.clone() for name, value in phase.model.state_dict().items()}
    save_checkpoint(
        folder / (DECODER_FILE if phase.decoder_only else JOINT_FILE),
        {
            "averaged": averaged,
            "live": live,
            "optimizer": phase.optimizer.state_dict(),
            "average": phase.average.weights,
            "step": phase.step,
            "passes": phase.passes,
            "loss": phase.loss,
            "used_seconds": used,
        },
    )
    speed = phase.passes / used
    say(
        f"{used / 60:5.1f} min  step {phase.step}  passes {phase.passes}  loss {phase.loss:.4f}  "
        f"PSNR {quality:.2f} dB  {speed:.1f} images/s"
    )
    phase.clock.resume(used)


if __name__ == "__main__":
    main()
