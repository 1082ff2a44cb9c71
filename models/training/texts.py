"""What words become for the transformer: our own encoder, trained with it, or a frozen one whose answers are cached."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import T5EncoderModel

from models.networks.text import build_tokenizer, tokenize
from models.training.phase import Batch
from models.training.recipe import Recipe, TransformerStage
from models.training.weights import begin_with, fresh_text_encoder, load_text_encoder, newest_weights


class TextSource(nn.Module):  # type: ignore[misc]
    """Our own text encoder and its tokenizer."""

    def __init__(self, encoder: T5EncoderModel, max_tokens: int) -> None:
        super().__init__()
        self.encoder = encoder
        self._tokenizer = build_tokenizer(max_tokens)

    def prepare(self, captions: Sequence[str]) -> Batch:
        """Captions to what a batch carries: {"ids": int64 (B, T), "mask": int64 (B, T)}."""
        ids, mask = tokenize(self._tokenizer, captions)
        return {"ids": ids, "mask": mask}

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Text states (B, T, D) and their mask (B, T)."""
        return self.encoder(batch["ids"], attention_mask=batch["mask"])[0], batch["mask"]

    def parts(self) -> dict[str, nn.Module]:
        """The encoder."""
        return {"text_encoder": self.encoder}


def build_texts(recipe: Recipe, stage: TransformerStage, work: Path) -> TextSource:
    """The text encoder a stage begins with."""
    shape = recipe.networks.text_encoder
    if shape.folder is not None:
        from models.training.frozen_texts import FrozenTexts

        return FrozenTexts.open(work, shape)
    torch.manual_seed(recipe.seed + 1)
    if newest_weights(work, recipe, "text_encoder", stage.name):
        encoder = load_text_encoder(work, recipe, stage.name).train()
    else:
        encoder = fresh_text_encoder(recipe)
    begin_with(work, stage, "text_encoder", encoder)
    return TextSource(encoder, shape.max_tokens)
