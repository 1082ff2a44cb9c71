"""Training of the autoencoder: encoder and decoder together, later the decoder alone."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.networks.autoencoder import FoldedAutoencoderKL
from models.training.autoencoder import contrast_loss, kl_to_normal, psnr, reconstruct, reconstruction_loss
from models.training.phase import Batch, Phase, Turn, grid
from models.training.pictures import Pictures
from models.training.recipe import AutoencoderStage, DecoderStage

_CHECK_COUNT = 96
_SHOWN = 12


class AutoencoderPhase(Phase):
    """Encoder and decoder learn to reconstruct pictures through a narrow, nearly normal latent."""

    def __init__(
        self,
        model: FoldedAutoencoderKL,
        stage: AutoencoderStage | DecoderStage,
        pictures: Pictures,
        kl_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.model, self.stage, self.pictures, self.kl_weight = model, stage, pictures, kl_weight
        self._checks = pictures.checks(_CHECK_COUNT)  # (B, 3, H, W)

    def batch(self, turn: Turn) -> Batch:
        """Pictures nobody has seen before: {"images": (B, 3, H, W), "weights": (B, 1, H, W)}."""
        return self.pictures.batch(turn, self.stage.batch)

    def loss(self, batch: Batch) -> Tensor:
        """Reconstruction error and, with a small weight, the divergence of the latents from a normal distribution."""
        posterior = self.model.encode(batch["images"]).latent_dist
        output = self.model.decode(posterior.sample()).sample.float()
        divergence = kl_to_normal(posterior.mean.float(), posterior.logvar.float())
        return self.error(output, batch) + self.kl_weight * divergence

    def error(self, output: Tensor, batch: Batch) -> Tensor:
        """Reconstruction error of pictures (B, 3, H, W)."""
        images, weights = batch["images"], batch.get("weights")
        loss = reconstruction_loss(output, images, weights)
        if self.stage.log_error_weight:
            squared = (output - images).square().mean((1, 2, 3))  # (B,)
            loss = loss + self.stage.log_error_weight * squared.log().mean()
        return loss

    def parts(self) -> dict[str, nn.Module]:
        """The autoencoder."""
        return {"autoencoder": self.model}

    def measure(self) -> dict[str, float]:
        """PSNR in dB on fixed pictures that are not trained on."""
        return {"psnr": psnr(reconstruct(self.model, self._checks), self._checks)}

    def samples(self) -> npt.NDArray[np.uint8]:
        """Pictures above their reconstructions."""
        shown = self._checks[:_SHOWN]
        return grid(torch.cat([shown, reconstruct(self.model, shown)]), _SHOWN)


class DecoderPhase(AutoencoderPhase):
    """The decoder alone goes on; latents are jittered a little, as the transformer will give them: right, but not exactly."""

    def __init__(self, model: FoldedAutoencoderKL, stage: DecoderStage, pictures: Pictures) -> None:
        super().__init__(model, stage, pictures)
        model.encoder.requires_grad_(False)
        model.quant_conv.requires_grad_(False)
        self.jitter, self.contrast_weight = stage.latent_jitter, stage.contrast_weight

    def loss(self, batch: Batch) -> Tensor:
        """Reconstruction error from jittered latents."""
        with torch.no_grad():
            latents = self.model.encode(batch["images"]).latent_dist.mean
            latents = latents + self.jitter * latents.std() * torch.randn_like(latents)
        output = self.model.decode(latents).sample.float()
        return self.error(output, batch) + self.contrast_weight * contrast_loss(output, batch["images"])
