"""Batches for the transformer: cached latents with freshly said captions and, for some, their edges."""

from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderKL

from models.catalogue.captions import caption
from models.catalogue.world import Scene
from models.errors import ModelError
from models.training.control import roughen
from models.training.latent_cache import Label
from models.training.latents import open_cache
from models.training.phase import Batch, Turn
from models.training.recipe import Recipe, TransformerStage
from models.training.texts import TextSource


class NoLatents(ModelError):
    """The work folder has no latents of the autoencoder it holds."""


class DenoisingData:
    """The latent tables of a stage's sizes."""

    def __init__(
        self, recipe: Recipe, stage: TransformerStage, work: Path, autoencoder: AutoencoderKL
    ) -> None:
        self.sample_prompts = recipe.sample_prompts
        cache = open_cache(work, autoencoder)
        tables = [cache.table(bucket) for bucket in recipe.buckets_of(stage)]
        self.tables = [table for table in tables if len(table)]  # a source may lack pictures of some shape
        if not self.tables:
            raise NoLatents(f"there are no latents in {cache.path}: run the stage that encodes pictures")

    def batch(self, turn: Turn, stage: TransformerStage, texts: TextSource) -> Batch:
        """Rows of one size, the same size on every process."""
        shares = [table.bucket.share for table in self.tables]
        table = turn.draw_together().choices(self.tables, shares)[0]
        draw = turn.draw()
        rows = [draw.randrange(len(table)) for _ in range(stage.batch)]
        words = [
            "" if draw.random() < stage.caption_dropout else say_label(table.labels[row], draw)
            for row in rows
        ]
        given = torch.tensor([draw.random() < stage.control_share for _ in rows]).view(-1, 1, 1, 1).float()
        batch = {
            "clean": table.latents(rows),
            "edges": roughen(table.edges(rows), draw) * given,
            **texts.prepare(words),
        }
        weights = table.weights(rows)
        return batch if weights is None else {**batch, "weights": weights}


def say_label(label: Label, draw: Random) -> str:
    """A caption of one picture: a scene is said in one of its many ways, a caption is itself."""
    if "scene" in label:
        return caption(Scene(**label["scene"]), draw)
    return str(label["caption"])
