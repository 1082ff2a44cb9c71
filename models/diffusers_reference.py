"""The model in the stock diffusers pipeline: the yardstick for speed, and proof that the folder is an ordinary one.

    pipe = load_pipeline(Path("models/starter"))
    pipe("a red mug on a white background", height=128, width=128, num_inference_steps=8, **CALL_DEFAULTS).images

Three things differ from a plain `PixArtSigmaPipeline.from_pretrained(folder)`: the autoencoder works on folded images
(`FoldedAutoencoderKL`, same weights), the transformer takes adapters (`ControlPixArt`, same weights), and the pipeline
would derive its latent size from the number of stages, which a folded autoencoder does not show.
"""

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import PixArtSigmaPipeline

#: what a call needs for this model: no size bins, no caption cleaning, room for its longest prompt
CALL_DEFAULTS: MappingProxyType[str, Any] = MappingProxyType(
    {"use_resolution_binning": False, "clean_caption": False, "max_sequence_length": 48}
)


def load_pipeline(folder: Path) -> "PixArtSigmaPipeline":
    """Open a starter folder in diffusers, fp32; needs the [train] extra."""
    import torch
    from diffusers import PixArtSigmaPipeline

    from models.networks.autoencoder import SCALE, FoldedAutoencoderKL
    from models.networks.transformer import ControlPixArt

    vae = FoldedAutoencoderKL.from_pretrained(folder, subfolder="vae", dtype=torch.float32)
    transformer = ControlPixArt.from_pretrained(folder, subfolder="transformer", dtype=torch.float32)
    pipe = PixArtSigmaPipeline.from_pretrained(
        folder, vae=vae, transformer=transformer, dtype=torch.float32, local_files_only=True
    )
    pipe.vae_scale_factor = SCALE
    pipe.image_processor.config.vae_scale_factor = SCALE
    pipe.set_progress_bar_config(disable=True)
    return pipe
