"""The four networks as the pipeline calls them, with named inputs: what is exported, and what the torch runtime runs.

Input and output names are those of `models.runtime.COMPONENT_ARRAYS`.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5EncoderModel

from models.adapters import ADAPTER_TARGETS
from models.networks.autoencoder import FoldedAutoencoderKL
from models.networks.transformer import NO_CONDITIONS, ControlPixArt
from models.runtime import Component

_MASKED = -10_000.0


class TextEncoderGraph(nn.Module):  # type: ignore[misc]
    """Token ids to hidden states."""

    def __init__(self, encoder: T5EncoderModel) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) and (B, T) to (B, T, D)."""
        hidden: Tensor = self.encoder(input_ids, attention_mask=attention_mask)[0]
        return hidden


class AdapterSlots:
    """The adapters of one call, where the layers of the network find them."""

    def __init__(self) -> None:
        self.down: tuple[Tensor, ...] = ()
        self.up: tuple[Tensor, ...] = ()


class AdaptedLinear(nn.Module):  # type: ignore[misc]
    """A linear layer with a place for a low-rank addition (Hu et al. 2021, arXiv:2106.09685)."""

    def __init__(self, base: nn.Linear, slots: AdapterSlots, place: int) -> None:
        super().__init__()
        self.base, self._slots, self._place = base, slots, place

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, N, W) to (B, N, W)."""
        added = hidden @ self._slots.down[self._place] @ self._slots.up[self._place]  # (B, N, R) between
        result: Tensor = self.base(hidden) + added
        return result


class TransformerGraph(nn.Module):  # type: ignore[misc]
    """`ControlPixArt` with its position table and its adapters as inputs, without the parts this model does not use.

    Spelt out rather than called, because the stock forward holds a `squeeze(1)` that does nothing in torch and that
    ONNX Runtime refuses, and because its position table is a constant of one size. Takes the model over: its
    attention layers are replaced by ones that take adapters.
    """

    def __init__(self, model: ControlPixArt) -> None:
        super().__init__()
        self.model = model
        self._slots = AdapterSlots()
        self._places = len(ADAPTER_TARGETS) * len(model.transformer_blocks)
        for layer, block in enumerate(model.transformer_blocks):
            for place, name in enumerate(ADAPTER_TARGETS, len(ADAPTER_TARGETS) * layer):
                _replace(block, name, AdaptedLinear(block.get_submodule(name), self._slots, place))

    def forward(
        self,
        sample: Tensor,
        sigma: Tensor,
        text: Tensor,
        text_mask: Tensor,
        positions: Tensor,
        control: Tensor,
        adapter_down: Tensor,
        adapter_up: Tensor,
    ) -> Tensor:
        """Velocity (B, C, h, w); arguments as in `COMPONENT_ARRAYS`."""
        model, batch = self.model, sample.shape[0]
        patch, channels = model.config.patch_size, model.config.out_channels
        rows, columns = sample.shape[2] // patch, sample.shape[3] // patch
        # one by one: unbind() becomes two nodes for each place, an index becomes one
        self._slots.down = tuple(adapter_down[:, place] for place in range(self._places))  # (1, W, R) each
        self._slots.up = tuple(adapter_up[:, place] for place in range(self._places))  # (1, R, W) each
        hidden = model.pos_embed.proj(sample) + model.control_embed(control)  # (B, W, rows, columns)
        hidden = hidden.flatten(2).transpose(1, 2) + positions  # (B, N, W)
        modulation, time_embedding = model.adaln_single(
            sigma * 1000, dict(NO_CONDITIONS), batch_size=batch, hidden_dtype=hidden.dtype
        )  # (B, 6 W), (B, W)
        text = model.caption_projection(text)  # (B, T, W)
        text_bias = ((1 - text_mask) * _MASKED).unsqueeze(1)  # (B, 1, T)
        for block in model.transformer_blocks:
            hidden = block(
                hidden, encoder_hidden_states=text, encoder_attention_mask=text_bias, timestep=modulation
            )  # (B, N, W)
        shift, scale = (model.scale_shift_table[None] + time_embedding[:, None]).chunk(
            2, dim=1
        )  # (B, 1, W) each
        hidden = model.proj_out(model.norm_out(hidden) * (1 + scale) + shift)  # (B, N, patch patch C)
        grid = hidden.reshape(batch, rows, columns, patch, patch, channels)
        grid = grid.permute(0, 5, 1, 3, 2, 4)  # (B, C, rows, patch, columns, patch)
        return grid.reshape(batch, channels, rows * patch, columns * patch)  # (B, C, h, w)


class EncoderGraph(nn.Module):  # type: ignore[misc]
    """Images in [-1, 1] to the mean of their latents."""

    def __init__(self, autoencoder: FoldedAutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, h, w)."""
        mean: Tensor = self.autoencoder.encode(images).latent_dist.mean
        return mean


class DecoderGraph(nn.Module):  # type: ignore[misc]
    """Latents to images in about [-1, 1]."""

    def __init__(self, autoencoder: FoldedAutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) to (B, 3, H, W)."""
        images: Tensor = self.autoencoder.decode(latents, return_dict=False)[0]
        return images


def load_graph(folder: Path, component: Component) -> nn.Module:
    """Open one network of a diffusers folder in float32."""
    dtype = torch.float32
    graph: nn.Module
    if component == "text_encoder":
        # The fused attention leaves a stride that the exporter cannot reshape; eager attention computes the same.
        encoder = T5EncoderModel.from_pretrained(
            folder / "text_encoder", dtype=dtype, attn_implementation="eager"
        )
        graph = TextEncoderGraph(encoder)
    elif component == "transformer":
        model = ControlPixArt.from_pretrained(folder, subfolder="transformer", dtype=dtype)
        graph = TransformerGraph(model)
    else:
        autoencoder = FoldedAutoencoderKL.from_pretrained(folder, subfolder="vae", dtype=dtype)
        graph = EncoderGraph(autoencoder) if component == "vae_encoder" else DecoderGraph(autoencoder)
    return graph.eval()


def _replace(parent: Any, name: str, module: nn.Module) -> None:
    holder, _, last = name.rpartition(".")
    setattr(parent.get_submodule(holder), last, module)
