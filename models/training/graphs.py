"""The three networks as the pipeline calls them, with named inputs: what is exported, and what the torch runtime runs.

Input and output names are those of `models.runtime.COMPONENT_ARRAYS`.
"""

from pathlib import Path

import torch
from diffusers import PixArtTransformer2DModel
from torch import Tensor, nn
from transformers import T5EncoderModel

from models.training.autoencoder import FoldedAutoencoderKL
from models.training.transformer import NO_CONDITIONS

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


class TransformerGraph(nn.Module):  # type: ignore[misc]
    """PixArtTransformer2DModel with its position table as an input and without the parts this model does not use.

    Spelt out rather than called, because the stock forward holds a `squeeze(1)` that does nothing in torch and that
    ONNX Runtime refuses, and because its position table is a constant of one size.
    """

    def __init__(self, model: PixArtTransformer2DModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, sample: Tensor, sigma: Tensor, text: Tensor, text_mask: Tensor, positions: Tensor
    ) -> Tensor:
        """Velocity (B, C, h, w); arguments as in `COMPONENT_ARRAYS`."""
        model, batch = self.model, sample.shape[0]
        patch, channels = model.config.patch_size, model.config.out_channels
        rows, columns = sample.shape[2] // patch, sample.shape[3] // patch
        hidden = model.pos_embed.proj(sample).flatten(2).transpose(1, 2)  # (B, N, W)
        hidden = hidden + positions  # (B, N, W)
        modulation, time_embedding = model.adaln_single(
            sigma * 1000, NO_CONDITIONS, batch_size=batch, hidden_dtype=hidden.dtype
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


class DecoderGraph(nn.Module):  # type: ignore[misc]
    """Latents to images in about [-1, 1]."""

    def __init__(self, autoencoder: FoldedAutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) to (B, 3, H, W)."""
        images: Tensor = self.autoencoder.decode(latents, return_dict=False)[0]
        return images


def load_graph(folder: Path, component: str) -> nn.Module:
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
        model = PixArtTransformer2DModel.from_pretrained(folder, subfolder="transformer", dtype=dtype)
        graph = TransformerGraph(model)
    else:
        graph = DecoderGraph(FoldedAutoencoderKL.from_pretrained(folder, subfolder="vae", dtype=dtype))
    return graph.eval()
