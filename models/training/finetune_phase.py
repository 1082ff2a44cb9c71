"""What a fine-tune trains: low-rank additions that draw the brand where it is asked for and change nothing elsewhere.

Brand pictures are learnt by flow matching (Lipman et al. 2023, arXiv:2210.02747). To keep the rest, each batch also holds
points of the model's own ways from noise to pictures, and of noisy brand pictures whose caption lacks the trigger, where the
adapted model must say what the model said (prior preservation, after Ruiz et al. 2023, arXiv:2208.12242, but on velocities).
Guidance that was distilled into the model, which no picture could teach it again, stays; and only the trigger tells whether
the brand is meant, since the same noisy picture comes with it and without it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from peft import LoraConfig
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.networks.transformer import ControlPixArt, predict_velocity
from models.training.finetune_base import Paths, Texts
from models.training.finetune_pictures import Size
from models.training.phase import Batch, Phase, Turn

ADAPTER = "default"
_ERROR_BATCH, _ERROR_LEVELS = 16, (0.25, 0.5, 0.75, 0.95)
_TARGETS = r"transformer_blocks\.\d+\.attn[12]\.to_(q|k|v|out\.0)"


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """All there is to learn at one picture size: latents (N, C, h, w), the texts that fit each, and the model's own paths."""

    latents: Tensor
    captions: Sequence[Sequence[int]]
    paths: Paths | None


class FinetunePhase(Phase):
    """The adapter on a frozen transformer; `shelves` by picture size, `texts` holds what all places point to."""

    def __init__(
        self, transformer: ControlPixArt, texts: Texts, shelves: Mapping[Size, Shelf],
        *, rank: int, batch: int, prior_batch: int, flow_shift: float, seed: int, before_batch: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__()
        torch.manual_seed(seed)
        transformer.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, target_modules=_TARGETS), adapter_name=ADAPTER
        )
        self.transformer, self.texts, self.shelves = transformer, texts, shelves
        self.count, self.prior_count, self.flow_shift = batch, prior_batch, flow_shift
        self.before_batch = before_batch

    def batch(self, turn: Turn) -> Batch:
        """Brand latents and points of the model's own paths, at one picture size; first asks whether to go on."""
        self.before_batch()
        sizes = list(self.shelves)
        weights = [len(shelf.latents) for shelf in self.shelves.values()]
        shelf = self.shelves[turn.draw_together().choices(sizes, weights)[0]]
        rng = turn.draw()
        places = [rng.randrange(len(shelf.latents)) for _ in range(self.count)]
        spoken = [rng.choice(shelf.captions[place]) for place in places]
        batch = {"latents": shelf.latents[places]}
        if shelf.paths is not None and self.prior_count:
            points = [rng.randrange(len(shelf.paths.states)) for _ in range(self.prior_count)]
            batch |= {
                "states": shelf.paths.states[points],
                "sigmas": shelf.paths.sigmas[points],
                "velocities": shelf.paths.velocities[points],
            }
            spoken += shelf.paths.texts[points].tolist()
        texts = self.texts.take(spoken)
        return batch | {"text": texts.hidden, "text_mask": texts.mask}

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error of the velocity over brand pictures and recorded points alike."""
        clean = batch["latents"]
        sigma = self._draw_sigmas(len(clean)).to(clean.device)  # (B,)
        noise, level = torch.randn_like(clean), sigma.view(-1, 1, 1, 1)
        states, target = (1 - level) * clean + level * noise, noise - clean  # (B, C, h, w) each
        if "states" in batch:
            states, target = torch.cat([states, batch["states"]]), torch.cat([target, batch["velocities"]])
            sigma = torch.cat([sigma, batch["sigmas"]])
        # For few tokens plain attention trains faster on a CPU than the fused kernel, whose backward is slow.
        with sdpa_kernel(SDPBackend.MATH) if clean.device.type == "cpu" else nullcontext():
            predicted = predict_velocity(self.transformer, states, sigma, batch["text"], batch["text_mask"])
        return (predicted.float() - target).square().mean()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def brand_error(self) -> float:
        """Mean squared error of the velocity over all brand pictures, at fixed noise and noise levels."""
        generator = torch.Generator().manual_seed(0)
        total, count = 0.0, 0
        for shelf in self.shelves.values():
            for start in range(0, len(shelf.latents), _ERROR_BATCH):
                clean = shelf.latents[start : start + _ERROR_BATCH]
                texts = self.texts.take(
                    [places[0] for places in shelf.captions[start : start + _ERROR_BATCH]]
                )
                for level in _ERROR_LEVELS:
                    noise = torch.randn(clean.shape, generator=generator)
                    states, sigma = (1 - level) * clean + level * noise, torch.full((len(clean),), level)
                    device = texts.hidden.device
                    velocity = predict_velocity(
                        self.transformer, states.to(device), sigma.to(device), texts.hidden, texts.mask
                    )
                    total += float((velocity.cpu() - (noise - clean)).square().mean((1, 2, 3)).sum())
                    count += len(clean)
        return total / count

    def parts(self) -> dict[str, nn.Module]:
        """Nothing that a later stage could use: the adapter has a file format of its own."""
        return {}

    def _draw_sigmas(self, count: int) -> Tensor:
        """Noise levels spread as the sampler's steps are (Esser et al. 2024, arXiv:2403.03206, eq. 23), more of them high.

        Where there is much noise only the words can tell that the brand is meant, and there a picture is laid out.
        """
        times = torch.rand(count).sqrt()
        return self.flow_shift * times / (1 + (self.flow_shift - 1) * times)
