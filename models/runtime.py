"""The port between the pipeline and whatever executes a network."""

from typing import Any, Literal, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]
Component = Literal["text_encoder", "transformer", "vae_encoder", "vae_decoder"]
RuntimeName = Literal["onnx", "torch"]
Precision = Literal["int8", "fp32"]


class Session(Protocol):
    """One loaded network. Its inputs and outputs have names; see `COMPONENT_ARRAYS`."""

    def __call__(self, **arrays: Array) -> dict[str, Array]:
        """Run once; safe to call from several threads."""
        ...


class Runtime(Protocol):
    """Loads the networks of one model folder."""

    def load(self, component: Component) -> Session:
        """Raises `PrecisionMissing`, `RuntimeMissing` or `ModelCorrupt`."""
        ...


#: inputs and outputs of each component with their shapes: B batch, T tokens, D text width, C channels, h w latent size,
#: N patches, W position width, P places for adapters, R their rank (0 where there are none), H W picture size
COMPONENT_ARRAYS: dict[Component, tuple[dict[str, str], dict[str, str]]] = {
    "text_encoder": (
        {"input_ids": "int64 (B, T)", "attention_mask": "int64 (B, T)"},
        {"hidden": "float32 (B, T, D)"},
    ),
    "transformer": (
        {
            "sample": "float32 (B, C, h, w)",
            "sigma": "float32 (B,)",
            "text": "float32 (B, T, D)",
            "text_mask": "float32 (B, T)",
            "positions": "float32 (1, N, W)",
            "control": "float32 (B, 64, h, w)",
            "adapter_down": "float32 (1, P, W, R)",
            "adapter_up": "float32 (1, P, R, W)",
        },
        {"velocity": "float32 (B, C, h, w)"},
    ),
    "vae_encoder": ({"images": "float32 (B, 3, H, W)"}, {"latents": "float32 (B, C, h, w)"}),
    "vae_decoder": ({"latents": "float32 (B, C, h, w)"}, {"images": "float32 (B, 3, H, W)"}),
}
