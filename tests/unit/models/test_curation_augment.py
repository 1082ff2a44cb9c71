"""Augmentation: the same for the same seed, epoch and key; captions stay true."""

from __future__ import annotations

import numpy as np
import pytest
from curation_sources import scene
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.curation.augment import Augmented, AugmentSettings, augment, cropped, cutmix, random_of

ALL = AugmentSettings(colour_jitter=0.3, crop_area=0.6, cutmix=0.1)


def sample(
    seed: int = 1, caption: str = "a mug", masked: tuple[tuple[int, int, int, int], ...] = ()
) -> Augmented:
    return Augmented(pixels=np.asarray(scene(seed, 96, 64)), caption=caption, masked=masked)


def test_nothing_happens_by_default() -> None:
    """Without settings a sample comes out as it went in."""
    one = sample()

    assert one is augment(one, seed=1, epoch=2, key="k", settings=AugmentSettings(), other=sample(2))


@given(seed=st.integers(), epoch=st.integers(0, 1000), key=st.text(max_size=20))
@settings(max_examples=20)
def test_same_for_same_seed_epoch_and_key(seed: int, epoch: int, key: str) -> None:
    """Two calls agree in every byte, whatever was drawn between them."""
    one = augment(sample(), seed=seed, epoch=epoch, key=key, settings=ALL, other=sample(2))
    augment(sample(3), seed=seed + 1, epoch=0, key="other", settings=ALL)
    again = augment(sample(), seed=seed, epoch=epoch, key=key, settings=ALL, other=sample(2))

    assert one.pixels.tobytes() == again.pixels.tobytes()
    assert (one.caption, one.masked) == (again.caption, again.masked)
    assert one.pixels.shape == (64, 96, 3)


def test_epochs_and_keys_differ() -> None:
    """Each epoch sees another crop, and each sample its own."""
    seen = {
        augment(sample(), seed=1, epoch=e, key=k, settings=ALL).pixels.tobytes()
        for e in range(3)
        for k in "ab"
    }

    assert 6 == len(seen)


def test_colours_stay_where_the_caption_names_one() -> None:
    """Colour jitter leaves "a red mug" alone and changes "a mug"."""
    jitter = AugmentSettings(colour_jitter=0.5)
    named = augment(sample(caption="a Navy-blue mug"), seed=1, epoch=1, key="k", settings=jitter)
    free = augment(sample(caption="a mug"), seed=1, epoch=1, key="k", settings=jitter)

    assert named.pixels.tobytes() == sample().pixels.tobytes()
    assert free.pixels.tobytes() != sample().pixels.tobytes()


def test_boxes_follow_a_crop() -> None:
    """What was marked is still marked: the marked pixels of a crop are those of the box, enlarged."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    box = (30, 20, 60, 44)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    for number in range(20):
        out = cropped(Augmented(pixels=pixels, caption="", masked=(box,)), random_of(number), 0.3)
        inside = np.zeros((64, 96), bool)
        for left, top, right, bottom in out.masked:
            inside[top:bottom, left:right] = True
        bright = out.pixels[..., 0] > 128

        assert not (bright & ~inside).any()
        assert inside.sum() <= 1.25 * bright.sum() + 200


def test_cutmix_says_which_half_is_which() -> None:
    """Each half shows its own picture, and the caption names both in their places."""
    one, other = sample(1, "a mug", ((0, 0, 96, 64),)), sample(2, "a lamp", ((90, 0, 96, 64),))
    captions = set()
    for number in range(12):
        mixed = cutmix(one, other, random_of(number))
        captions.add(mixed.caption)
        if mixed.caption.startswith("left"):
            assert (mixed.pixels[:, :48] == one.pixels[:, :48]).all()
            assert (mixed.pixels[:, 48:] == other.pixels[:, 48:]).all()
            assert ((0, 0, 48, 64), (90, 0, 96, 64)) == mixed.masked
        else:
            assert (mixed.pixels[:32] == one.pixels[:32]).all()
            assert (mixed.pixels[32:] == other.pixels[32:]).all()

    assert {"left: a mug, right: a lamp", "top: a mug, bottom: a lamp"} == captions


def test_cutmix_is_rare() -> None:
    """At most one sample in ten may be asked for."""
    with pytest.raises(ValidationError):
        AugmentSettings(cutmix=0.5)
    mixed = sum(
        "mug, "
        in augment(
            sample(), seed=1, epoch=0, key=str(k), settings=AugmentSettings(cutmix=0.1), other=sample(2, "x")
        ).caption
        for k in range(300)
    )

    assert 10 <= mixed <= 55


def test_pictures_of_other_sizes_are_not_mixed() -> None:
    """A partner from another bucket leaves the sample as it is."""
    other = Augmented(pixels=np.zeros((32, 32, 3), np.uint8), caption="x", masked=())
    one = sample()

    assert one is cutmix(one, other, random_of(1))
