"""A vision transformer that classifies (Dosovitskiy et al. 2020, arXiv:2010.11929) as an ONNX graph, from its weights alone.

Weights come under the names of timm (`blocks.0.attn.qkv.weight`) or of transformers
(`vit.encoder.layer.0.attention.attention.query.weight`); both describe the same network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety.screens.onnx_file import OnnxGraph

Tensors = Mapping[str, NDArray[np.float32]]


class NotAVisionTransformer(ValueError):
    """The weights are not those of the network that was described."""


@dataclass(frozen=True, kw_only=True)
class VitShape:
    """What cannot be read off the weights."""

    #: Pixels of a side of the square picture.
    side: int
    heads: int
    norm_epsilon: float


def vit_graph(tensors: Tensors, shape: VitShape) -> bytes:
    """An ONNX file that takes (n, 3, side, side) float32 and answers (n, classes) logits; NotAVisionTransformer."""
    named = _from_transformers(tensors) if "classifier.weight" in tensors else dict(tensors)
    try:
        return _Builder(named, shape).build()
    except (KeyError, ValueError) as error:
        raise NotAVisionTransformer(
            f"weight {error}" if isinstance(error, KeyError) else str(error)
        ) from error


class _Builder:
    # Shapes: n pictures, T tokens (one for each patch, after one for the class), W wide, h heads of d.
    def __init__(self, tensors: Tensors, shape: VitShape) -> None:
        self._tensors, self._shape = tensors, shape
        self._graph = OnnxGraph("vision_transformer")
        self._width = tensors["patch_embed.proj.weight"].shape[0]
        self._depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
        if self._width % shape.heads or not self._depth:
            raise ValueError(f"{self._depth} blocks of width {self._width} do not have {shape.heads} heads")

    def build(self) -> bytes:
        side = self._shape.side
        tokens = self._embed("pixels")
        for number in range(self._depth):
            block = f"blocks.{number}."
            attended = self._attend(self._norm(tokens, f"{block}norm1"), f"{block}attn.")
            tokens = self._graph.node("Add", tokens, attended)
            tokens = self._graph.node(
                "Add", tokens, self._feed(self._norm(tokens, f"{block}norm2"), f"{block}mlp.")
            )
        first = self._graph.node("Gather", tokens, self._axes("first", 0), axis=1)  # (n, 1, W)
        last = self._graph.node("Flatten", self._norm(first, "norm"), axis=1)  # (n, W)
        head = self._weight("head.weight"), self._weight("head.bias")
        logits = self._graph.node("Gemm", last, *head, transB=1)
        classes = self._tensors["head.bias"].size
        return self._graph.to_bytes(source=("pixels", ("n", 3, side, side)), result=(logits, ("n", classes)))

    def _embed(self, pixels: str) -> str:
        """(n, T, W); the class token is added together with its position, to a row of zeros."""
        kernel = self._tensors["patch_embed.proj.weight"]  # (W, 3, p, p)
        patch = kernel.shape[2]
        positions = self._tensors["pos_embed"].copy()  # (1, T, W)
        if positions.shape[1:] != ((self._shape.side // patch) ** 2 + 1, self._width):
            raise ValueError(
                f"{positions.shape[1]} positions do not fit pictures of {self._shape.side} pixels"
            )
        positions[:, 0] += self._tensors["cls_token"].reshape(-1)
        weights = self._weight("patch_embed.proj.weight"), self._weight("patch_embed.proj.bias")
        patches = self._graph.node("Conv", pixels, *weights, strides=[patch, patch])  # (n, W, g, g)
        rows = self._graph.node("Reshape", patches, self._axes("rows", 0, self._width, -1))
        tokens = self._graph.node("Transpose", rows, perm=[0, 2, 1])  # (n, T - 1, W)
        padded = self._graph.node("Pad", tokens, self._axes("pads", 0, 1, 0, 0, 0, 0))  # (n, T, W)
        return self._graph.node("Add", padded, self._graph.constant("positions", positions))

    def _attend(self, tokens: str, name: str) -> str:
        heads, size = self._shape.heads, self._width // self._shape.heads
        joined = self._linear(tokens, f"{name}qkv", scaled=self._width)  # (n, T, 3 W)
        split = self._graph.node("Reshape", joined, self._axes(f"{name}heads", 0, 0, 3 * heads, size))
        turned = self._graph.node("Transpose", split, perm=[0, 2, 1, 3])  # (n, 3 h, T, d)
        query, key, value = (self._part(turned, name, part) for part in range(3))  # (n, h, T, d)
        scores = self._graph.node("MatMul", query, self._graph.node("Transpose", key, perm=[0, 1, 3, 2]))
        mixed = self._graph.node("MatMul", self._graph.node("Softmax", scores, axis=-1), value)
        back = self._graph.node("Transpose", mixed, perm=[0, 2, 1, 3])  # (n, T, h, d)
        return self._linear(
            self._graph.node("Reshape", back, self._axes(f"{name}back", 0, 0, self._width)), f"{name}proj"
        )

    def _part(self, turned: str, name: str, part: int) -> str:
        heads = self._shape.heads
        start, end = (
            self._axes(f"{name}{part}/{end}", at * heads) for end, at in (("from", part), ("to", part + 1))
        )
        return self._graph.node("Slice", turned, start, end, self._axes(f"{name}{part}/axis", 1))

    def _feed(self, tokens: str, name: str) -> str:
        """Two layers with GELU between them (Hendrycks and Gimpel 2016, arXiv:1606.08415), in its exact form."""
        wide = self._linear(tokens, f"{name}fc1")
        root = self._graph.constant(f"{name}root", np.array(math.sqrt(2), dtype=np.float32))
        one, half = (
            self._graph.constant(f"{name}{value}", np.array(value, dtype=np.float32)) for value in (1, 0.5)
        )
        error = self._graph.node("Erf", self._graph.node("Div", wide, root))
        gated = self._graph.node("Mul", wide, self._graph.node("Add", error, one))
        return self._linear(self._graph.node("Mul", gated, half), f"{name}fc2")

    def _norm(self, tokens: str, name: str) -> str:
        weights = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._graph.node(
            "LayerNormalization", tokens, *weights, axis=-1, epsilon=self._shape.norm_epsilon
        )

    def _linear(self, tokens: str, name: str, *, scaled: int = 0) -> str:
        """The first `scaled` outputs, the queries, are divided by the root of a head's size here instead of at each run."""
        weight, bias = self._tensors[f"{name}.weight"].T.copy(), self._tensors[f"{name}.bias"].copy()
        factor = np.float32((self._width // self._shape.heads) ** -0.5)
        weight[:, :scaled] *= factor
        bias[:scaled] *= factor
        product = self._graph.node("MatMul", tokens, self._graph.constant(f"{name}.weight", weight))
        return self._graph.node("Add", product, self._graph.constant(f"{name}.bias", bias))

    def _weight(self, name: str) -> str:
        return self._graph.constant(name, self._tensors[name])

    def _axes(self, name: str, *values: int) -> str:
        return self._graph.constant(name, np.array(values, dtype=np.int64))


_OUTER = {
    "vit.embeddings.cls_token": "cls_token",
    "vit.embeddings.position_embeddings": "pos_embed",
    "vit.embeddings.patch_embeddings.projection": "patch_embed.proj",
    "vit.layernorm": "norm",
    "classifier": "head",
}
_INNER = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_LAYER = re.compile(r"vit\.encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")


def _from_transformers(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """The same weights under timm's names, query, key and value joined."""
    named: dict[str, NDArray[Any]] = {}
    for name, values in tensors.items():
        layer = _LAYER.fullmatch(name)
        if layer is None:
            stem, kind = (name, "") if name in _OUTER else name.rsplit(".", 1)
            if stem in _OUTER:
                named[f"{_OUTER[stem]}.{kind}".rstrip(".")] = values
        elif layer[2] in _INNER:
            named[f"blocks.{layer[1]}.{_INNER[layer[2]]}.{layer[3]}"] = values
        elif layer[2] == "attention.attention.query":
            parts = (name.replace("query", each) for each in ("query", "key", "value"))
            named[f"blocks.{layer[1]}.attn.qkv.{layer[3]}"] = np.concatenate(
                [tensors[part] for part in parts]
            )
    return named
