"""Training of the diffusion transformer by flow matching, and of a student that has its guidance folded in."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.networks.transformer import ControlPixArt, predict_velocity
from models.samplers import flow_sigmas, sample_dpmpp_2m
from models.training.denoising_data import DenoisingData
from models.training.latent_statistics import LatentStatistics
from models.training.phase import Batch, Phase, Turn, grid
from models.training.recipe import DistilStage, Recipe, TransformerStage
from models.training.texts import TextSource
from models.training.weights import (
    begin_with,
    fresh_transformer,
    load_autoencoder,
    load_statistics,
    load_transformer,
    newest_weights,
)

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

_SHOWN_STEPS = 8
_SHOWN_SHIFT = 1.5
_FIRST_SIGMA = 0.95  # from here on a level counts as nearly pure noise


class TransformerPhase(Phase):
    """The transformer learns the velocity from noise to pictures, given words and sometimes edges."""

    sharded_layers = ("BasicTransformerBlock", "T5Block")

    def __init__(
        self,
        transformer: ControlPixArt,
        texts: TextSource,
        statistics: LatentStatistics,
        data: DenoisingData,
        stage: TransformerStage,
        decode: "Callable[[Tensor], Tensor]",
    ) -> None:
        super().__init__()
        self.transformer, self.texts, self.statistics = transformer, texts, statistics
        self.data, self.stage, self._decode = data, stage, decode
        if stage.gradient_checkpointing:
            transformer.enable_gradient_checkpointing()

    def batch(self, turn: Turn) -> Batch:
        """{"clean": (B, C, h, w), "edges": (B, 1, 8 h, 8 w), "weights": (B, 1, h, w)} and what the texts need."""
        return self.data.batch(turn, self.stage, self.texts)

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error of the velocity (Lipman et al. 2023, arXiv:2210.02747; noise levels after arXiv:2403.03206, section 3.1)."""
        clean = self.statistics.normalise(batch["clean"])
        sigma, noise, sample = self.noised(clean)
        with _attention(clean):
            text, mask = self.texts.encode(batch)
            velocity = predict_velocity(self.transformer, sample, sigma, text, mask, batch["edges"])
        return _mean_square(velocity.float() - (noise - clean), batch.get("weights"))

    def noised(self, clean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Noise levels (B,) drawn from a logit-normal, moved by the stage's shift; noise; and their mixture with `clean`.

        The stage's `noise_share` of them is drawn evenly between .95 and 1.
        """
        device = clean.device
        time = torch.sigmoid(torch.randn(len(clean), device=device) + self.stage.noise_mean)  # (B,)
        shift = self.stage.flow_shift
        sigma = shift * time / (1 + (shift - 1) * time)
        if self.stage.noise_share:
            first = torch.rand(len(clean), device=device) < self.stage.noise_share
            sigma = torch.where(first, 1 - (1 - _FIRST_SIGMA) * torch.rand(len(clean), device=device), sigma)
        noise, share = torch.randn_like(clean), sigma.view(-1, 1, 1, 1)
        return sigma, noise, (1 - share) * clean + share * noise

    def parts(self) -> dict[str, nn.Module]:
        """The transformer, the numbers its latents were normalised with, and its text encoder unless that is frozen."""
        return {"transformer": self.transformer, "statistics": self.statistics, **self.texts.parts()}

    def samples(self) -> npt.NDArray[np.uint8] | None:
        """Fixed prompts from fixed noise, with the guidance this stage is meant for."""
        if not self.data.sample_prompts:
            return None
        return grid(self.draw(self.data.sample_prompts, self.shown_guidance), 8)

    @property
    def shown_guidance(self) -> float:
        """Of the samples."""
        return 2.5

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def draw(self, prompts: tuple[str, ...], guidance: float, seed: int = 0) -> Tensor:
        """Pictures (B, 3, H, W) of prompts, of the first size."""
        device = self.statistics.mean.device
        cells = self.data.tables[0].bucket.height // 8, self.data.tables[0].bucket.width // 8
        noise = torch.randn(
            len(prompts), len(self.statistics.mean), *cells, generator=torch.Generator().manual_seed(seed)
        )
        guided = [""] * len(prompts) if guidance != 1 else []
        text, mask = self._encode(self.texts, [*prompts, *guided])  # (B or 2 B, T, D)
        copies = len(text) // len(prompts)

        def velocity(x: Tensor, sigma: float) -> Tensor:
            levels = torch.full((len(text),), sigma, device=device)
            both = predict_velocity(self.transformer, x.repeat(copies, 1, 1, 1), levels, text, mask)
            if not guided:
                return both
            given, empty = both.chunk(2)
            return empty + guidance * (given - empty)

        with _attention(noise):
            latents = sample_dpmpp_2m(velocity, noise.to(device), flow_sigmas(_SHOWN_STEPS, _SHOWN_SHIFT))
        return self._decode(self.statistics.restore(latents))

    def _encode(self, texts: TextSource, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States and mask of captions that are in no batch."""
        device = self.statistics.mean.device
        return texts.encode({name: value.to(device) for name, value in texts.prepare(captions).items()})


class DistilPhase(TransformerPhase):
    """The student learns in one call what its teacher says with guidance (Meng et al. 2022, arXiv:2210.03142, section 3.1).

    Empty captions keep the teacher's unguided velocity, so that ordinary guidance and negative prompts still work on top.
    """

    def __init__(
        self,
        transformer: ControlPixArt,
        texts: TextSource,
        statistics: LatentStatistics,
        data: DenoisingData,
        stage: DistilStage,
        decode: "Callable[[Tensor], Tensor]",
    ) -> None:
        super().__init__(transformer, texts, statistics, data, stage, decode)
        self.teacher = deepcopy(transformer).requires_grad_(False)
        self.teacher_texts = deepcopy(texts).requires_grad_(False)
        self.guidance = stage.guidance

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error to the teacher's guided velocity."""
        clean = self.statistics.normalise(batch["clean"])
        sigma, _, sample = self.noised(clean)
        with _attention(clean):
            target = self._guided(sample, sigma, batch)
            text, mask = self.texts.encode(batch)
            velocity = predict_velocity(self.transformer, sample, sigma, text, mask, batch["edges"])
        return _mean_square(velocity.float() - target, batch.get("weights"))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _guided(self, sample: Tensor, sigma: Tensor, batch: Batch) -> Tensor:
        text, mask = self.teacher_texts.encode(batch)
        given = predict_velocity(self.teacher, sample, sigma, text, mask, batch["edges"]).float()
        text, mask = self._encode(self.teacher_texts, [""] * len(sample))
        empty = predict_velocity(self.teacher, sample, sigma, text, mask, batch["edges"]).float()
        return empty + self.guidance * (given - empty)

    @property
    def shown_guidance(self) -> float:
        """None: it is folded in."""
        return 1.0


def build_transformer_phase(
    recipe: Recipe, stage: TransformerStage | DistilStage, work: Path
) -> TransformerPhase:
    """The phase with the weights it begins with: what the stage names, else those of the stages above, else random ones."""
    from models.training.texts import build_texts

    autoencoder = load_autoencoder(work, recipe)
    data = DenoisingData(recipe, stage, work, autoencoder)
    texts = build_texts(recipe, stage, work)
    if newest_weights(work, recipe, "transformer", stage.name):
        transformer, statistics = (
            load_transformer(work, recipe, stage.name),
            load_statistics(work, recipe, stage.name),
        )
        transformer.train()
    else:
        transformer, statistics = (
            fresh_transformer(recipe),
            LatentStatistics.of(data.tables[0].first_latents(8000)),
        )
    begin_with(work, stage, "transformer", transformer)
    arguments = (transformer, texts, statistics, data)
    if isinstance(stage, DistilStage):
        return DistilPhase(*arguments, stage, _decoder(autoencoder))
    return TransformerPhase(*arguments, stage, _decoder(autoencoder))


def _decoder(autoencoder: "AutoencoderKL") -> "Callable[[Tensor], Tensor]":
    """A closure, so that the autoencoder is no part of the trained module."""
    autoencoder.requires_grad_(False)

    def decode(latents: Tensor) -> Tensor:
        autoencoder.to(latents.device)
        images: Tensor = autoencoder.decode(latents).sample
        return images

    return decode


def _attention(sample: Tensor) -> AbstractContextManager[None]:
    """For a hundred tokens plain attention trains a third faster on a CPU than the fused kernel, whose backward is slow."""
    return sdpa_kernel(SDPBackend.MATH) if sample.device.type == "cpu" else nullcontext()


def _mean_square(error: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of squares (B, C, h, w) over the cells that count."""
    if weights is None:
        return error.square().mean()
    return (error.square() * weights).sum() / (weights.sum() * error.shape[1]).clamp(min=1)
