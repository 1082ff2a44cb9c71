"""Pictures of curated shards, encoded once each however often the data is curated anew."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from diffusers import AutoencoderKL
from PIL import Image

from models.curation.samples import Sample, read_shard, shard_paths
from models.edges import edge_map
from models.inputs import fit_to
from models.training.latent_cache import EncodedPictures, LatentCache
from models.training.latents import encode_images
from models.training.progress import say
from models.training.recipe import PIXELS_PER_CELL, Bucket, LatentStage, Recipe, ShardData

Pixels = npt.NDArray[np.uint8]


def encode_shards(
    recipe: Recipe,
    data: ShardData,
    stage: LatentStage,
    model: AutoencoderKL,
    cache: LatentCache,
    work: Path,
    state: PartialState,
) -> None:
    """Encode what is not in the cache yet, each process its share of the shards; note what belongs to the data now."""
    buckets = recipe.buckets_of(stage)
    known = {bucket.name: cache.digests(bucket) for bucket in buckets}
    captions: list[tuple[str, bytes, str]] = []
    for number, shard in enumerate(shard_paths(work / data.folder)):
        if number % state.num_processes != state.process_index:
            continue
        fresh: dict[str, list[Sample]] = {bucket.name: [] for bucket in buckets}
        for sample in read_shard(shard):
            bucket, digest = nearest_bucket(buckets, sample), _digest(sample)
            captions.append((bucket.name, digest, sample.caption))
            if digest not in known[bucket.name]:
                known[bucket.name].add(digest)
                fresh[bucket.name].append(sample)
        for bucket in buckets:
            for rows in _slices(fresh[bucket.name], stage.shard_rows):
                _encode(model, cache, bucket, rows, stage.encode_batch)
        say(f"{stage.name}: {shard.name}, {sum(map(len, fresh.values()))} new pictures")
    everything: list[tuple[str, bytes, str]] = gather_object(captions)
    if state.is_main_process:
        for bucket in buckets:
            cache.note_source(
                bucket, {digest: text for name, digest, text in everything if name == bucket.name}
            )
    state.wait_for_everyone()


def nearest_bucket(buckets: Sequence[Bucket], sample: Sample) -> Bucket:
    """The size whose shape is closest to the picture's."""
    aspect = np.log(sample.facts["width"] / sample.facts["height"])
    return min(buckets, key=lambda bucket: abs(np.log(bucket.width / bucket.height) - aspect))


def cell_weights(sample: Sample, bucket: Bucket) -> npt.NDArray[np.uint8]:
    """How much of each latent cell counts, 0 to 255, (h, w): boxes that are masked out of the loss do not."""
    counts = np.full((sample.facts["height"], sample.facts["width"]), 255, np.uint8)
    for left, top, right, bottom in sample.facts.get("masked", ()):
        counts[top:bottom, left:right] = 0
    return fit_to(counts, bucket.width // PIXELS_PER_CELL, bucket.height // PIXELS_PER_CELL)


def _encode(
    model: AutoencoderKL, cache: LatentCache, bucket: Bucket, samples: Sequence[Sample], batch: int
) -> None:
    latents, edges = [], []
    for part in _slices(samples, batch):
        pixels = [fit_to(_decode(sample), bucket.width, bucket.height) for sample in part]
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, 3, H, W)
        latents.append(encode_images(model, images))
        edges += [edge_map(picture) for picture in pixels]
    digests = [_digest(sample) for sample in samples]
    name = hashlib.sha256(b"".join(digests)).hexdigest()[:16]
    rows = EncodedPictures(
        latents=torch.cat(latents),
        edges=np.stack(edges),
        digests=digests,
        labels=[{"caption": sample.caption} for sample in samples],
        weights=torch.from_numpy(np.stack([cell_weights(sample, bucket) for sample in samples])),
    )
    cache.add(bucket, name, rows)


def _digest(sample: Sample) -> bytes:
    return bytes.fromhex(sample.facts["digest"])


def _decode(sample: Sample) -> Pixels:
    with Image.open(io.BytesIO(sample.picture)) as picture:
        return np.asarray(picture.convert("RGB"))


def _slices(rows: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
