"""Weights of a model with fewer latent channels as the start of one with more.

The old channels keep what they mean, so that a transformer trained on them goes on where it was; the new ones begin as a
whisper that training makes use of (function-preserving growth after Chen et al. 2016, Net2Net, arXiv:1511.05641).
"""

import torch
from torch import Tensor

State = dict[str, Tensor]

#: of the scale of a fresh layer: enough for gradients to reach both sides, too little to change what is computed
_WHISPER = 0.02


def widen_autoencoder(state: State, fresh: State) -> State:
    """`state` of an autoencoder with the shapes of `fresh`, which has at least as many latent channels.

    Both are state dicts of `AutoencoderKL` with its two 1x1 convolutions around the latents; tensors that do not depend on
    the number of latent channels are passed on.
    """
    old, new = state["post_quant_conv.weight"].shape[0], fresh["post_quant_conv.weight"].shape[0]
    if old == new:
        return state
    # the encoder says means first, then logarithms of variances
    moments = torch.cat([torch.arange(old), new + torch.arange(old)])
    channels = torch.arange(old)
    grown = dict(state)
    for kind in ("weight", "bias"):
        grown[f"encoder.conv_out.{kind}"] = _rows(state, fresh, f"encoder.conv_out.{kind}", moments)
        for name, kept in (("quant_conv", moments), ("post_quant_conv", channels)):
            grown[f"{name}.{kind}"] = _beside(state[f"{name}.{kind}"], fresh[f"{name}.{kind}"], kept)
    grown["decoder.conv_in.weight"] = _inputs(state, fresh, "decoder.conv_in.weight", channels)
    return grown


def widen_transformer(state: State, fresh: State, patch: int) -> State:
    """`state` of a PixArt transformer with the shapes of `fresh`, which has at least as many latent channels."""
    old, new = state["pos_embed.proj.weight"].shape[1], fresh["pos_embed.proj.weight"].shape[1]
    if old == new:
        return state
    outputs = torch.cat([cell * new + torch.arange(old) for cell in range(patch * patch)])
    grown = dict(state)
    grown["pos_embed.proj.weight"] = _inputs(state, fresh, "pos_embed.proj.weight", torch.arange(old))
    for kind in ("weight", "bias"):
        grown[f"proj_out.{kind}"] = _rows(state, fresh, f"proj_out.{kind}", outputs)
    return grown


def _rows(state: State, fresh: State, name: str, kept: Tensor) -> Tensor:
    """A layer's old outputs at `kept`, whispers elsewhere."""
    grown = fresh[name].clone() * _WHISPER
    grown[kept] = state[name].to(grown.dtype)
    return grown


def _inputs(state: State, fresh: State, name: str, kept: Tensor) -> Tensor:
    """A layer's old inputs at `kept`, whispers elsewhere."""
    grown = fresh[name].clone() * _WHISPER
    grown[:, kept] = state[name].to(grown.dtype)
    return grown


def _beside(old: Tensor, fresh: Tensor, kept: Tensor) -> Tensor:
    """A 1x1 convolution that treats old channels as before and passes new ones through."""
    grown = torch.zeros_like(fresh)
    if grown.ndim == 1:
        grown[kept] = old.to(grown.dtype)
        return grown
    grown[range(len(grown)), range(len(grown))] = 1.0
    grown[kept[:, None], kept[None]] = old.to(grown.dtype)
    return grown
