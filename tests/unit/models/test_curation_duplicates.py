"""Copies: found however they were saved, the best kept, nothing that only looks alike in grey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from curation_sources import encoded, scene
from PIL import Image, ImageEnhance

pytest.importorskip("imagehash", reason="imagehash is part of the [train] extra")
pytest.importorskip("pdqhash", reason="pdqhash is part of the [train] extra")

from models.curation.duplicates import drop_duplicates
from models.curation.fingerprint import RECORD, fingerprint
from models.curation.index import Index, Item
from models.curation.inspection import inspect_items
from models.curation.listing import list_source
from models.curation.places import MemoryPlace
from models.curation.pool import Pool
from models.curation.run import Run, Tools
from models.curation.settings import BucketSettings, CurationSettings, DuplicateSettings
from models.curation.source import Source

pytestmark = pytest.mark.train


def decided(folder: Path, files: dict[str, bytes], **options: object) -> dict[str, Item]:
    settings = CurationSettings(
        duplicates=DuplicateSettings.model_validate(options),
        buckets=BucketSettings(sizes=((64, 64), (96, 64)), max_upscale=4),
    )
    folder.mkdir(exist_ok=True)
    with Index(folder / "index.sqlite") as index, Pool(1) as pool:
        run = Run(
            source=Source(place=MemoryPlace(files)),
            dest=folder,
            settings=settings,
            tools=Tools(),
            index=index,
            pool=pool,
        )
        run.work.mkdir(exist_ok=True)
        for step in (list_source, inspect_items, drop_duplicates):
            step(run)
        return {item.name: item for item in index.items("1")}


def copies_of(found: dict[str, Item]) -> dict[str, str]:
    names = {item.id: item.name for item in found.values()}
    return {item.name: names[item.duplicate_of] for item in found.values() if item.duplicate_of is not None}


def test_copies_in_every_form(tmp_path: Path) -> None:
    """Recompressed, resized, brightened and re-encoded copies are found; the largest, then the sharpest, is kept."""
    big = scene(1, 256, 256)
    files = {
        "big.png": encoded(big),
        "big-again.webp": encoded(big, "WEBP", lossless=True),
        "half.png": encoded(big.resize((128, 128), Image.Resampling.LANCZOS)),
        "poor.jpg": encoded(big, "JPEG", quality=30),
        "bright.png": encoded(ImageEnhance.Brightness(big).enhance(1.06)),
        "cmyk.jpg": encoded(big.convert("CMYK"), "JPEG"),
        "blurred.png": encoded(big.resize((128, 128)).resize((256, 256))),
    } | {f"other{seed}.png": encoded(scene(seed, 256, 256)) for seed in range(2, 8)}
    found = decided(tmp_path, files)
    kept = {name for name, item in found.items() if item.reason is None}

    assert {"half.png", "poor.jpg", "bright.png", "cmyk.jpg", "blurred.png"} < set(copies_of(found)) | kept
    assert 7 == len(kept)
    assert {f"other{seed}.png" for seed in range(2, 8)} < kept
    assert set(copies_of(found).values()) == kept - {f"other{seed}.png" for seed in range(2, 8)}
    assert all("half" not in name and "blurred" not in name for name in kept)


def test_colours_are_no_copies(tmp_path: Path) -> None:
    """One product in several colours of the same brightness stays several pictures, whatever the hashes say."""
    grey = np.asarray(scene(3, 128, 128).convert("L"), float)
    files = {}
    for name, tint in (("red", (1.6, 0.75, 0.75)), ("green", (0.75, 1.28, 0.75)), ("blue", (0.8, 0.8, 2.3))):
        files[f"{name}.png"] = encoded(
            Image.fromarray(np.clip(grey[..., None] * tint * 0.45, 0, 255).astype(np.uint8))
        )
    marks = [
        np.frombuffer(fingerprint(np.asarray(scene_of(data))).record, RECORD)[0] for data in files.values()
    ]

    assert np.bitwise_count(marks[0]["pdq"] ^ marks[1]["pdq"]).sum() <= 31  # the hashes alone would drop one
    assert {} == copies_of(decided(tmp_path, files))
    assert 2 == len(copies_of(decided(tmp_path / "blind", files, colour_tolerance=255)))


def scene_of(data: bytes) -> Image.Image:
    import io

    return Image.open(io.BytesIO(data)).convert("RGB")


def test_mirror_images_only_when_asked(tmp_path: Path) -> None:
    """Left and right matter to captions, so a mirror image is a copy only where the settings say so."""
    picture = scene(4, 128, 128)
    files = {
        "a.png": encoded(picture),
        "b.png": encoded(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"),
    }

    assert {} == copies_of(decided(tmp_path, files))
    assert 1 == len(copies_of(decided(tmp_path / "mirrored", files, mirrored=True)))


def test_flat_pictures_are_compared_by_pixels(tmp_path: Path) -> None:
    """Where there is nothing to see, hashes mean nothing: only equal pixels count."""
    ramp = np.tile(np.linspace(100, 140, 128), (128, 1))
    other = np.tile(np.linspace(100, 141, 128), (128, 1))
    flat = [
        encoded(Image.fromarray(np.repeat(values[..., None], 3, 2).astype(np.uint8)))
        for values in (ramp, other, ramp)
    ]
    found = decided(tmp_path, {"a.png": flat[0], "b.png": flat[1], "c.png": flat[2]})

    assert {"c.png": "a.png"} == copies_of(found)


def test_no_chains(tmp_path: Path) -> None:
    """Every picture that is left out is a near copy of the very one that is kept, not of one that is gone."""
    files = {}
    picture = scene(5, 128, 128)
    for number in range(12):
        picture = Image.fromarray(np.roll(np.asarray(picture), 2, axis=1))
        files[f"step{number:02d}.png"] = encoded(picture)
    found = decided(tmp_path, files)
    words = {
        name: np.frombuffer(fingerprint(np.asarray(scene_of(data))).record, RECORD)[0]["pdq"]
        for name, data in files.items()
    }
    copies = copies_of(found)

    assert copies
    assert len(copies) < 11
    for copy, kept in copies.items():
        assert found[kept].reason is None
        assert np.bitwise_count(words[copy] ^ words[kept]).sum() <= 31


def test_captions_of_copies_are_not_lost(tmp_path: Path) -> None:
    """The kept picture takes over the caption of a copy when it has none itself."""
    picture = scene(6, 256, 256)
    files = {
        "big.png": encoded(picture),
        "small.png": encoded(picture.resize((128, 128))),
        "small.txt": b"a round mug",
    }
    found = decided(tmp_path, files)

    assert {"small.png": "big.png"} == copies_of(found)
    assert ("a round mug", "copy") == (found["big.png"].caption, found["big.png"].caption_source)


def test_without_near_search_equal_pixels_are_still_found(tmp_path: Path) -> None:
    """Equal pixels are copies whatever the file format, also where the hashes are switched off."""
    picture = scene(7)
    files = {"a.png": encoded(picture), "b.bmp": encoded(picture, "BMP"), "c.jpg": encoded(picture, "JPEG")}

    assert {"a.png": "b.bmp"} == copies_of(decided(tmp_path, files, near=False))
