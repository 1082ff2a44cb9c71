"""The starter's diffusion transformer: PixArt with one more input, a map of edges to follow.

Chen et al. 2023 (arXiv:2310.00426); DiT: Peebles and Xie 2023 (arXiv:2212.09748). The edge map enters beside the patch
embedding through one layer that starts at zero, as ControlNet's first layer does (Zhang et al. 2023, arXiv:2302.05543).
"""

from functools import wraps
from types import MappingProxyType
from typing import Any, cast

import torch
from diffusers import PixArtTransformer2DModel
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch import Tensor, nn
from torch.nn import functional

#: pixels per latent cell, so that an edge map folded by it lies on the latent grid
CONTROL_FOLD = 8
#: PixArtSigma's conditions on size, which the starter does without
NO_CONDITIONS: MappingProxyType[str, None] = MappingProxyType({"resolution": None, "aspect_ratio": None})
_MASKED = -10_000.0


class ControlPixArt(PixArtTransformer2DModel, PeftAdapterMixin, CacheMixin):  # type: ignore[misc]
    """`PixArtTransformer2DModel` with adapters, caches and an edge map; without a map it computes what the stock class does."""

    _repeated_blocks = ["BasicTransformerBlock"]  # noqa: RUF012 - diffusers reads a list here

    # diffusers takes the names of the config from the signature, which the wrapper passes on
    @wraps(PixArtTransformer2DModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        patch = self.config.patch_size
        self.control_embed = nn.Conv2d(CONTROL_FOLD**2, self.inner_dim, patch, patch, bias=False)
        nn.init.zeros_(self.control_embed.weight)

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        timestep: Tensor | None = None,
        added_cond_kwargs: dict[str, Any] | None = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        attention_mask: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        return_dict: bool = True,
        edges: Tensor | None = None,
    ) -> Any:
        """Velocity (B, C, h, w) of a latent picture of that shape; arguments as in the stock class, and one more.

        `edges` is (B, 1, 8 h, 8 w) in [0, 1]; None and zeros both mean "no control".
        """
        batch, _, height, width = hidden_states.shape
        hidden = self.pos_embed(hidden_states)  # (B, N, W)
        if edges is not None:
            hidden = hidden + self.embed_edges(edges).to(hidden.dtype)  # (B, N, W)
        modulation, time = self.adaln_single(
            timestep, added_cond_kwargs or NO_CONDITIONS, batch_size=batch, hidden_dtype=hidden.dtype
        )  # (B, 6 W), (B, W)
        text = self._project_text(encoder_hidden_states, batch)  # (B, T, W)
        block_inputs = {
            "attention_mask": _bias(attention_mask, hidden.dtype),
            "encoder_hidden_states": text,
            "encoder_attention_mask": _bias(encoder_attention_mask, hidden.dtype),
            "timestep": modulation,
            "cross_attention_kwargs": cross_attention_kwargs,
        }
        for block in self.transformer_blocks:
            hidden = self._run_block(block, hidden, block_inputs)  # (B, N, W)
        shift, scale = (self.scale_shift_table[None] + time[:, None]).chunk(2, dim=1)  # (B, 1, W) each
        hidden = self.proj_out(self.norm_out(hidden) * (1 + scale) + shift)  # (B, N, patch patch C)
        output = self._unpatchify(hidden, height, width)  # (B, C, h, w)
        return Transformer2DModelOutput(sample=output) if return_dict else (output,)

    def embed_edges(self, edges: Tensor) -> Tensor:
        """Edge maps (B, 1, 8 h, 8 w) to what is added to the patch embedding, (B, N, W)."""
        folded = functional.pixel_unshuffle(edges.to(self.control_embed.weight.dtype), CONTROL_FOLD)
        return cast(Tensor, self.control_embed(folded)).flatten(2).transpose(1, 2)  # (B, N, W)

    def _project_text(self, text: Tensor | None, batch: int) -> Tensor | None:
        if self.caption_projection is None or text is None:
            return text
        projected: Tensor = self.caption_projection(text)  # (B, T, W)
        return projected.view(batch, -1, self.inner_dim)

    def _run_block(self, block: nn.Module, hidden: Tensor, inputs: dict[str, Any]) -> Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            saved = self._gradient_checkpointing_func(
                block,
                hidden,
                inputs["attention_mask"],
                inputs["encoder_hidden_states"],
                inputs["encoder_attention_mask"],
                inputs["timestep"],
                inputs["cross_attention_kwargs"],
            )
            return cast(Tensor, saved)
        return cast(Tensor, block(hidden, **inputs))

    def _unpatchify(self, hidden: Tensor, height: int, width: int) -> Tensor:
        patch, channels = self.config.patch_size, self.out_channels
        rows, columns = height // patch, width // patch
        grid = hidden.reshape(-1, rows, columns, patch, patch, channels)
        grid = grid.permute(0, 5, 1, 3, 2, 4)  # (B, C, rows, patch, columns, patch)
        return grid.reshape(-1, channels, rows * patch, columns * patch)  # (B, C, h, w)


def build_transformer(
    *, width: int, layers: int, head_width: int, patch: int, channels: int, text_width: int, sample_size: int
) -> ControlPixArt:
    """A fresh transformer that predicts velocity only; its last layer starts at zero, so that it predicts zero.

    `sample_size` is the side of the latent picture its positions are made for; other sizes share the same span.
    """
    model: ControlPixArt = ControlPixArt(
        num_attention_heads=width // head_width,
        attention_head_dim=head_width,
        in_channels=channels,
        out_channels=channels,
        num_layers=layers,
        cross_attention_dim=width,
        sample_size=sample_size,
        patch_size=patch,
        caption_channels=text_width,
        use_additional_conditions=False,
        interpolation_scale=1,
    )
    nn.init.zeros_(model.proj_out.weight)
    nn.init.zeros_(model.proj_out.bias)
    return model


def predict_velocity(
    model: PixArtTransformer2DModel,
    sample: Tensor,
    sigma: Tensor,
    text: Tensor,
    text_mask: Tensor,
    edges: Tensor | None = None,
) -> Tensor:
    """Velocity (B, C, h, w) of a sample of that shape.

    `sigma` (B,) are noise levels, `text` (B, T, D) with its mask (B, T), `edges` (B, 1, 8 h, 8 w) or None.
    """
    control = {} if edges is None else {"edges": edges}
    output = model(
        sample,
        encoder_hidden_states=text,
        timestep=sigma * 1000,
        encoder_attention_mask=text_mask,
        added_cond_kwargs=dict(NO_CONDITIONS),
        return_dict=False,
        **control,
    )
    return cast(Tensor, output[0])


def _bias(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A mask (B, T), 1 for what counts, as what is added to attention scores (B, 1, T); a bias passes unchanged."""
    if mask is None or mask.ndim != 2:
        return mask
    return ((1 - mask.to(dtype)) * _MASKED).unsqueeze(1)  # (B, 1, T)
