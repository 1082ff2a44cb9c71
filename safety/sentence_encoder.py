"""A MiniLM-class sentence encoder in numpy: BERT (Devlin et al. 2019, arXiv:1810.04805), mean pooling, unit length.

Weights and tokenizer are files in the layout of sentence-transformers (`model.safetensors`, `tokenizer.json`,
`config.json`), named by path and SHA-256; nothing is downloaded and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from safety.similarity import Vectors
from schemas.errors import BadSettings

#: Longer texts are cut here, as the published encoder does.
MAX_TOKENS = 256


class MiniLm:
    """Encodes one text at a time; safe to share between threads."""

    def __init__(
        self, weights: Mapping[str, Vectors], tokenizer: Any, *, heads: int, name: str, sha256: str
    ) -> None:
        self.name, self.sha256 = name, sha256
        self._weights, self._heads = weights, heads
        self._layers = sum(key.endswith("attention.self.query.weight") for key in weights)
        self._tokenizer = tokenizer
        # The published file pads every text to 128 tokens, which costs five times the work for a short one.
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """(texts, dimensions), each row of length 1."""
        return np.stack([self._encode(text) for text in texts])

    def _encode(self, text: str) -> Vectors:
        tokens = np.asarray(self._tokenizer.encode(text).ids)
        states = self._embed(tokens)
        for layer in range(self._layers):
            states = self._layer(states, f"encoder.layer.{layer}.")
        mean = states.mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    def _embed(self, tokens: Any) -> Vectors:
        table = self._weights
        states = (
            table["embeddings.word_embeddings.weight"][tokens]
            + table["embeddings.position_embeddings.weight"][: len(tokens)]
            + table["embeddings.token_type_embeddings.weight"][0]
        )
        return self._norm(states, "embeddings.LayerNorm")

    def _layer(self, states: Vectors, at: str) -> Vectors:
        mixed = self._linear(self._attend(states, at), f"{at}attention.output.dense")
        states = self._norm(states + mixed, f"{at}attention.output.LayerNorm")
        inner = _gelu(self._linear(states, f"{at}intermediate.dense"))
        return self._norm(states + self._linear(inner, f"{at}output.dense"), f"{at}output.LayerNorm")

    def _attend(self, states: Vectors, at: str) -> Vectors:
        length, width = states.shape
        each = width // self._heads
        query, key, value = (
            self._linear(states, f"{at}attention.self.{part}")
            .reshape(length, self._heads, each)
            .swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(1, 2) / np.sqrt(each)  # (heads, length, length)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = scores / scores.sum(axis=-1, keepdims=True) @ value
        return np.asarray(mixed.swapaxes(0, 1).reshape(length, width), np.float32)

    def _linear(self, states: Vectors, at: str) -> Vectors:
        return np.asarray(states @ self._weights[f"{at}.weight"].T + self._weights[f"{at}.bias"], np.float32)

    def _norm(self, states: Vectors, at: str) -> Vectors:
        centred = states - states.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return np.asarray(
            centred / deviation * self._weights[f"{at}.weight"] + self._weights[f"{at}.bias"], np.float32
        )


def open_encoder(folder: Path, *, sha256: str) -> MiniLm:
    """The encoder in a folder; BadSettings when a file is missing or the weights are not those named by `sha256`."""
    from safetensors.numpy import load
    from tokenizers import Tokenizer

    try:
        data = (folder / "model.safetensors").read_bytes()
        config = json.loads((folder / "config.json").read_text("utf-8"))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raises its own kind for a missing file
        raise BadSettings(f"{folder.name}: {type(error).__name__}", field="prompt_encoder") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256.lower():
        raise BadSettings(f"{folder.name}: the weights have SHA-256 {found}", field="prompt_encoder_sha256")
    weights = {key.removeprefix("bert."): value.astype(np.float32) for key, value in load(data).items()}
    return MiniLm(
        weights, tokenizer, heads=int(config["num_attention_heads"]), name=folder.name, sha256=found
    )


def _gelu(x: Vectors) -> Vectors:
    return np.asarray(0.5 * x * (1.0 + _erf(x / np.sqrt(2.0))), np.float32)


def _erf(x: Vectors) -> Vectors:
    """The error function to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26); numpy has none."""
    t = 1.0 / (1.0 + 0.3275911 * np.abs(x))
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(x) * (1.0 - poly * np.exp(-x * x)), np.float32)
