"""A tiny untrained model in the folder layout of a served one; needs the [train] extra."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from models.adapters import ADAPTER_TARGETS
from models.card import CARD_FILE, ModelCard, file_sha256
from models.networks.autoencoder import build_autoencoder
from models.networks.text import build_text_encoder, build_tokenizer
from models.networks.transformer import build_transformer
from models.training.pack import write_folder

WIDTH, LAYERS, SIDE, TOKENS = 32, 2, 64, 48


def write_tiny_model(place: Path) -> ModelCard:
    """Its card; the same weights every time, and no ONNX files."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    transformer = build_transformer(
        width=WIDTH, layers=LAYERS, head_width=16, patch=2, channels=4, text_width=32, sample_size=8
    )
    torch.nn.init.normal_(transformer.proj_out.weight, std=0.1)
    text = build_text_encoder(width=32, layers=1, vocabulary_size=len(tokenizer))
    write_folder(place, build_autoencoder(4, (8, 16)), transformer, text, tokenizer)
    card = ModelCard.model_validate(_card(place))
    (place / CARD_FILE).write_text(json.dumps(card.model_dump(mode="json")))
    return card


def _card(place: Path) -> dict[str, object]:
    paths = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
    return {
        "name": "tiny", "version": "1", "family": "pixart", "licence": "Apache-2.0", "description": "",
        "domain": "closed", "domain_note": "", "sizes": [[SIDE, SIDE]],
        "steps": {"minimum": 1, "maximum": 9, "default": 2},
        "guidance": {"maximum": 5.0, "default": 1.0, "folded": True},
        "max_prompt_tokens": TOKENS, "features": ["adapters"],
        "adapters": {"targets": ADAPTER_TARGETS, "layers": LAYERS, "width": WIDTH, "max_rank": 16},
        "flow": {"channels": 4, "pixels_per_cell": 8, "patch": 2, "shift": 1.5, "sampler": "dpmpp_2m",
                 "position_width": WIDTH, "position_span": 4},
        "costs": {"fixed_seconds": 0, "image_seconds": 1, "step_seconds": 0.1, "measured_on": "paper"},
        "files": {name: file_sha256(path) for name, path in paths.items() if path.suffix in (".json", ".safetensors")},
    }  # fmt: skip
