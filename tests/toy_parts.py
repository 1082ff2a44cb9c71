"""An installation whose model is the toy, everything else as it is."""

from __future__ import annotations

from functools import cached_property

from toy_model import CARD, toy_model, toy_tokenizer

from deploy.compose import Parts
from models.card import ModelCard
from models.text import PromptTokenizer
from schemas.receipt import RenderedWith
from workers.model_renderer import ModelRenderer
from workers.ports import Renderer


class ToyParts(Parts):
    """An installation whose model is the toy."""

    @cached_property
    def card(self) -> ModelCard:
        return CARD

    @cached_property
    def tokenizer(self) -> PromptTokenizer:
        return toy_tokenizer()

    def renderer(self) -> Renderer:
        made_by = RenderedWith(aquatint="0", runtime="toy", precision="none", device="none")
        return ModelRenderer([toy_model()], made_by)
