"""A model by hand: it can do everything that a card may offer, in milliseconds, and shows in its pixels what it was given."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from safetensors.numpy import save
from tokenizers import Tokenizer, models, pre_tokenizers

from models.adapters import ADAPTER_FILE, ADAPTER_TARGETS, WEIGHTS_FILE, AdapterCard, adapter_digest
from models.card import ModelCard
from models.pipeline import TextToImage
from models.text import PromptTokenizer
from schemas.model_offer import ModelOffer
from schemas.object_keys import adapter_key
from storage.objects.store import ObjectStore

WIDTH, LAYERS = 4, 1
WORDS = {"<pad>": 0, "</s>": 1, "<unk>": 2, "red": 3, "mug": 4}
CARD = ModelCard.model_validate({
    "name": "toy", "version": "1", "family": "pixart", "licence": "Apache-2.0", "description": "", "domain": "closed",
    "domain_note": "", "sizes": [[64, 64], [96, 64]], "steps": {"minimum": 1, "maximum": 9, "default": 4},
    "guidance": {"maximum": 5.0, "default": 1.0}, "max_prompt_tokens": 16,
    "files": {"transformer/model.safetensors": "1" * 64},
    "features": ["image_to_image", "inpainting", "control:edges", "control:sketch", "adapters"],
    "adapters": {"targets": ADAPTER_TARGETS, "layers": LAYERS, "width": WIDTH, "max_rank": 8},
    "flow": {"channels": 3, "pixels_per_cell": 8, "patch": 2, "shift": 1.0, "sampler": "euler", "position_width": 4,
             "position_span": 2},
    "costs": {"fixed_seconds": 0, "image_seconds": 1, "step_seconds": 0.1, "measured_on": "paper"},
})  # fmt: skip
OFFER = ModelOffer(
    name=CARD.name,
    digest=CARD.digest,
    sizes=CARD.sizes,
    default_steps=4,
    max_steps=9,
    default_guidance=1.0,
    max_prompt_tokens=16,
    domain="closed",
    features=CARD.features,
    max_adapters=4,
    max_adapter_rank=8,
    base_digest=CARD.base_digest,
)


class ToyRuntime:
    """The decoder enlarges latents, the encoder shrinks pictures; control and adapters move the target of the flow.

    The flow ends half way, so that what it began with, noise or a picture, shows in the end.
    """

    def load(self, component: str) -> Any:
        return getattr(self, component)

    def text_encoder(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> dict[str, np.ndarray]:
        return {"hidden": np.repeat(input_ids[..., None], 4, axis=2).astype(np.float32)}

    def transformer(
        self,
        sample: np.ndarray,
        sigma: np.ndarray,
        text: np.ndarray,
        text_mask: np.ndarray,
        positions: np.ndarray,
        control: np.ndarray,
        adapter_down: np.ndarray,
        adapter_up: np.ndarray,
    ) -> dict[str, np.ndarray]:
        target = (adapter_down @ adapter_up).sum((1, 2, 3)) / 40
        ramp = np.linspace(-0.5, 0.5, sample.shape[3], dtype=np.float32)
        wanted = ramp + target[:, None, None, None] + control.mean(1, keepdims=True)
        return {"velocity": (sample - wanted) / (sigma[:, None, None, None] + 1)}

    def vae_encoder(self, images: np.ndarray) -> dict[str, np.ndarray]:
        batch, channels, height, width = images.shape
        cells = images.reshape(batch, channels, height // 8, 8, width // 8, 8)
        return {"latents": cells.mean((3, 5), dtype=np.float32)}

    def vae_decoder(self, latents: np.ndarray) -> dict[str, np.ndarray]:
        return {"images": latents.repeat(8, axis=2).repeat(8, axis=3)}


def toy_tokenizer() -> PromptTokenizer:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PromptTokenizer(tokenizer, CARD.max_prompt_tokens)


def toy_model() -> TextToImage:
    return TextToImage(CARD, toy_tokenizer(), ToyRuntime())


def adapter_files(name: str, *, base_digest: str = CARD.base_digest, rank: int = 2) -> dict[str, bytes]:
    """The two files of an adapter that makes every picture lighter."""
    weights = save(
        {
            f"transformer.transformer_blocks.0.{target}.lora_{half}.weight": np.full(shape, 0.5, np.float32)
            for target in ADAPTER_TARGETS
            for half, shape in (("A", (rank, WIDTH)), ("B", (WIDTH, rank)))
        }
    )
    card = AdapterCard(
        name=name,
        base_model=CARD.name,
        base_digest=base_digest,
        rank=rank,
        alpha=float(rank),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
    return {WEIGHTS_FILE: weights, ADAPTER_FILE: card.to_bytes()}


def put_adapter(store: ObjectStore, files: dict[str, bytes]) -> str:
    """As a fine-tune leaves it; returns the digest."""
    digest = adapter_digest(files[ADAPTER_FILE])
    for name, data in files.items():
        store.put(adapter_key(digest, name), data)
    return digest
