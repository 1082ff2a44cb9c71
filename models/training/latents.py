# ruff: noqa: S311 - draws by lot, no secrets
"""Encodes pictures once for the transformer. Captions of renders are not stored but said anew for every pass."""

from dataclasses import asdict
from pathlib import Path
from random import Random

import numpy as np
import torch
from accelerate import PartialState
from diffusers import AutoencoderKL
from torch import Tensor

from models.catalogue.captions import training_scene
from models.edges import edge_map
from models.training.latent_cache import EncodedPictures, LatentCache, encoder_digest, picture_digest
from models.training.progress import say
from models.training.recipe import Bucket, CatalogueData, LatentStage, Recipe
from models.training.render_pool import RenderPool
from models.training.weights import load_autoencoder

CACHE_FOLDER = "latents"


def encode_pictures(recipe: Recipe, stage: LatentStage, work: Path) -> None:
    """Fill the cache of the newest autoencoder; processes share the shards between them, finished shards are kept."""
    state = PartialState(cpu=not torch.cuda.is_available())
    if state.device.type == "cpu":
        torch.set_num_threads(1)
    model = load_autoencoder(work, recipe, stage.name).to(state.device)
    cache = open_cache(work, model)
    if not isinstance(recipe.data, CatalogueData):
        from models.training.shard_pictures import encode_shards

        encode_shards(recipe, recipe.data, stage, model, cache, work, state)
        return
    pool = RenderPool(recipe.data.workers)
    for number, (bucket, shard, rows) in enumerate(_render_plan(recipe, stage)):
        if number % state.num_processes != state.process_index or cache.shard_file(bucket, shard).exists():
            continue
        rng = Random(f"latents {recipe.seed} {bucket.name} {shard}")
        cache.add(bucket, shard, _render_and_encode(model, pool, rng, bucket, rows, stage.encode_batch))
        say(f"{stage.name}: {bucket.name} shard {shard}, {rows} pictures")
    state.wait_for_everyone()


def open_cache(work: Path, model: AutoencoderKL) -> LatentCache:
    """The latents made by this autoencoder's encoder; its decoder may change meanwhile."""
    return LatentCache(work / CACHE_FOLDER, encoder_digest(model.encoder, model.quant_conv))


def encode_images(model: AutoencoderKL, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] to latents (B, C, h, w), float16 on the CPU."""
    device = next(model.parameters()).device
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        latents: Tensor = model.encode(images.to(device)).latent_dist.mean
    return latents.half().cpu().contiguous()


def _render_plan(recipe: Recipe, stage: LatentStage) -> list[tuple[Bucket, str, int]]:
    """Bucket, name and rows of every shard, the same whatever the number of processes."""
    if stage.count is None:
        raise ValueError(f"stage {stage.name}: a catalogue has no end, say how many pictures in `count`")
    plan = []
    for bucket in recipe.buckets_of(stage):
        left, number = round(stage.count * bucket.share), 0
        while left > 0:
            plan.append((bucket, f"{number:06d}", min(left, stage.shard_rows)))
            left -= stage.shard_rows
            number += 1
    return plan


def _render_and_encode(
    model: AutoencoderKL, pool: RenderPool, rng: Random, bucket: Bucket, rows: int, batch: int
) -> EncodedPictures:
    scenes = [training_scene(rng) for _ in range(rows)]
    latents, edges, digests = [], [], []
    for start in range(0, rows, batch):
        images = pool.draw(scenes[start : start + batch], rng, bucket)  # (B, 3, H, W)
        pixels = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()  # (B, H, W, 3)
        latents.append(encode_images(model, images))
        edges += [edge_map(picture) for picture in pixels]
        digests += [picture_digest(picture) for picture in pixels]
    return EncodedPictures(
        latents=torch.cat(latents),
        edges=np.stack(edges),
        digests=digests,
        labels=[{"scene": asdict(scene)} for scene in scenes],
    )
