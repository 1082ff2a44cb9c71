"""A served model opened for fine-tuning: its networks frozen, and what they already do, recorded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import T5EncoderModel

from models.card import Flow, ModelCard, load_card
from models.errors import FinetuneRefused, ModelCorrupt
from models.networks.autoencoder import FoldedAutoencoderKL
from models.networks.transformer import ControlPixArt, predict_velocity
from models.noise import latent_noise
from models.samplers import flow_sigmas
from models.text import PromptTokenizer
from models.training.finetune_pictures import Pixels, Size
from models.triggers import with_triggers

#: twice the usual number of steps, so that paths pass the noise levels of fewer and of more steps
_PATH_STEPS = 8
_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Hidden states (N, T, D) of some texts and their mask (N, T)."""

    hidden: Tensor
    mask: Tensor

    def take(self, places: Sequence[int] | Tensor) -> "Texts":
        """Some of them, cut to the longest."""
        mask = self.mask[places]
        longest = int(mask.sum(1).max())
        return Texts(hidden=self.hidden[places, :longest], mask=mask[:, :longest])


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Points on the model's own ways from noise to pictures: state (N, C, h, w), noise level (N,), velocity, text (N,)."""

    states: Tensor
    sigmas: Tensor
    velocities: Tensor
    texts: Tensor


class BaseModel:
    """The networks of a model folder in float32, frozen."""

    def __init__(
        self, card: ModelCard, tokenizer: PromptTokenizer, transformer: ControlPixArt,
        text_encoder: T5EncoderModel, autoencoder: FoldedAutoencoderKL, device: torch.device,
    ) -> None:  # fmt: skip
        self.card, self.tokenizer, self.device = card, tokenizer, device
        self.transformer, self.text_encoder = transformer.to(device).eval(), text_encoder.to(device).eval()
        self.autoencoder = autoencoder.to(device).eval()
        for network in (self.transformer, self.text_encoder, self.autoencoder):
            network.requires_grad_(False)

    @classmethod
    def open(cls, folder: Path, device: torch.device) -> Self:
        """Open a diffusers folder with a card.

        Raises:
            ModelNotFound: there is no model.
            ModelCorrupt: a file is missing, altered or unreadable.
            FinetuneRefused: the model takes no adapters.
        """
        card = load_card(folder)
        if card.adapters is None:
            raise FinetuneRefused("model", "one that takes adapters", f"{card.name} {card.version}")
        tokenizer = PromptTokenizer.open(folder, card.max_prompt_tokens)
        try:
            transformer = ControlPixArt.from_pretrained(folder, subfolder="transformer", dtype=torch.float32)
            text_encoder = T5EncoderModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
            autoencoder = FoldedAutoencoderKL.from_pretrained(folder, subfolder="vae", dtype=torch.float32)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelCorrupt(str(folder), f"cannot be opened for training: {error}") from error
        return cls(card, tokenizer, transformer, text_encoder, autoencoder, device)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def encode_texts(self, texts: Sequence[str], trigger: str = "") -> Texts:
        """Hidden states of texts, as the pipeline makes them for an adapter with this trigger; raises `PromptTooLong`."""
        states = []
        for text in texts:
            ids = torch.tensor([self.tokenizer.encode(text, "caption").ids], device=self.device)  # (1, T)
            hidden = self.text_encoder(ids, attention_mask=torch.ones_like(ids))[0][0].cpu().numpy()  # (T, D)
            states.append(torch.from_numpy(with_triggers(text, hidden, [trigger])))
        hidden = pad_sequence(states, batch_first=True).to(self.device)  # (N, T, D)
        mask = pad_sequence([torch.ones(len(state)) for state in states], batch_first=True)  # (N, T)
        return Texts(hidden=hidden, mask=mask.to(self.device))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def encode_pictures(self, pictures: Sequence[Pixels]) -> Tensor:
        """Latents (N, C, h, w) of pictures of one size."""
        stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # (N, 3, H, W)
        parts = stacked.split(_BATCH)
        return torch.cat(
            [
                self.autoencoder.encode(part.to(self.device).float() / 127.5 - 1).latent_dist.mean
                for part in parts
            ]
        )

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def velocity(self, states: Tensor, sigmas: Tensor, texts: Texts) -> Tensor:
        """Velocity (N, C, h, w) in one call of the transformer as it is now."""
        return predict_velocity(self.transformer, states, sigmas, texts.hidden, texts.mask)

    def record_paths(
        self, texts: Texts, places: Sequence[int], size: Size, seed: int, unguided: int
    ) -> Iterable[Paths]:
        """Draw pictures with the model as it is and keep every state it passes through with the velocity it gave there.

        Args:
            texts: what the model may be told.
            places: the text of each picture, by its place in `texts`.
            size: width and height in pixels.
            seed: of the first picture's noise.
            unguided: place of the empty text, whose velocities are recorded beside where the model draws with guidance.
        """
        flow, guidance = self.card.flow, self.card.guidance.default
        sigmas = flow_sigmas(_PATH_STEPS, flow.shift)
        for start in range(0, len(places), _BATCH):
            chosen = list(places[start : start + _BATCH])
            told, untold = texts.take(chosen), texts.take([unguided] * len(chosen))
            x = _noise(flow, size, range(seed + start, seed + start + len(chosen))).to(self.device)
            for sigma, following in pairwise(sigmas):
                level = torch.full((len(chosen),), sigma, device=self.device)
                velocity = self.velocity(x, level, told)
                yield _path(x, level, velocity, chosen)
                if guidance != 1:
                    other = self.velocity(x, level, untold)
                    yield _path(x, level, other, [unguided] * len(chosen))
                    velocity = other + guidance * (velocity - other)
                x = x + velocity * (following - sigma)

    def record_points(
        self, latents: Tensor, texts: Texts, places: Sequence[int], seed: int
    ) -> Iterable[Paths]:
        """What the model says, as it is, of noisy pictures (N, C, h, w) that are described by `places`; in parts."""
        generator = torch.Generator().manual_seed(seed)
        for start in range(0, len(latents), _BATCH):
            clean, chosen = latents[start : start + _BATCH], list(places[start : start + _BATCH])
            sigmas, noise = (
                torch.rand(len(clean), generator=generator),
                torch.randn(clean.shape, generator=generator),
            )
            level = sigmas.view(-1, 1, 1, 1)
            states = ((1 - level) * clean + level * noise).to(self.device)  # (B, C, h, w)
            sigmas = sigmas.to(self.device)
            yield _path(states, sigmas, self.velocity(states, sigmas, texts.take(chosen)), chosen)


def join_paths(paths: Iterable[Paths]) -> Paths:
    """All of them in one."""
    parts = list(paths)
    return Paths(
        **{
            name: torch.cat([getattr(part, name) for part in parts])
            for name in ("states", "sigmas", "velocities", "texts")
        }
    )


def _path(states: Tensor, sigmas: Tensor, velocities: Tensor, texts: list[int]) -> Paths:
    return Paths(
        states=states.cpu(), sigmas=sigmas.cpu(), velocities=velocities.cpu(), texts=torch.tensor(texts)
    )


def _noise(flow: Flow, size: Size, seeds: Iterable[int]) -> Tensor:
    rows, columns = size[1] // flow.pixels_per_cell, size[0] // flow.pixels_per_cell
    return torch.from_numpy(np.stack([latent_noise(seed, flow.channels, rows, columns) for seed in seeds]))
