"""How the starter's autoencoder is trained and judged."""

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional


def reconstruction_loss(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Edge-weighted L1, squared error, gradient and low-pass terms; images are (B, 3, H, W) in [-1, 1].

    Flat backdrop is most of a catalogue picture and easy, so the product and its edges weigh up to four times more.
    `weights` (B, 1, H, W) is 0 where a pixel does not count, such as under a watermark.
    """
    error = output - target if weights is None else (output - target) * weights
    gradient = (_dx(error).abs().mean() + _dy(error).abs().mean()) * 0.5
    low_pass = functional.avg_pool2d(error, 4).abs().mean() * 0.5
    return (error.abs() * _edge_weight(target)).mean() + 4 * error.square().mean() + gradient + low_pass


def contrast_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean difference of edge energy per 8x8 cell: a texture drawn a little beside its place beats one averaged away.

    Images are (B, 3, H, W). The other terms punish a misplaced texture twice, once where it is and once where it is not,
    so that they alone prefer none.
    """
    return (_edge_energy(output) - _edge_energy(target)).abs().mean()


def kl_to_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Mean over latent elements of KL(N(mean, variance) || N(0, 1)), in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def reconstruct(model: AutoencoderKL, images: Tensor) -> Tensor:
    """Encode to the mean and decode, in bfloat16; (B, 3, H, W) in [-1, 1]."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        parts = [model.decode(model.encode(part).latent_dist.mean).sample for part in images.split(32)]
    return torch.cat(parts).float().clamp(-1, 1)


def psnr(output: Tensor, target: Tensor) -> float:
    """Mean over images of the peak signal to noise ratio in dB; the peak is 2, as images lie in [-1, 1]."""
    return float((10 * torch.log10(4 / (output - target).square().mean((1, 2, 3)))).mean())


def _dx(x: Tensor) -> Tensor:
    return x[..., 1:] - x[..., :-1]


def _dy(x: Tensor) -> Tensor:
    return x[..., 1:, :] - x[..., :-1, :]


def _edge_energy(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbours by 8x8 cell, (B, 3, H/8, W/8)."""
    across = functional.avg_pool2d(functional.pad(_dx(x).abs(), (0, 1)), 8)
    down = functional.avg_pool2d(functional.pad(_dy(x).abs(), (0, 0, 0, 1)), 8)
    return across + down


def _edge_weight(target: Tensor) -> Tensor:
    edges = functional.pad(_dx(target).abs().mean(1, True), (0, 1)) + functional.pad(
        _dy(target).abs().mean(1, True), (0, 0, 0, 1)
    )
    return 1 + 6 * functional.max_pool2d(edges, 5, 1, 2).clamp(max=0.5)  # (B, 1, H, W)
