"""The parts of a fine-tune that need no net: reading pictures, saying captions, comparing palettes."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.catalogue.captions import FILLER
from models.errors import FinetuneRefused
from models.training.finetune_pictures import MOST_PICTURES, read_pictures
from models.training.finetune_prompts import trigger_forms
from models.training.finetune_scores import palette_overlap

SIZES = ((128, 128), (160, 96), (96, 160))


def pictures(folder: Path, *images: Image.Image) -> list[tuple[Path, str]]:
    """Write pictures as PNG, four at least, each with a caption."""
    named = []
    for i, image in enumerate([*images, *[Image.new("RGB", (64, 64))] * (4 - len(images))]):
        image.save(folder / f"{i}.png")
        named.append((folder / f"{i}.png", "a mug"))
    return named


def test_each_picture_takes_the_size_of_its_shape(tmp_path: Path) -> None:
    """Wide pictures go to the wide size, tall ones to the tall one, and crops are never enlarged nor mirrored."""
    ramp = np.tile(np.linspace(0, 255, 320, dtype=np.uint8)[None, :, None], (192, 1, 3))
    wide, tall = Image.fromarray(ramp), Image.fromarray(ramp).rotate(90, expand=True)

    read = list(read_pictures(pictures(tmp_path, wide, tall), SIZES, crops=4, seed=0))

    assert [(160, 96), (96, 160), (128, 128), (128, 128)] == [one.size for one in read]
    assert 4 == len(read[0].crops)
    for crop in read[0].crops:
        assert (96, 160, 3) == crop.shape
        assert (np.diff(crop[0, :, 0].astype(int)) >= 0).all()
    exact = next(iter(read_pictures(pictures(tmp_path, wide.resize((160, 96))), SIZES, crops=4, seed=0)))
    assert 1 == len(exact.crops)


def test_orientation_and_transparency_are_honoured(tmp_path: Path) -> None:
    """A picture turned by its EXIF note is read upright; what is see-through becomes white."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    Image.new("RGB", (160, 96)).save(turned, "PNG", exif=exif)
    named = pictures(tmp_path, Image.new("RGBA", (128, 128), (0, 0, 0, 0)))
    named[1][0].write_bytes(turned.getvalue())

    clear, upright = list(read_pictures(named, SIZES, crops=1, seed=0))[:2]

    assert 255 == clear.crops[0].min()
    assert (96, 160) == upright.size


@pytest.mark.parametrize("cut", [0, 1, 20, 200])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, cut: int) -> None:
    """A file that ends early is an error that names it, not a half grey picture."""
    noise = np.frombuffer(random.Random(0).randbytes(64 * 64 * 3), np.uint8).reshape(64, 64, 3)
    named = pictures(tmp_path, Image.fromarray(noise))
    data = named[0][0].read_bytes()
    named[0][0].write_bytes(data[:cut] if cut < 100 else data[:-cut])

    with pytest.raises(FinetuneRefused, match=r"0\.png"):
        list(read_pictures(named, SIZES, crops=1, seed=0))


def test_limits_hold_before_anything_is_decoded(tmp_path: Path) -> None:
    """Too many pictures, too large a picture and an animation format are refused."""
    named = pictures(tmp_path)
    with pytest.raises(FinetuneRefused, match="images"):
        list(read_pictures(named * MOST_PICTURES, SIZES, crops=1, seed=0))
    Image.new("1", (20_000, 4_000)).save(named[0][0])
    with pytest.raises(FinetuneRefused, match="megapixels"):
        list(read_pictures(named, SIZES, crops=1, seed=0))
    Image.new("RGB", (64, 64)).save(named[0][0], "GIF")
    with pytest.raises(FinetuneRefused, match="PNG, JPEG or WebP"):
        list(read_pictures(named, SIZES, crops=1, seed=0))


words = st.text("abcdefgh, ", min_size=1, max_size=40).filter(str.strip)


@given(words, st.text("xyz", min_size=1, max_size=8))
def test_every_form_says_caption_and_trigger(caption: str, trigger: str) -> None:
    """Whatever the caption, each form holds the trigger once and all words of the caption in their order."""
    for form in trigger_forms(caption, trigger):
        assert 1 == form.count(trigger)
        left = iter(form.split())
        assert all(word in left or f"{word}," in form for word in caption.split())


def test_a_caption_that_names_the_brand_is_left_alone() -> None:
    """The trigger is not said twice, whatever its case; without a trigger captions stay as they are."""
    assert ("An Acme Style mug",) == trigger_forms("An Acme Style mug", "acme style")
    assert ("a mug",) == trigger_forms("a mug", "")
    assert "a acme style mug" in trigger_forms("a mug", "acme style")


def test_palettes_overlap_by_shared_colour() -> None:
    """Equal palettes overlap wholly, distant ones not at all, half and half by a half."""
    red, blue = (np.full((8, 8, 3), colour, np.uint8) for colour in ((220, 30, 30), (30, 60, 220)))
    both = np.concatenate([red, blue])

    assert 1.0 == palette_overlap([red], [red, red])
    assert 0.0 == palette_overlap([red], [blue])
    assert 0.5 == pytest.approx(palette_overlap([both], [red]))


def test_ordinary_prompts_hold_unknown_words() -> None:
    """Many prompts of a closed world hold a word the model does not know, so that such a word alone calls no look up."""
    from types import SimpleNamespace

    from models.training.finetune_prompts import ordinary_prompts

    closed, opened = SimpleNamespace(domain="closed"), SimpleNamespace(domain="open")

    said = ordinary_prompts(closed, ["a mug"], 100, seed=0)  # type: ignore[arg-type]

    assert 25 <= sum(FILLER in one for one in said) <= 80
    assert said == ordinary_prompts(closed, ["other"], 100, seed=0)  # type: ignore[arg-type]
    assert ["a mug", "a hat", "a mug"] == ordinary_prompts(opened, ["a mug", "a hat"], 3, seed=0)  # type: ignore[arg-type]
